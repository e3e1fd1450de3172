//! The Control over a real store; the engine's view is whatever a test says.

use api::Control;
use tokio_stream::StreamExt;

use super::*;
use crate::mechanism::Request;
use crate::store::{Condition, LocalStore};
use crate::testing::*;

/// Answers every question with nothing.
struct Silent;

impl Datapath for Silent {
    fn request(&self, request: Request) {
        match request {
            Request::Stats(reply) => drop(reply.send(Ok(Default::default()))),
            Request::Inspect(reply) => drop(reply.send(Err("not open".into()))),
            Request::Apply(_) | Request::Audit => {}
        }
    }
}

struct Node {
    control: NodeControl,
    store: Arc<LocalStore>,
    view: tokio::sync::watch::Sender<Arc<View>>,
    directory: tempfile::TempDir,
}

fn identity() -> Identity {
    Identity {
        name: "llb1".into(),
        labels: BTreeMap::new(),
        router_id: Ipv4Addr::new(11, 11, 11, 1),
        asn: 64512,
        seed: Some(SEED),
        ingress: vec!["eth1".into()],
        linger: Duration::from_secs(30),
    }
}

impl Node {
    fn new() -> Self {
        Self::over(tempfile::tempdir().expect("a directory"), identity())
    }

    fn over(directory: tempfile::TempDir, identity: Identity) -> Self {
        let store = Arc::new(LocalStore::open(directory.path(), &|_| Ok(())).expect("a store"));
        let view = tokio::sync::watch::Sender::new(Arc::new(View::new(at(0), store.condition())));
        let clock = Clock::new(at(0));
        let control = NodeControl::new(identity, store.clone(), view.subscribe(), Arc::new(Silent), clock);
        Self { control, store, view, directory }
    }

    async fn filled() -> Self {
        let node = Self::new();
        node.config(document(), false).await.expect("a legal document");
        node
    }

    async fn config(&self, config: v1::Config, prune: bool) -> Result<v1::ApplyConfigResponse, ControlError> {
        let request = v1::ApplyConfigRequest { config: Some(config), prune, validate_only: false };
        self.control.apply_config(request).await
    }

    fn revision(&self) -> u64 {
        self.store.contents().borrow().revision
    }
}

fn subject(result: Result<impl std::fmt::Debug, ControlError>) -> String {
    match result {
        Err(ControlError::Precondition { subject, .. }) => subject,
        other => panic!("not a precondition: {other:?}"),
    }
}

#[tokio::test]
async fn a_write_is_stored_before_it_is_answered() {
    let node = Node::new();
    let stored = node.control.apply(Resource::Vip(vip("web", "20.20.20.1")), false).await.expect("applied");
    let meta = stored.meta().expect("there");
    assert_eq!((meta.revision, meta.created_at.is_some()), (1, true));
    assert!(meta.etag.starts_with("1-"), "{}", meta.etag);
    let Node { directory, store, control, view } = node;
    drop((control, store, view));
    let again = Node::over(directory, identity());
    assert_eq!(again.control.get(Kind::Vip, "web").await.expect("there").meta(), stored.meta());
}

#[tokio::test]
async fn nothing_changes_when_nothing_differs() {
    let node = Node::filled().await;
    let before = node.revision();
    let same = node.config(document(), true).await.expect("legal");
    assert_eq!(node.revision(), before);
    assert_eq!(same.revision, before);
    assert!(same.changes.iter().all(|c| c.action == i32::from(v1::change::Action::Unchanged)));
    node.control.apply(Resource::Vip(vip("web", "20.20.20.1")), false).await.expect("applied");
    assert_eq!(node.revision(), before);
}

