//! The task of one peer: carries bytes and time to the state machine ([`crate::fsm::Peer`]) and does what it says, and
//! writes the session's adj-RIB-out ([`crate::rib`]) whenever the socket takes it.

mod goodbye;
mod link;
mod report;
mod session;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::Shutdown;
use super::board::Entry;
use super::socket::{self, Dialling};
use super::supervisor::{Revision, Shared};
use crate::fsm::{Action, ConnectionId, Direction, Event, Peer, Settings, Stop};
use crate::wire::{Family, KEEPALIVE, Notification, Reason};
use crate::{PeerConfig, export};
use goodbye::Goodbyes;
use link::Links;
use report::Report;
use session::Session;

/// What the supervisor wants of the task; the newest value counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    Run(Box<PeerConfig>),
    /// The peer is no longer wanted.
    Remove,
    Shutdown(Shutdown),
}

/// What a task starts with.
pub(super) struct Start {
    pub(super) name: String,
    pub(super) config: PeerConfig,
    pub(super) shared: Arc<Shared>,
    pub(super) control: watch::Receiver<Control>,
    pub(super) incoming: mpsc::Receiver<TcpStream>,
    pub(super) revision: watch::Receiver<Revision>,
    pub(super) entry: Entry,
    pub(super) seed: u64,
    pub(super) delay: Duration,
}

/// Runs a peer until it is removed or the speaker stops.
pub(super) async fn run(start: Start) {
    tokio::time::sleep(start.delay).await;
    Task::new(start).run().await;
}

struct Task {
    name: String,
    config: PeerConfig,
    shared: Arc<Shared>,
    control: watch::Receiver<Control>,
    incoming: mpsc::Receiver<TcpStream>,
    revision: watch::Receiver<Revision>,
    fsm: Peer,
    links: Links,
    dialling: Option<Dialling>,
    session: Option<Session>,
    report: Report,
    goodbyes: Goodbyes,
}

/// Why the task woke up.
enum Wake {
    Control,
    Routes,
    Incoming(TcpStream),
    Dialled(io::Result<TcpStream>),
    Links(Vec<ConnectionId>),
    Timeout,
}

impl Task {
    fn new(start: Start) -> Self {
        let settings = settings(&start.shared, &start.config);
        say_what_is_not_offered(&start.name, &start.config);
        let restarting = start.shared.config.restarting;
        Self {
            fsm: Peer::new(settings, restarting, start.seed, Instant::now()),
            report: Report::new(&start.name, start.entry),
            name: start.name,
            config: start.config,
            shared: start.shared,
            control: start.control,
            incoming: start.incoming,
            revision: start.revision,
            links: Links::default(),
            dialling: None,
            session: None,
            goodbyes: Goodbyes::default(),
        }
    }

    async fn run(mut self) {
        self.apply_enabled();
        loop {
            match self.wait().await {
                Wake::Control => {
                    let control = self.control.borrow_and_update().clone();
                    match control {
                        Control::Run(config) => self.configure(*config),
                        Control::Remove => return self.removed().await,
                        Control::Shutdown(how) => return self.shutdown(how).await,
                    }
                }
                Wake::Routes => self.routes_changed(),
                Wake::Incoming(stream) => self.connected(stream, Direction::Incoming),
                Wake::Dialled(result) => self.dialled(result),
                Wake::Links(ids) => ids.into_iter().for_each(|id| self.read(id)),
                Wake::Timeout => {}
            }
            self.check_time().await;
            self.write();
            self.report.counters(&self.fsm, &self.session);
            tokio::task::yield_now().await;
        }
    }

