//! One peer: when to dial, which connections there are, and what becomes of them (RFC 4271 8.2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arbiter::{self, Candidate, Phase, Ruling};
use super::connection::{Connection, Due, State, Step};
use super::event::{Action, ConnectionId, Direction, Event, Stop};
use super::import::Import;
use super::negotiate::{Negotiated, Restart, Settings};
use super::retry::{Backoff, Jitter};
use crate::status::PeerState;
use crate::wire::{KEEPALIVE, Notification, Open, Reason, RouteRefresh};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    Off,
    /// Active: waiting, and listening.
    Waiting {
        until: Instant,
    },
    /// Connect: the driver is at it.
    Dialling {
        until: Instant,
    },
}

/// The state machine of one peer.
#[derive(Debug)]
pub struct Peer {
    settings: Settings,
    enabled: bool,
    dial: Dial,
    connections: BTreeMap<ConnectionId, Connection>,
    backoff: Backoff,
    jitter: Jitter,
    /// R-bit: until End-of-RIB was sent once.
    restarting: bool,
    /// A session of this run has been established: our forwarding state has outlived whatever ends it.
    had_session: bool,
    /// After a restart dialling does not slow down for as long as the peer keeps our routes.
    hurry_until: Option<Instant>,
    import: Import,
    received: u64,
    sent: u64,
    /// What the driver still has to do, collected during one event.
    actions: Vec<Action>,
    /// Why the state is about to change.
    reason: String,
}

impl Peer {
    /// A peer that is not started yet. `restarting`: this run follows one whose forwarding goes on.
    pub fn new(settings: Settings, restarting: bool, seed: u64, now: Instant) -> Self {
        let hurry_until = settings.restart_time.filter(|_| restarting).map(|time| now + time);
        Self {
            settings,
            enabled: false,
            dial: Dial::Off,
            connections: BTreeMap::new(),
            backoff: Backoff::default(),
            jitter: Jitter::new(seed),
            restarting,
            had_session: false,
            hurry_until,
            import: Import::default(),
            received: 0,
            sent: 0,
            actions: Vec::new(),
            reason: String::new(),
        }
    }

    /// The most advanced state of its connections, or that of dialling.
    pub fn state(&self) -> PeerState {
        let connected = self.connections.values().map(Connection::peer_state).max();
        connected.unwrap_or(match self.dial {
            Dial::Dialling { .. } => PeerState::Connect,
            Dial::Waiting { .. } => PeerState::Active,
            Dial::Off if self.enabled => PeerState::Active,
            Dial::Off => PeerState::Idle,
        })
    }

    /// The established session.
    pub fn session(&self) -> Option<&Arc<Negotiated>> {
        self.established().and_then(|id| self.connections.get(&id)?.session())
    }

    /// What the peer has sent in the current or last session.
    pub fn import(&self) -> &Import {
        &self.import
    }