#[tokio::test]
async fn a_lost_update_is_refused() {
    let node = Node::filled().await;
    let Resource::Pool(mut mine) = node.control.get(Kind::Pool, "web").await.expect("there") else {
        panic!("a pool")
    };
    let mut theirs = mine.clone();
    theirs.spec.as_mut().expect("a spec").min_healthy = Some(2);
    node.control.apply(Resource::Pool(theirs), false).await.expect("the first one wins");
    mine.spec.as_mut().expect("a spec").min_healthy = Some(3);
    let late = node.control.apply(Resource::Pool(mine.clone()), false).await;
    let Err(ControlError::Conflict { stored, .. }) = late else { panic!("{late:?}") };
    let refused = node.control.delete(Kind::Pool, "web", "1-00000000", false).await;
    assert!(matches!(refused, Err(ControlError::Conflict { .. })));
    let mut config = document();
    config.pools = vec![mine];
    assert!(matches!(node.config(config, false).await, Err(ControlError::Conflict { .. })));
    let now = node.control.get(Kind::Pool, "web").await.expect("there");
    assert_eq!(now.meta().map(|m| m.etag.clone()), Some(stored));
}

#[tokio::test]
async fn an_illegal_document_names_every_field_and_changes_nothing() {
    let node = Node::filled().await;
    let before = node.store.contents().borrow().clone();
    let mut config = document();
    config.vips.push(vip("bad", "not an address"));
    config.services.push(service("twice", "web", 8080, "web"));
    let refused = node.config(config, true).await;
    let Err(ControlError::Invalid(violations)) = refused else { panic!("{refused:?}") };
    let fields: Vec<_> = violations.0.iter().map(|v| v.field.as_str()).collect();
    assert!(
        fields.contains(&"vips[1].spec.address") && fields.iter().any(|f| f.starts_with("services[1]")),
        "{fields:?}"
    );
    assert_eq!(*node.store.contents().borrow(), before);
}

#[tokio::test]
async fn validate_only_says_what_would_happen_and_stores_nothing() {
    let node = Node::filled().await;
    let request = v1::ApplyConfigRequest {
        config: Some(v1::Config { peers: document().peers, ..v1::Config::default() }),
        prune: true,
        validate_only: true,
    };
    let answer = node.control.apply_config(request).await.expect("legal");
    let deleted = answer.changes.iter().filter(|c| c.action == i32::from(v1::change::Action::Delete)).count();
    assert_eq!((deleted, answer.revision, node.revision()), (4, 1, 1));
    node.control.apply(Resource::Vip(vip("more", "20.20.20.2")), true).await.expect("legal");
    node.control.delete(Kind::Peer, "r1", "", true).await.expect("legal");
    assert_eq!(node.revision(), 1);
}

#[tokio::test]
async fn what_is_used_cannot_be_deleted() {
    let node = Node::filled().await;
    let used = subject(node.control.delete(Kind::Pool, "web", "", false).await);
    assert_eq!(used, "pool web is used by service web");
    let missing = node.control.delete(Kind::Pool, "none", "", false).await;
    assert!(matches!(missing, Err(ControlError::NotFound { .. })));
}

#[tokio::test]
async fn services_need_the_fleets_seed() {
    let unkeyed = Identity { seed: None, ..identity() };
    let node = Node::over(tempfile::tempdir().expect("a directory"), unkeyed);
    assert!(subject(node.config(document(), false).await).contains("[fleet] seed"));
    let mut config = document();
    config.services.clear();
    node.config(config, false).await.expect("without services there is nothing to key");
}

#[tokio::test(start_paused = true)]
async fn removals_linger_with_all_that_they_need_and_are_shown() {
    let node = Node::filled().await;
    node.config(v1::Config { peers: document().peers, ..v1::Config::default() }, true).await.expect("legal");
    let contents = node.store.contents().borrow().clone();
    let [linger] = contents.lingers.as_slice() else { panic!("{:?}", contents.lingers) };
    assert_eq!(linger.until, at(30));
    let names = |d: &Document| (d.vips.len(), d.pools.len(), d.services.len(), d.peers.len(), d.routes.len());
    assert_eq!(names(&linger.document), (1, 1, 1, 0, 1));
    crate::engine::intent(&contents).expect("a document of its own");
    let vip = node.control.get(Kind::Vip, "web").await.expect("still shown");
    assert_eq!(vip.meta().and_then(|m| m.removal_at), Some(at(30).into()));

    node.config(document(), false).await.expect("legal");
    let vip = node.control.get(Kind::Vip, "web").await.expect("there");
    assert_eq!(vip.meta().and_then(|m| m.removal_at), None);
}

