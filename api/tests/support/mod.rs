//! A node in memory behind the API: stores documents as the daemon would, knows nothing of routes or packets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use api::control::{BoxFuture, BoxStream};
use api::{Control, ControlError, Kind, Resource, WatchEvent};
use proto::v1;
use tokio::sync::{oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

#[derive(Default)]
pub(crate) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    config: v1::Config,
    revision: u64,
    watchers: Vec<(Kind, tokio::sync::mpsc::UnboundedSender<Result<WatchEvent, ControlError>>)>,
    /// Set: writes are refused, as with a store that cannot be read.
    read_only: bool,
}

impl Fake {
    pub(crate) fn read_only(&self) {
        self.state.lock().unwrap().read_only = true;
    }

    pub(crate) fn revision(&self) -> u64 {
        self.state.lock().unwrap().revision
    }

    /// The key of a peer as it is stored.
    pub(crate) fn stored_key(&self, name: &str) -> String {
        let state = self.state.lock().unwrap();
        let peer = state.config.peers.iter().find(|it| it.meta.as_ref().unwrap().name == name).unwrap();
        peer.spec.as_ref().unwrap().md5_key.clone()
    }
}

impl State {
    fn all(&self, kind: Kind) -> Vec<Resource> {
        let config = &self.config;
        let mut all: Vec<Resource> = match kind {
            Kind::Vip => config.vips.iter().cloned().map(Resource::Vip).collect(),
            Kind::Pool => config.pools.iter().cloned().map(Resource::Pool).collect(),
            Kind::Service => config.services.iter().cloned().map(Resource::Service).collect(),
            Kind::Peer => config.peers.iter().cloned().map(Resource::Peer).collect(),
            Kind::EndpointRoute => config.routes.iter().cloned().map(Resource::EndpointRoute).collect(),
        };
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    fn find(&self, kind: Kind, name: &str) -> Result<Resource, ControlError> {
        let found = self.all(kind).into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| ControlError::NotFound { kind, name: name.to_owned() })
    }

    fn may_write(&self) -> Result<(), ControlError> {
        if self.read_only {
            let subject = "the store cannot be read".to_owned();
            return Err(ControlError::Precondition {
                subject,
                remedy: "restore it from last-good.pb".to_owned(),
            });
        }
        Ok(())
    }

    fn store(&mut self, config: v1::Config) {
        let before: BTreeMap<(Kind, String), Resource> = Kind::ALL
            .into_iter()
            .flat_map(|kind| self.all(kind))
            .map(|it| ((it.kind(), it.name().to_owned()), it))
            .collect();
        self.config = config;
        self.revision += 1;
        for kind in Kind::ALL {
            for resource in self.all(kind) {
                if before.get(&(kind, resource.name().to_owned())) != Some(&resource) {
                    let revision = self.revision;
                    self.tell(kind, WatchEvent::Updated { revision, resource: Box::new(resource) });
                }
            }
        }
    }

    fn tell(&mut self, kind: Kind, event: WatchEvent) {
        self.watchers.retain(|(of, sender)| *of != kind || sender.send(Ok(event.clone())).is_ok());
    }
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(async move { value })
}

