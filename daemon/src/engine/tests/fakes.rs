use std::collections::BTreeMap;
use std::sync::Mutex;

use health::{Snapshot, Verdict};

use super::*;
use crate::mechanism::Fault;
use crate::store::{Commit, Linger, LocalStore};

/// What the mechanisms were told, in order. Probes are left out: their order does not matter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Saw {
    Start {
        restarting: bool,
    },
    /// Prefixes announced.
    Bgp(Vec<String>),
    Routes(usize),
    /// In-ring backends over all pools.
    Apply(usize),
    Audit,
}

#[derive(Default)]
struct Log(Mutex<Vec<Saw>>);

impl Log {
    fn saw(&self, what: Saw) {
        self.0.lock().expect("no panic").push(what);
    }
}

pub(super) struct Kernel {
    log: Log,
    routes: watch::Sender<Arc<routemgr::Observed>>,
    routes_wanted: Mutex<routemgr::Wanted>,
    health: watch::Sender<Arc<Snapshot>>,
    pub(super) health_wanted: Mutex<health::Wanted>,
    pub(super) status: watch::Sender<Arc<bgpd::SpeakerStatus>>,
    pub(super) bgp_wanted: Mutex<bgpd::Wanted>,
    fault: watch::Sender<Fault>,
    events: mpsc::Sender<Event>,
    /// Routes and neighbours follow at once.
    pub(super) obedient_routes: Mutex<bool>,
    /// `None`: the datapath keeps silent.
    pub(super) answer: Mutex<Option<Result<(), String>>>,
    pub(super) maps: Mutex<ReadBack>,
}

impl Routes for Kernel {
    fn set_wanted(&self, wanted: routemgr::Wanted) {
        self.log.saw(Saw::Routes(wanted.routes.len()));
        *self.routes_wanted.lock().expect("no panic") = wanted;
        if *self.obedient_routes.lock().expect("no panic") {
            self.resolve();
        }
    }
    fn observed(&self) -> watch::Receiver<Arc<routemgr::Observed>> {
        self.routes.subscribe()
    }
    fn fault(&self) -> watch::Receiver<Fault> {
        self.fault.subscribe()
    }
}

impl Kernel {
    pub(super) fn resolve(&self) {
        let wanted = self.routes_wanted.lock().expect("no panic").clone();
        self.routes.send_replace(Arc::new(routed(&wanted)));
    }
}

impl Health for Kernel {
    /// As the checker has it: what is new begins with its initial state.
    fn set_wanted(&self, wanted: health::Wanted) {
        let old = self.health.borrow().clone();
        let targets: BTreeMap<_, _> = wanted
            .targets
            .iter()
            .map(|(name, check)| {
                (name.clone(), old.targets.get(name).cloned().unwrap_or_else(|| state(check.initial)))
            })
            .collect();
        *self.health_wanted.lock().expect("no panic") = wanted;
        self.health.send_replace(Arc::new(Snapshot { targets }));
    }
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.health.subscribe()
    }
}

impl Bgp for Kernel {
    fn start(&self, restarting: bool) {
        self.log.saw(Saw::Start { restarting });
    }
    fn set_wanted(&self, wanted: bgpd::Wanted) {
        let before: Vec<_> = self.bgp_wanted.lock().expect("no panic").routes.keys().copied().collect();
        let after: Vec<_> = wanted.routes.keys().copied().collect();
        if before != after {
            self.log.saw(Saw::Bgp(after.iter().map(ToString::to_string).collect()));
        }
        *self.bgp_wanted.lock().expect("no panic") = wanted;
    }
    fn status(&self) -> watch::Receiver<Arc<bgpd::SpeakerStatus>> {
        self.status.subscribe()
    }
    fn fault(&self) -> watch::Receiver<Fault> {
        self.fault.subscribe()
    }
}

impl Datapath for Kernel {
    fn request(&self, request: Request) {
        let answer = self.answer.lock().expect("no panic").clone();
        let event = match request {
            Request::Apply(wanted) => {
                let in_ring = wanted.pools.values().flat_map(|p| p.backends.values()).filter(|b| b.in_ring);
                self.log.saw(Saw::Apply(in_ring.count()));
                let Some(outcome) = answer else { return };
                let mut maps = self.maps.lock().expect("no panic");
                if outcome.is_ok() {
                    *maps = mirror(&wanted);
                }
                Event::Applied { wanted, outcome, read_back: Ok(maps.clone()) }
            }
            Request::Audit => {
                self.log.saw(Saw::Audit);
                if answer.is_none() {
                    return;
                }
                Event::Audited(Ok(self.maps.lock().expect("no panic").clone()))
            }
            Request::Stats(_) | Request::Inspect(_) => return,
        };
        self.events.try_send(event).expect("the engine reads its events");
    }
}