    /// Messages received and sent, UPDATEs sent excepted.
    pub fn messages(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// When to hand in [`Event::Timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Off => None,
            Dial::Waiting { until } | Dial::Dialling { until } => Some(until),
        };
        self.connections.values().filter_map(Connection::next_timeout).chain(dial).min()
    }

    /// Takes one event and says what to do.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) -> Vec<Action> {
        let old = self.state();
        self.reason.clear();
        match event {
            Event::Start => self.start(now),
            Event::Stop(how) => self.stop(&how),
            Event::Configure(settings) => self.configure(settings, now),
            Event::Connected(id, direction) => self.connected(id, direction, now),
            Event::DialFailed(why) => self.dial_failed(&why, now),
            Event::Received(id, chunk) => self.receive(id, chunk, now),
            Event::Closed(id, why) => self.closed(id, &why, now),
            Event::EndOfRibSent => self.restarting = false,
            Event::Timeout => self.timeout(now),
        }
        let new = self.state();
        if old != new {
            let reason = std::mem::take(&mut self.reason);
            self.actions.push(Action::State { old, new, reason });
        }
        std::mem::take(&mut self.actions)
    }

    fn start(&mut self, now: Instant) {
        if self.enabled {
            return;
        }
        self.enabled = true;
        self.backoff.reset();
        "enabled".clone_into(&mut self.reason);
        if !self.settings.passive {
            // A first attempt at once, spread a little so that a fleet does not dial in step.
            let delay = self.jitter.between(Duration::ZERO, Duration::from_millis(50));
            self.dial = Dial::Waiting { until: now + delay };
        }
    }

    fn stop(&mut self, how: &Stop) {
        self.enabled = false;
        self.cancel_dial();
        let why = match how {
            Stop::Silent => "stopped without notification".to_owned(),
            Stop::Notify(notification) => format!("sent {notification}"),
        };
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if let Stop::Notify(notification) = how {
                self.send(id, notification.encode());
            }
            self.actions.push(Action::Close(id));
            self.forget(id, &why);
        }
        self.reason = why;
    }

    fn configure(&mut self, settings: Settings, now: Instant) {
        let restart = Restart { restarting: false, forwarding: false };
        let same_open = settings.open(restart) == self.settings.open(restart)
            && settings.remote_asn == self.settings.remote_asn;
        self.settings = settings;
        if !same_open && self.enabled {
            self.stop(&Stop::Notify(Notification::new(Reason::OtherConfigurationChange)));
            self.start(now);
        } else if self.settings.passive {
            self.cancel_dial();
        } else {
            self.retry(now, false);
        }
    }

    fn connected(&mut self, id: ConnectionId, direction: Direction, now: Instant) {
        let dialled = matches!(self.dial, Dial::Dialling { .. });
        if !self.enabled || (direction == Direction::Outgoing && !dialled) {
            self.actions.push(Action::Close(id));
            return;
        }
        match direction {
            Direction::Outgoing => self.dial = Dial::Off,
            Direction::Incoming => self.drop_older_incoming(),
        }
        let open = self
            .settings
            .open(Restart { restarting: self.restarting, forwarding: self.restarting || self.had_session });
        // Two families and four capabilities always fit.
        let Ok(open) = open.encode() else {
            self.actions.push(Action::Close(id));
            return;
        };
        self.connections.insert(id, Connection::new(direction, self.settings.internal(), now));
        self.send(id, open);
        self.reason = match direction {
            Direction::Incoming => "the peer connected".to_owned(),
            Direction::Outgoing => "connected".to_owned(),
        };
    }

    /// A peer that dials again has given up the connection that it dialled before; at most one of them is kept.
    fn drop_older_incoming(&mut self) {
        let older = self.connections.iter().find(|(_, connection)| {
            connection.direction == Direction::Incoming && connection.established_since().is_none()
        });
        if let Some((&id, _)) = older {
            self.end(id, &Notification::new(Reason::CollisionResolution));
        }
    }

    fn dial_failed(&mut self, why: &str, now: Instant) {
        if matches!(self.dial, Dial::Dialling { .. }) {
            self.dial = Dial::Off;
            self.failed(format!("cannot connect: {why}"));
            self.retry(now, false);
        }
    }

    fn receive(&mut self, id: ConnectionId, chunk: &[u8], now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.push(chunk);
        }
        // Each step may end the connection.
        while let Some(step) =
            self.connections.get_mut(&id).and_then(|connection| connection.step(&mut self.import, now))
        {
            self.received += 1;
            match step {
                Step::Alive => {}
                Step::Open(open) => self.open_received(id, &open, now),
                Step::Confirmed => self.establish(id, now),
                Step::Refresh(refresh) => self.refresh(&refresh),
                Step::Notified(notification) => self.notified(id, &notification, now),
                Step::Fault(notification) => self.fault(id, &notification, now),
            }
        }
    }

    fn open_received(&mut self, id: ConnectionId, open: &Open, now: Instant) {
        let session = match self.settings.negotiate(open) {
            Ok(session) => Arc::new(session),
            Err(notification) => return self.fault(id, &notification, now),
        };
        let preferred = arbiter::preferred(
            (self.settings.router_id, self.settings.local_asn),
            (session.remote_id, session.remote_asn),
        );
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.confirm(session, &mut self.jitter, now);
        let new = candidate(connection);
        self.send(id, KEEPALIVE.to_vec());
        "OPEN received".clone_into(&mut self.reason);

        let rulings: Vec<_> = self
            .connections
            .iter()
            .filter(|(other, _)| **other != id)
            .map(|(other, connection)| (*other, arbiter::rule(&candidate(connection), &new, preferred)))
            .collect();
        for (other, ruling) in rulings {
            match ruling {
                Ruling::Both => {}
                Ruling::CloseOld => self.end(other, &Notification::new(Reason::CollisionResolution)),
                Ruling::CloseNew => self.end(id, &Notification::new(Reason::CollisionResolution)),
                Ruling::ReplaceOld => {
                    self.actions.push(Action::Close(other));
                    self.forget(other, "the peer opened a new connection (graceful restart)");
                }
            }
        }
    }

    fn establish(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(session) = connection.session().cloned() else { return };
        connection.establish(session.clone(), now);
        self.had_session = true;
        self.hurry_until = None;
        self.backoff.reset();
        self.import = Import::default();
        self.cancel_dial();
        "KEEPALIVE received".clone_into(&mut self.reason);
        self.actions.push(Action::Up(id, session));
    }

    fn refresh(&mut self, refresh: &RouteRefresh) {
        let family = refresh.family.known().filter(|_| refresh.subtype == 0);
        let negotiated =
            self.session().is_some_and(|session| family.is_some_and(|f| session.families.contains(&f)));
        if let Some(family) = family.filter(|_| negotiated) {
            self.actions.push(Action::Refresh(family));
        }
    }

    fn notified(&mut self, id: ConnectionId, notification: &Notification, now: Instant) {
        self.actions.push(Action::Close(id));
        self.forget(id, &format!("received {notification}"));
        self.retry(now, notification.reason == Reason::CollisionResolution);
    }

    /// We end a connection because of what the peer did, or did not do.
    fn fault(&mut self, id: ConnectionId, notification: &Notification, now: Instant) {
        self.end(id, notification);
        self.retry(now, false);
    }

    fn closed(&mut self, id: ConnectionId, why: &str, now: Instant) {
        if self.connections.contains_key(&id) {
            let was_up = self.established() == Some(id);
            self.forget(id, why);
            self.retry(now, was_up);
        }
    }

    fn timeout(&mut self, now: Instant) {
        match self.dial {
            Dial::Waiting { until } if until <= now => self.dial(now),
            Dial::Dialling { until } if until <= now => {
                self.cancel_dial();
                self.failed("cannot connect: timed out".to_owned());
                self.retry(now, false);
            }
            _ => {}
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            let due =
                self.connections.get_mut(&id).and_then(|connection| connection.due(&mut self.jitter, now));
            match due {
                Some(Due::Hold) => self.fault(id, &Notification::new(Reason::HoldTimerExpired), now),
                Some(Due::Keepalive) => self.send(id, KEEPALIVE.to_vec()),
                None => {}
            }
        }
    }

    fn dial(&mut self, now: Instant) {
        // A connection that has got this far decides first; when it fails, dialling goes on.
        let decided = self.connections.values().any(|connection| {
            connection.direction == Direction::Outgoing || !matches!(connection.state, State::OpenSent)
        });
        if decided {
            self.dial = Dial::Off;
            return;
        }
        let patience = self.settings.connect_retry.max(Duration::from_secs(1));
        self.dial = Dial::Dialling { until: now + patience };
        "dialling".clone_into(&mut self.reason);
        self.actions.push(Action::Dial);
    }

    /// Plans the next attempt unless there is a connection, or an attempt, already.
    fn retry(&mut self, now: Instant, quick: bool) {
        let busy = self.connections.values().any(|connection| {
            connection.direction == Direction::Outgoing || !matches!(connection.state, State::OpenSent)
        });
        if !self.enabled || self.settings.passive || busy || self.dial != Dial::Off {
            return;
        }
        let cap = self.settings.connect_retry;
        let hurry = quick || self.hurry_until.is_some_and(|until| now < until);
        let delay = if hurry {
            self.backoff.quick(cap, &mut self.jitter)
        } else {
            self.backoff.next(cap, &mut self.jitter)
        };
        self.dial = Dial::Waiting { until: now + delay };
    }

    fn cancel_dial(&mut self) {
        if matches!(self.dial, Dial::Dialling { .. }) {
            self.actions.push(Action::CancelDial);
        }
        self.dial = Dial::Off;
    }

    /// Sends a NOTIFICATION and closes.
    fn end(&mut self, id: ConnectionId, notification: &Notification) {
        self.send(id, notification.encode());
        self.actions.push(Action::Close(id));
        self.forget(id, &format!("sent {notification}"));
    }

    /// Takes a connection out, and the session with it if it was the established one.
    fn forget(&mut self, id: ConnectionId, why: &str) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if connection.established_since().is_some() {
            self.actions.push(Action::Down(why.to_owned()));
        }
        self.failed(why.to_owned());
    }

    fn failed(&mut self, why: String) {
        self.reason.clone_from(&why);
        self.actions.push(Action::Failed(why));
    }

    fn send(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        self.sent += 1;
        self.actions.push(Action::Send(id, bytes));
    }

    fn established(&self) -> Option<ConnectionId> {
        let found = self.connections.iter().find(|(_, connection)| connection.established_since().is_some());
        found.map(|(id, _)| *id)
    }
}

fn candidate(connection: &Connection) -> Candidate {
    let phase = match &connection.state {
        State::OpenSent => Phase::OpenSent,
        State::OpenConfirm(_) => Phase::OpenConfirm,
        State::Established { since, session } => {
            Phase::Established { since: *since, graceful_restart: session.graceful_restart }
        }
    };
    Candidate { direction: connection.direction, opened: connection.opened, phase }
}