impl Control for Fake {
    fn get(&self, kind: Kind, name: &str) -> BoxFuture<'_, Result<Resource, ControlError>> {
        ready(self.state.lock().unwrap().find(kind, name))
    }

    fn list(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<Resource>, ControlError>> {
        ready(Ok(self.state.lock().unwrap().all(kind)))
    }

    fn apply(
        &self,
        resource: Resource,
        validate_only: bool,
    ) -> BoxFuture<'_, Result<Resource, ControlError>> {
        let mut state = self.state.lock().unwrap();
        let mut run = || {
            state.may_write()?;
            let sent = resource.meta().map_or("", |meta| &meta.etag).to_owned();
            let stored = state.find(resource.kind(), resource.name()).ok();
            let stored = stored.and_then(|it| it.meta().cloned()).map_or(String::new(), |meta| meta.etag);
            if !sent.is_empty() && sent != stored {
                let name = resource.name().to_owned();
                return Err(ControlError::Conflict { kind: resource.kind(), name, stored });
            }
            let mut resource = resource.clone();
            let etag = format!("e{}", state.revision + 1);
            meta_of(&mut resource).etag = etag;
            let applied = api::apply_one(&state.config, &resource).map_err(ControlError::Invalid)?;
            if !validate_only {
                state.store(applied.config);
            }
            Ok(resource)
        };
        ready(run())
    }

    fn delete(
        &self,
        kind: Kind,
        name: &str,
        _etag: &str,
        validate_only: bool,
    ) -> BoxFuture<'_, Result<(), ControlError>> {
        let mut state = self.state.lock().unwrap();
        let mut run = || {
            let gone = state.find(kind, name)?;
            let users = api::users_of(&state.config, kind, name);
            if !users.is_empty() {
                let subject = format!("{kind} {name} is in use by {}", users.join(", "));
                return Err(ControlError::Precondition { subject, remedy: "delete those first".to_owned() });
            }
            if !validate_only {
                let keep = |meta: &Option<v1::Meta>| meta.as_ref().unwrap().name != name;
                match kind {
                    Kind::Vip => state.config.vips.retain(|it| keep(&it.meta)),
                    Kind::Pool => state.config.pools.retain(|it| keep(&it.meta)),
                    Kind::Service => state.config.services.retain(|it| keep(&it.meta)),
                    Kind::Peer => state.config.peers.retain(|it| keep(&it.meta)),
                    Kind::EndpointRoute => state.config.routes.retain(|it| keep(&it.meta)),
                }
                state.revision += 1;
                let revision = state.revision;
                state.tell(kind, WatchEvent::Deleted { revision, resource: Box::new(gone) });
            }
            Ok(())
        };
        ready(run())
    }

    fn watch(
        &self,
        kind: Kind,
        from_revision: u64,
    ) -> BoxFuture<'_, Result<BoxStream<Result<WatchEvent, ControlError>>, ControlError>> {
        let mut state = self.state.lock().unwrap();
        if from_revision > 0 && from_revision < state.revision {
            return ready(Err(ControlError::Compacted { oldest: state.revision }));
        }
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let revision = state.revision;
        for resource in state.all(kind) {
            sender.send(Ok(WatchEvent::Updated { revision, resource: Box::new(resource) })).unwrap();
        }
        sender.send(Ok(WatchEvent::Synced { revision })).unwrap();
        state.watchers.push((kind, sender));
        ready(Ok(Box::pin(UnboundedReceiverStream::new(receiver)) as BoxStream<_>))
    }

    fn apply_config(
        &self,
        request: v1::ApplyConfigRequest,
    ) -> BoxFuture<'_, Result<v1::ApplyConfigResponse, ControlError>> {
        let mut state = self.state.lock().unwrap();
        let run = || {
            state.may_write()?;
            let document = request.config.unwrap_or_default();
            let applied = api::apply_document(&state.config, &document, request.prune)
                .map_err(ControlError::Invalid)?;
            let changes = api::changes(&state.config, &applied.config);
            if !request.validate_only {
                state.store(applied.config);
            }
            Ok(v1::ApplyConfigResponse { revision: state.revision, config_digest: "digest".into(), changes })
        };
        ready(run())
    }

    fn get_config(&self) -> BoxFuture<'_, Result<v1::Config, ControlError>> {
        ready(Ok(self.state.lock().unwrap().config.clone()))
    }

    fn node_status(&self) -> BoxFuture<'_, Result<v1::NodeStatus, ControlError>> {
        ready(Ok(v1::NodeStatus { name: "fake".into(), revision: self.revision(), ..Default::default() }))
    }

    fn watch_node(&self) -> BoxFuture<'_, Result<BoxStream<v1::NodeStatus>, ControlError>> {
        use tokio_stream::StreamExt;
        let first = v1::NodeStatus { name: "fake".into(), ..Default::default() };
        let forever = tokio_stream::once(first).chain(tokio_stream::pending());
        ready(Ok(Box::pin(forever) as BoxStream<_>))
    }

    fn datapath(&self) -> BoxFuture<'_, Result<v1::DatapathState, ControlError>> {
        let backends = vec![v1::DatapathBackend { address: "192.0.2.1".into(), ..Default::default() }];
        ready(Ok(v1::DatapathState { backends, ..Default::default() }))
    }
}