    async fn wait(&mut self) -> Wake {
        let has_more = self.session.as_ref().is_some_and(|session| session.has_more);
        let deadline = self.next_timeout();
        tokio::select! {
            biased;
            // A closed channel means that the supervisor is gone: only when the process goes down.
            Ok(()) = self.control.changed() => Wake::Control,
            Ok(()) = self.revision.changed() => Wake::Routes,
            Some(stream) = self.incoming.recv() => Wake::Incoming(stream),
            result = link::dialled(&mut self.dialling) => Wake::Dialled(result),
            ids = self.links.ready() => Wake::Links(ids),
            () = std::future::ready(()), if has_more => Wake::Timeout,
            () = link::sleep_until(deadline) => Wake::Timeout,
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let waits_for_whole = self.session.as_ref().is_some_and(|session| !session.rib.end_of_rib_sent());
        let defer = Some(self.shared.defer_until).filter(|until| waits_for_whole && *until > Instant::now());
        self.fsm.next_timeout().into_iter().chain(defer).min()
    }

    /// Lets time pass in the state machine. What has already arrived counts first: after a stall of this process the
    /// peer's keepalives wait in the socket, and the hold timer must not run out over them.
    async fn check_time(&mut self) {
        if self.fsm.next_timeout().is_none_or(|at| at > Instant::now()) {
            return;
        }
        tokio::task::yield_now().await;
        for id in self.links.ids() {
            self.read(id);
        }
        self.handle(Event::Timeout);
    }

    fn apply_enabled(&mut self) {
        if self.config.enabled {
            self.handle(Event::Start);
        } else {
            let notification = Notification::new(Reason::AdministrativeShutdown);
            self.handle(Event::Stop(Stop::Notify(notification)));
            self.report.error("administratively down");
        }
    }

    fn configure(&mut self, config: PeerConfig) {
        let old = std::mem::replace(&mut self.config, config);
        if resets(&old, &self.config) {
            let notification = Notification::new(Reason::OtherConfigurationChange);
            self.handle(Event::Stop(Stop::Notify(notification)));
        }
        say_what_is_not_offered(&self.name, &self.config);
        let settings = settings(&self.shared, &self.config);
        self.handle(Event::Configure(settings));
        self.apply_enabled();
        if let Some(session) = &mut self.session {
            session.set_next_hops(&self.config);
        }
    }

    fn routes_changed(&mut self) {
        let revision = self.revision.borrow_and_update().clone();
        if let Some(session) = &mut self.session {
            session.apply(&revision, &self.name);
        }
    }

    fn dialled(&mut self, result: io::Result<TcpStream>) {
        self.dialling = None;
        match result {
            Ok(stream) => self.connected(stream, Direction::Outgoing),
            Err(error) => self.handle(Event::DialFailed(error.to_string())),
        }
    }

    fn connected(&mut self, stream: TcpStream, direction: Direction) {
        if direction == Direction::Incoming
            && let Err(error) = socket::configure(socket2::SockRef::from(&stream), &self.config)
        {
            tracing::warn!(peer = self.name, %error, "cannot set up an accepted connection");
            return;
        }
        let id = self.links.add(stream);
        self.handle(Event::Connected(id, direction));
    }

    /// One chunk; what is left keeps the socket ready.
    fn read(&mut self, id: ConnectionId) {
        match self.links.read(id) {
            Ok(None) => {}
            Ok(Some(chunk)) => self.handle(Event::Received(id, &chunk)),
            Err(error) => self.lost(id, &error),
        }
    }

    fn lost(&mut self, id: ConnectionId, error: &io::Error) {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the peer closed the connection".to_owned(),
            _ => format!("connection lost: {error}"),
        };
        self.links.remove(id);
        self.handle(Event::Closed(id, why));
    }

