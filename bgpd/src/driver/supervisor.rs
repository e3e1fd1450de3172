//! Which peers' tasks run, with which configuration: the difference between the wanted set and what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::Id;

use super::Shutdown;
use super::board::Board;
use super::listener::{Doors, Listener};
use super::peer::{self, Control};
use super::tasks::{Ended, Tasks};
use crate::export::Table;
use crate::{PeerConfig, PeerState, PeerStatus, SpeakerConfig, SpeakerStatus, Wanted};

/// Accepted connections that wait for their peer's task; more are refused.
const DOOR: usize = 4;
/// How long a peer stays down after its task panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// One state of the wanted routes, for all sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct Revision {
    pub(super) number: u64,
    pub(super) table: Arc<Table>,
    /// What differs from the revision before.
    pub(super) changed: Arc<[IpNet]>,
    /// The wanted set is whole: End-of-RIB may follow the routes.
    pub(super) complete: bool,
}

/// What every session shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: SpeakerConfig,
    /// From here on End-of-RIB no longer waits for a complete wanted set.
    pub(super) defer_until: Instant,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    wanted_rx: watch::Receiver<Arc<Wanted>>,
    status: watch::Sender<Arc<SpeakerStatus>>,
    board: Arc<Board>,
    doors: Doors,
    listeners: Vec<Listener>,
    revision: watch::Sender<Revision>,
    wanted: Arc<Wanted>,
    running: BTreeMap<String, Running>,
    tasks: Tasks,
    /// Each task of this run dials with another jitter.
    seed: u64,
}

/// A peer's task as the supervisor sees it.
struct Running {
    config: PeerConfig,
    control: watch::Sender<Control>,
    door: mpsc::Sender<tokio::net::TcpStream>,
    task: Id,
}