fn meta_of(resource: &mut Resource) -> &mut v1::Meta {
    match resource {
        Resource::Vip(it) => it.meta.get_or_insert_default(),
        Resource::Pool(it) => it.meta.get_or_insert_default(),
        Resource::Service(it) => it.meta.get_or_insert_default(),
        Resource::Peer(it) => it.meta.get_or_insert_default(),
        Resource::EndpointRoute(it) => it.meta.get_or_insert_default(),
    }
}

/// A served fake.
pub(crate) struct Server {
    pub(crate) fake: Arc<Fake>,
    pub(crate) path: PathBuf,
    pub(crate) ready: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), api::ServeError>>,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let fake = Arc::new(Fake::default());
        let (ready, of_server) = watch::channel(false);
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = api::Listener::bind(&path, 0o660).await.unwrap();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(listener.serve(fake.clone(), of_server, shutdown));
        Self { fake, path, ready, stop: Some(stop), task, _dir: dir }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let path = self.path.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://node").http2_max_header_list_size(1 << 20);
        endpoint.connect_with_connector(connect).await.unwrap()
    }

    /// Stops the server and waits until it has ended.
    pub(crate) async fn stop(mut self) -> PathBuf {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap().unwrap();
        self.path
    }
}

/// A small legal document.
pub(crate) fn document() -> v1::Config {
    let meta = |name: &str| Some(v1::Meta { name: name.to_owned(), ..Default::default() });
    let hop = v1::NextHop { via: "31.31.31.1".into(), ..Default::default() };
    v1::Config {
        vips: vec![v1::Vip {
            meta: meta("web"),
            spec: Some(v1::VipSpec { address: "20.20.20.1".into(), ..Default::default() }),
            status: None,
        }],
        pools: vec![v1::Pool {
            meta: meta("servers"),
            spec: Some(v1::PoolSpec {
                backends: ["56.56.56.1", "57.57.57.1", "58.58.58.1"]
                    .map(|address| v1::Backend { address: address.into(), ..Default::default() })
                    .to_vec(),
                health_check: Some(v1::HealthCheck {
                    probe: Some(v1::health_check::Probe::Tcp(v1::TcpProbe { port: 8080 })),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            status: None,
        }],
        services: vec![v1::Service {
            meta: meta("web-tcp"),
            spec: Some(v1::ServiceSpec {
                vip: "web".into(),
                protocol: v1::Protocol::Tcp.into(),
                port: 8080,
                pool: "servers".into(),
                forwarding: v1::Forwarding::Ipip.into(),
                ..Default::default()
            }),
            status: None,
        }],
        peers: vec![v1::Peer {
            meta: meta("r1"),
            spec: Some(v1::PeerSpec {
                address: "11.11.11.254".into(),
                remote_asn: 65001,
                md5_key: "hunter2".into(),
                ..Default::default()
            }),
            status: None,
        }],
        routes: vec![v1::EndpointRoute {
            meta: meta("ep1"),
            spec: Some(v1::EndpointRouteSpec {
                prefix: "56.56.56.0/24".into(),
                next_hops: vec![hop],
                ..Default::default()
            }),
            status: None,
        }],
    }
}