/// An engine that runs over a [`Kernel`] and a real store.
pub(super) struct Rig {
    pub(super) kernel: Arc<Kernel>,
    pub(super) store: Arc<LocalStore>,
    pub(super) directory: tempfile::TempDir,
    pub(super) view: watch::Receiver<Arc<View>>,
    pub(super) clock: Clock,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Rig {
    /// With the test document stored; the datapath has not spoken yet.
    pub(super) fn start(prepare: impl FnOnce(&std::path::Path)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let seed = LocalStore::open(directory.path(), &|_| Ok(())).expect("a store");
        let put = crate::resource::of_document(&document());
        seed.commit(Commit { put, ..Commit::default() }).expect("stored");
        drop(seed);
        prepare(directory.path());
        Self::start_in(directory)
    }

    pub(super) fn start_in(directory: tempfile::TempDir) -> Self {
        let store = Arc::new(LocalStore::open(directory.path(), &|_| Ok(())).expect("a store"));
        let (events, inbox) = mpsc::channel(64);
        let kernel = Arc::new(Kernel {
            log: Log::default(),
            routes: watch::Sender::new(Arc::default()),
            routes_wanted: Mutex::default(),
            health: watch::Sender::new(Arc::default()),
            health_wanted: Mutex::default(),
            status: watch::Sender::new(Arc::default()),
            bgp_wanted: Mutex::default(),
            fault: watch::Sender::new(None),
            events,
            obedient_routes: Mutex::new(true),
            answer: Mutex::new(Some(Ok(()))),
            maps: Mutex::default(),
        });
        let clock = Clock::new(at(0));
        let engine = Engine::new(Parts {
            facts: facts(),
            store: store.clone(),
            routes: kernel.clone(),
            health: kernel.clone(),
            bgp: kernel.clone(),
            datapath: kernel.clone(),
            events: inbox,
            record: RecordFile::new(directory.path(), "boot".into()),
            restart_defer: Duration::from_secs(10),
            clock,
        });
        let view = engine.view();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(engine.run(async {
            let _ = stopped.await;
        }));
        Self { kernel, store, directory, view, clock, stop: Some(stop) }
    }

    /// Cold start, everything healthy, announced.
    pub(super) async fn announcing() -> Self {
        let rig = Self::start(|_| {});
        rig.opened(Found::Nothing).await;
        rig.rest().await;
        rig.all(Verdict::Up);
        rig.rest().await;
        assert_eq!(rig.announced(), ["20.20.20.1/32"]);
        rig.take_log();
        rig
    }

    pub(super) async fn opened(&self, found: Found) {
        let read_back = Ok(self.kernel.maps.lock().expect("no panic").clone());
        self.kernel.events.send(Event::Opened { found, read_back }).await.expect("the engine runs");
    }

    pub(super) async fn unusable(&self, why: &str) {
        self.kernel.events.send(Event::Unusable(why.into())).await.expect("the engine runs");
    }

    pub(super) fn interface(&self, index: Option<u32>) {
        self.kernel.routes.send_modify(|observed| {
            let interfaces = &mut Arc::make_mut(observed).interfaces;
            match index {
                Some(index) => interfaces.insert("eth1".into(), (index, true)),
                None => interfaces.remove("eth1"),
            };
        });
    }

    /// Lets everything happen that happens without time passing.
    pub(super) async fn rest(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.rest().await;
    }

    pub(super) fn all(&self, verdict: Verdict) {
        let wanted = self.kernel.health_wanted.lock().expect("no panic").clone();
        self.kernel.health.send_replace(Arc::new(probed(&wanted, verdict)));
    }

    pub(super) fn verdict(&self, target: &str, verdict: Verdict) {
        let mut snapshot = (**self.kernel.health.borrow()).clone();
        snapshot.targets.insert(health::Target(target.into()), state(verdict));
        self.kernel.health.send_replace(Arc::new(snapshot));
    }

    pub(super) fn announced(&self) -> Vec<String> {
        self.kernel.bgp_wanted.lock().expect("no panic").routes.keys().map(ToString::to_string).collect()
    }

    pub(super) fn complete(&self) -> bool {
        self.kernel.bgp_wanted.lock().expect("no panic").complete
    }

    pub(super) fn take_log(&self) -> Vec<Saw> {
        std::mem::take(&mut *self.kernel.log.0.lock().expect("no panic"))
    }

    pub(super) fn silence(&self, answer: Option<Result<(), String>>) {
        *self.kernel.answer.lock().expect("no panic") = answer;
    }

    /// Removes everything but the peer, as the API would.
    pub(super) fn remove_all(&self, linger: Duration) {
        let contents = self.store.contents().borrow().clone();
        let delete: Vec<_> =
            contents.resources.keys().filter(|(kind, _)| *kind != api::Kind::Peer).cloned().collect();
        let document = api::Document { peers: Vec::new(), ..contents.document() };
        let lingers = vec![Linger { until: self.clock.now() + linger, document }];
        let commit = Commit { expected: contents.revision, put: Vec::new(), delete, lingers };
        self.store.commit(commit).expect("stored");
    }

    /// Ends the engine and hands over the directory for the next run.
    pub(super) async fn restart(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.rest().await;
        let Rig { directory, .. } = self;
        directory
    }
}