impl Supervisor {
    pub(super) fn new(
        config: SpeakerConfig,
        wanted_rx: watch::Receiver<Arc<Wanted>>,
        status: watch::Sender<Arc<SpeakerStatus>>,
    ) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seed = now.as_nanos() as u64 ^ u64::from(u32::from(config.router_id));
        let defer_until = Instant::now() + config.restart_defer;
        Self {
            shared: Arc::new(Shared { config, defer_until }),
            wanted_rx,
            status,
            board: Arc::default(),
            doors: Doors::default(),
            listeners: Vec::new(),
            revision: watch::channel(Revision::default()).0,
            wanted: Arc::default(),
            running: BTreeMap::new(),
            tasks: Tasks::default(),
            seed,
        }
    }

    /// Runs until told to stop, or until the handle is gone.
    pub(super) async fn run(
        mut self,
        listeners: Vec<Listener>,
        mut stop: oneshot::Receiver<(Shutdown, oneshot::Sender<()>)>,
    ) {
        let publisher = tokio::spawn(self.board.clone().publish(self.status.clone()));
        for listener in &listeners {
            match listener.accept(self.doors.clone(), self.board.clone()) {
                Ok(accepting) => drop(tokio::spawn(accepting)),
                Err(error) => tracing::error!(address = %listener.address(), %error, "cannot accept"),
            }
        }
        self.listeners = listeners;
        let (how, done) = loop {
            tokio::select! {
                order = &mut stop => match order {
                    Ok((how, done)) => break (how, Some(done)),
                    Err(_) => break (Shutdown::Keep, None),
                },
                Ok(()) = self.wanted_rx.changed() => {
                    let wanted = self.wanted_rx.borrow_and_update().clone();
                    self.apply(wanted);
                }
                Some(ended) = self.tasks.next_ended() => self.ended(ended),
            }
        };
        self.stop(&how).await;
        publisher.abort();
        self.board.publish_now(&self.status);
        if let Some(done) = done {
            // Nobody waits any more: fine.
            let _ = done.send(());
        }
    }

    fn apply(&mut self, wanted: Arc<Wanted>) {
        if wanted == self.wanted {
            return;
        }
        self.apply_routes(&wanted);
        if wanted.peers != self.wanted.peers {
            self.apply_peers(&wanted);
        }
        self.wanted = wanted;
    }

    fn apply_routes(&self, wanted: &Wanted) {
        let old = self.revision.borrow().clone();
        if wanted.routes == self.wanted.routes && wanted.complete == old.complete {
            return;
        }
        let (table, changed) = old.table.next(wanted);
        self.revision.send_replace(Revision {
            number: old.number + 1,
            table: Arc::new(table),
            changed: changed.into(),
            complete: wanted.complete,
        });
    }

    fn apply_peers(&mut self, wanted: &Wanted) {
        let mut addresses = BTreeSet::new();
        let mut runnable = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for (name, config) in &wanted.peers {
            let fault = check(config).err();
            let twice = || {
                let new = addresses.insert(config.address.to_canonical());
                (!new).then(|| format!("another peer has the address {}", config.address))
            };
            match fault.or_else(twice) {
                None => drop(runnable.insert(name.clone(), config)),
                Some(why) => drop(refused.insert(name.clone(), (config, why))),
            }
        }
        self.remove_peers(&runnable);
        self.set_keys(&runnable);
        for (name, config) in runnable {
            match self.running.get_mut(&name) {
                Some(running) if running.config == *config => {}
                Some(running) => {
                    running.config = config.clone();
                    running.control.send_replace(Control::Run(Box::new(config.clone())));
                }
                None => self.spawn(&name, config, Duration::ZERO),
            }
        }
        for (name, (config, why)) in refused {
            tracing::error!(peer = name, reason = why, "peer not started");
            let status = PeerStatus { last_error: Some(why), ..idle(config) };
            self.board.enter(&name, status);
        }
        self.set_doors();
    }

    fn remove_peers(&mut self, runnable: &BTreeMap<String, &PeerConfig>) {
        // A peer that moved to another address or port is another peer.
        let stays = |name: &str, running: &Running| {
            runnable
                .get(name)
                .is_some_and(|new| new.address == running.config.address && new.port == running.config.port)
        };
        self.running.retain(|name, running| {
            let stays = stays(name, running);
            if !stays {
                running.control.send_replace(Control::Remove);
                self.board.remove(name);
            }
            stays
        });
        for name in self.wanted.peers.keys().filter(|name| !runnable.contains_key(*name)) {
            self.board.remove(name);
        }
    }

    fn set_keys(&mut self, runnable: &BTreeMap<String, &PeerConfig>) {
        let keys = runnable.values().filter_map(|config| Some((config.address, config.md5_key.clone()?)));
        let keys: BTreeMap<_, _> = keys.collect();
        for listener in &mut self.listeners {
            listener.set_keys(&keys);
        }
    }

    fn set_doors(&self) {
        let open = |running: &Running| (running.config.address.to_canonical(), running.door.clone());
        let doors: BTreeMap<IpAddr, _> = self.running.values().map(open).collect();
        *self.doors.lock().unwrap_or_else(PoisonError::into_inner) = doors;
    }

    fn spawn(&mut self, name: &str, config: &PeerConfig, delay: Duration) {
        let (control, control_rx) = watch::channel(Control::Run(Box::new(config.clone())));
        let (door, incoming) = mpsc::channel(DOOR);
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let task = peer::run(peer::Start {
            name: name.to_owned(),
            config: config.clone(),
            shared: self.shared.clone(),
            control: control_rx,
            incoming,
            revision: self.revision.subscribe(),
            entry: self.board.enter(name, idle(config)),
            seed: self.seed,
            delay,
        });
        let task = self.tasks.spawn(name, task);
        self.running.insert(name.to_owned(), Running { config: config.clone(), control, door, task });
    }

    /// A task that ends without having been told to has panicked: start it again, the others do not notice.
    fn ended(&mut self, ended: Ended) {
        let Some(running) = self.running.get(&ended.name).filter(|running| running.task == ended.id) else {
            return;
        };
        tracing::error!(
            peer = ended.name,
            panicked = ended.panicked,
            "the session's task ended; starting it again"
        );
        let config = running.config.clone();
        self.spawn(&ended.name, &config, AFTER_PANIC);
        self.set_doors();
    }

    async fn stop(&mut self, how: &Shutdown) {
        for running in self.running.values() {
            running.control.send_replace(Control::Shutdown(how.clone()));
        }
        // Each task bounds its own goodbye.
        while self.tasks.next_ended().await.is_some() {}
    }
}

/// The status of a peer that has not done anything yet.
fn idle(config: &PeerConfig) -> PeerStatus {
    PeerStatus {
        address: config.address,
        state: PeerState::Idle,
        since: SystemTime::now(),
        flaps: 0,
        last_error: None,
        remote_router_id: None,
        hold_time: None,
        capabilities: Vec::new(),
        messages_received: 0,
        messages_sent: 0,
        advertised: BTreeMap::new(),
        received_prefixes: 0,
        end_of_rib_sent: false,
    }
}

fn check(config: &PeerConfig) -> Result<(), String> {
    let hold = config.timers.hold;
    if hold.as_secs() > u64::from(u16::MAX) || (!hold.is_zero() && hold < Duration::from_secs(3)) {
        return Err(format!("hold time {hold:?} is neither 0 nor 3 s to 65535 s"));
    }
    if config.remote_asn == 0 {
        return Err("remote AS number 0".to_owned());
    }
    if config.local_address.is_some_and(|local| local.is_ipv4() != config.address.is_ipv4()) {
        return Err("local and remote address are of different families".to_owned());
    }
    if config.md5_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > sockopt::MAX_KEY) {
        return Err(format!("the TCP MD5 key must have 1 to {} bytes", sockopt::MAX_KEY));
    }
    if crate::export::families(config).is_empty() {
        return Err("no address family, or no next hop for the one enabled".to_owned());
    }
    Ok(())
}