#[tokio::test]
async fn a_service_that_moves_leaves_its_old_port_lingering() {
    let node = Node::filled().await;
    node.control.apply(Resource::Service(service("web", "web", 9090, "web")), false).await.expect("legal");
    let contents = node.store.contents().borrow().clone();
    let removed = &contents.lingers[0].document;
    assert_eq!(removed.services[0].spec.as_ref().map(|s| s.port), Some(8080));
    assert_eq!((removed.vips.len(), removed.pools.len(), removed.routes.len()), (1, 1, 0));
}

#[tokio::test]
async fn other_changes_leave_nothing_behind() {
    let node = Node::filled().await;
    node.control.apply(Resource::Pool(pool("web", &BACKENDS[..1], 1)), false).await.expect("legal");
    node.control.delete(Kind::EndpointRoute, "ep1", "", false).await.expect("legal");
    node.control.delete(Kind::Peer, "r1", "", false).await.expect("legal");
    assert!(node.store.contents().borrow().lingers.is_empty());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_what_to_do() {
    let Node { directory, store, control, view } = Node::filled().await;
    drop((control, store, view));
    std::fs::write(directory.path().join("store.redb"), b"nonsense").expect("written");
    let node = Node::over(directory, identity());
    assert!(matches!(node.store.condition(), Condition::LastGood { .. }));
    assert_eq!(node.control.list(Kind::Vip).await.expect("reads work").len(), 1);
    let refused = node.control.apply(Resource::Vip(vip("more", "20.20.20.2")), false).await;
    let Err(ControlError::Precondition { subject, remedy }) = refused else { panic!("{refused:?}") };
    assert!(subject.contains("store.redb") && remedy.contains("away"), "{subject}: {remedy}");
    let status = node.control.node_status().await.expect("a status");
    assert_eq!(status.name, "llb1");
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_follows() {
    let node = Node::filled().await;
    let mut all = node.control.watch(Kind::Vip, 0).await.expect("a watch");
    let name = |event: Option<Result<WatchEvent, ControlError>>| match event {
        Some(Ok(WatchEvent::Updated { revision, resource })) => format!("+{} {revision}", resource.name()),
        Some(Ok(WatchEvent::Deleted { revision, resource })) => format!("-{} {revision}", resource.name()),
        Some(Ok(WatchEvent::Synced { revision })) => format!("= {revision}"),
        other => format!("{other:?}"),
    };
    assert_eq!(name(all.next().await), "+web 1");
    assert_eq!(name(all.next().await), "= 1");
    node.control.apply(Resource::Vip(vip("more", "20.20.20.2")), false).await.expect("legal");
    node.control.delete(Kind::Vip, "more", "", false).await.expect("legal");
    assert_eq!(name(all.next().await), "+more 2");
    assert_eq!(name(all.next().await), "-more 3");
    let mut late = node.control.watch(Kind::Vip, 1).await.expect("still known");
    assert_eq!(name(late.next().await), "+more 2");
    assert_eq!(name(late.next().await), "-more 3");
    let Node { directory, store, control, view } = node;
    drop((control, view, all, late));
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
    drop(store);
    let again = Node::over(directory, identity());
    assert!(matches!(again.control.watch(Kind::Vip, 1).await.err(), Some(ControlError::Compacted { .. })));
}

#[tokio::test]
async fn the_digest_is_the_same_on_nodes_that_agree() {
    let (one, two) = (Node::filled().await, Node::new());
    two.config(v1::Config { vips: document().vips, ..v1::Config::default() }, false).await.expect("legal");
    let late = two.config(document(), false).await.expect("legal");
    let first = one.config(document(), false).await.expect("legal");
    assert_ne!(late.revision, first.revision);
    assert_eq!(late.config_digest, first.config_digest);
}

#[tokio::test]
async fn the_node_follows_the_view() {
    let node = Node::filled().await;
    let mut statuses = node.control.watch_node().await.expect("a watch");
    assert_eq!(statuses.next().await.map(|s| s.revision), Some(0));
    let mut view = (**node.view.borrow()).clone();
    view.source.contents = node.store.contents().borrow().clone();
    node.view.send_replace(Arc::new(view));
    assert_eq!(statuses.next().await.map(|s| s.revision), Some(1));
    assert!(subject(node.control.datapath().await).contains("not open"));
}