    /// Writes what the sockets take.
    fn write(&mut self) {
        let mut lost = Vec::new();
        for (id, link) in self.links.iter_mut() {
            let result = match &mut self.session {
                Some(session) if session.id == id => session.write(link, &self.shared, &mut self.report),
                _ => link.output.flush(&link.stream).map(|_| ()),
            };
            if let Err(error) = result {
                lost.push((id, error));
            }
        }
        for (id, error) in lost {
            self.lost(id, &error);
        }
        let complete = self.session.as_mut().is_some_and(Session::take_completed);
        if complete {
            self.handle(Event::EndOfRibSent);
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let actions = self.fsm.handle(event, Instant::now());
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial => self.dialling = Some(socket::dial(&self.config)),
            Action::CancelDial => self.dialling = None,
            Action::Send(id, message) => self.send(id, &message),
            Action::Close(id) => {
                if let Some(link) = self.links.remove(id) {
                    self.goodbyes.say(link);
                }
            }
            Action::Up(id, negotiated) => {
                let Some(link) = self.links.get(id) else { return };
                let local = link.stream.local_addr().map_or(self.config.address, |address| address.ip());
                let revision = self.revision.borrow_and_update().clone();
                self.report.up(&negotiated);
                let asn = self.shared.config.asn;
                self.session =
                    Some(Session::new(id, asn, &negotiated, &self.config, local, &revision, &self.name));
            }
            Action::Down(_) => {
                self.session = None;
                self.report.down();
            }
            Action::Refresh(family) => {
                if let Some(session) = &mut self.session {
                    session.rib.refresh(family);
                }
            }
            Action::State { old, new, reason } => self.report.state(old, new, &reason),
            Action::Failed(why) => self.report.error(&why),
        }
    }

    fn send(&mut self, id: ConnectionId, message: &[u8]) {
        let Some(link) = self.links.get_mut(id) else { return };
        // Whatever still waits shows the peer just as well that we live; a buffer that does not move must not grow.
        if message != KEEPALIVE || link.output.is_empty() || self.session.as_ref().is_none_or(|s| s.id != id)
        {
            link.output.push(message);
        }
    }

    async fn removed(mut self) {
        self.handle(Event::Stop(Stop::Notify(Notification::new(Reason::PeerDeconfigured))));
        self.goodbyes.wait().await;
    }

    async fn shutdown(mut self, how: Shutdown) {
        let stop = match how {
            Shutdown::Keep => Stop::Silent,
            Shutdown::Cease(text) => {
                self.withdraw_all().await;
                Stop::Notify(Notification::shutdown(&text))
            }
        };
        self.handle(Event::Stop(stop));
        self.goodbyes.wait().await;
    }

    /// Withdraws everything and waits, up to a bound, until the peer's TCP has acknowledged it.
    async fn withdraw_all(&mut self) {
        let deadline = Instant::now() + goodbye::PATIENCE;
        if let Some(session) = &mut self.session {
            session.withdraw_all();
        }
        while Instant::now() < deadline {
            self.write();
            let Some(session) = &self.session else { return };
            let Some(link) = self.links.get(session.id) else { return };
            let acknowledged = sockopt::unacknowledged_bytes(&link.stream).is_ok_and(|bytes| bytes == 0);
            if session.rib.is_settled() && link.output.is_empty() && acknowledged {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tracing::warn!(peer = self.name, "the peer did not acknowledge all withdraws in time");
    }
}

fn settings(shared: &Shared, config: &PeerConfig) -> Settings {
    Settings {
        local_asn: shared.config.asn,
        router_id: shared.config.router_id,
        remote_asn: config.remote_asn,
        families: export::families(config),
        hold: config.timers.hold,
        keepalive: config.timers.keepalive,
        connect_retry: config.timers.connect_retry,
        passive: config.passive,
        restart_time: shared.config.restart_time,
    }
}

fn say_what_is_not_offered(name: &str, config: &PeerConfig) {
    let enabled = [(config.ipv4_unicast, Family::Ipv4Unicast), (config.ipv6_unicast, Family::Ipv6Unicast)];
    for (_, family) in enabled.into_iter().filter(|(enabled, _)| *enabled) {
        if !export::families(config).contains(&family) {
            tracing::info!(peer = name, %family, "family not offered: the session has no next hop for it");
        }
    }
}

/// Whether a change of configuration needs another TCP connection. (What needs another OPEN is the state machine's.)
fn resets(old: &PeerConfig, new: &PeerConfig) -> bool {
    let transport = |config: &PeerConfig| {
        (config.local_address, config.multihop, config.ttl_security, config.md5_key.clone())
    };
    transport(old) != transport(new)
}
