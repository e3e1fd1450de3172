//! Two peers, a clock that jumps from event to event, and a network of byte pipes with latency, cuts and half-open
//! connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgpd::PeerState;
use bgpd::fsm::{Action, ConnectionId, Direction, Event, Negotiated, Peer, Settings, Stop};
use bgpd::wire::{Family, Framer, Message};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Settings of side A or B: AS 64512 at 10.0.0.1 and AS 65001 at 10.0.0.2.
pub(crate) fn settings(side: usize) -> Settings {
    let asns = [64512, 65001];
    Settings {
        local_asn: asns[side],
        router_id: [10, 0, 0, 1 + side as u8].into(),
        remote_asn: asns[1 - side],
        families: Family::ALL.to_vec(),
        hold: seconds(9),
        keepalive: seconds(3),
        connect_retry: seconds(5),
        passive: false,
        restart_time: Some(seconds(15)),
    }
}

/// What one side has lived through.
#[allow(dead_code, reason = "shown when a test fails")]
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    Up(ConnectionId, Arc<Negotiated>),
    Down(String),
    Failed(String),
    State(PeerState, PeerState),
    Refresh(Family),
}

pub(crate) struct Side {
    pub(crate) peer: Peer,
    pub(crate) seen: Vec<(Instant, Seen)>,
    pub(crate) dials: Vec<Instant>,
    /// Messages on the wire, with their time; the type is the last octet of the header.
    pub(crate) sent: Vec<(Instant, Vec<u8>)>,
    pub(crate) session: Option<ConnectionId>,
    dialling: Option<u64>,
    open: BTreeSet<ConnectionId>,
}

#[derive(Debug)]
enum Delivery {
    /// The SYN arrives at the side that listens.
    Connect {
        from: usize,
        dial: u64,
    },
    Bytes {
        to: usize,
        id: ConnectionId,
        bytes: Vec<u8>,
    },
    Closed {
        to: usize,
        id: ConnectionId,
    },
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) sides: [Side; 2],
    pub(crate) latency: Duration,
    /// Nothing is delivered any more.
    pub(crate) cut: bool,
    /// Bytes to a connection that is gone are not answered with RST, as behind a filter.
    pub(crate) no_reset: bool,
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    dials: u64,
}

impl World {
    pub(crate) fn new(a: Settings, b: Settings, seed: u64) -> Self {
        let start = Instant::now();
        let side = |settings, seed| Side {
            peer: Peer::new(settings, false, seed, start),
            seen: Vec::new(),
            dials: Vec::new(),
            sent: Vec::new(),
            session: None,
            dialling: None,
            open: BTreeSet::new(),
        };
        Self {
            now: start,
            start,
            sides: [side(a, seed), side(b, seed ^ 0xdead_beef)],
            latency: Duration::from_micros(300),
            cut: false,
            no_reset: false,
            queue: BTreeMap::new(),
            sequence: 0,
            dials: 0,
        }
    }

    /// Both enabled, A dials and B listens.
    pub(crate) fn one_dials(seed: u64) -> Self {
        let mut world = Self::new(settings(A), Settings { passive: true, ..settings(B) }, seed);
        world.start_both();
        world
    }

    pub(crate) fn start_both(&mut self) {
        self.event(A, Event::Start);
        self.event(B, Event::Start);
    }

    pub(crate) fn event(&mut self, side: usize, event: Event<'_>) {
        let actions = self.sides[side].peer.handle(event, self.now);
        for action in actions {
            self.act(side, action);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    /// Runs until `done`, at most a virtual minute.
    pub(crate) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let until = self.now + seconds(60);
        while !done(self) {
            let next = self.next().filter(|next| *next <= until);
            let next = next.unwrap_or_else(|| panic!("{what} does not come: {:#?}", self.sides[A].seen));
            self.now = self.now.max(next);
            self.step();
        }
    }

    pub(crate) fn establish(&mut self) {
        self.run_until("the session", Self::established);
    }

    pub(crate) fn established(&self) -> bool {
        self.sides[A].session.is_some() && self.sides[A].session == self.sides[B].session
    }

    pub(crate) fn state(&self, side: usize) -> PeerState {
        self.sides[side].peer.state()
    }

    pub(crate) fn stop(&mut self, side: usize, how: Stop) {
        self.event(side, Event::Stop(how));
    }

    /// The side's process dies without a word, and so do its connections; the other side does not notice.
    pub(crate) fn replace(&mut self, side: usize, settings: Settings, restarting: bool) {
        let peer = Peer::new(settings, restarting, 77, self.now);
        let fresh = &mut self.sides[side];
        fresh.peer = peer;
        fresh.open.clear();
        fresh.session = None;
        fresh.dialling = None;
        self.event(side, Event::Start);
    }

    pub(crate) fn downs(&self, side: usize) -> usize {
        self.sides[side].seen.iter().filter(|(_, seen)| matches!(seen, Seen::Down(_))).count()
    }

    pub(crate) fn ups(&self, side: usize) -> Vec<Arc<Negotiated>> {
        let up = |seen: &(Instant, Seen)| match &seen.1 {
            Seen::Up(_, session) => Some(session.clone()),
            _ => None,
        };
        self.sides[side].seen.iter().filter_map(up).collect()
    }

    pub(crate) fn failures(&self, side: usize) -> Vec<String> {
        let failed = |seen: &(Instant, Seen)| match &seen.1 {
            Seen::Failed(why) => Some(why.clone()),
            _ => None,
        };
        self.sides[side].seen.iter().filter_map(failed).collect()
    }

    /// Messages of a type that a side has sent.
    pub(crate) fn sent(&self, side: usize, kind: u8) -> Vec<(Duration, Vec<u8>)> {
        let sent = self.sides[side].sent.iter().filter(|(_, message)| message[18] == kind);
        sent.map(|(at, message)| (*at - self.start, message.clone())).collect()
    }

    fn next(&self) -> Option<Instant> {
        let queued = self.queue.keys().map(|(at, _)| *at).next();
        let timers = self.sides.iter().filter_map(|side| side.peer.next_timeout());
        timers.chain(queued).min()
    }

    /// What has arrived counts before timers, as in the driver.
    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let delivery = entry.remove();
            if !self.cut {
                self.deliver(delivery);
            }
            return;
        }
        for side in [A, B] {
            if self.sides[side].peer.next_timeout().is_some_and(|at| at <= self.now) {
                self.event(side, Event::Timeout);
            }
        }
    }

    fn later(&mut self, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((self.now + self.latency, self.sequence), delivery);
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Connect { from, dial } => {
                let id = ConnectionId(dial);
                let dialling = self.sides[from].dialling == Some(dial);
                let listener = &mut self.sides[1 - from];
                listener.open.insert(id);
                self.event(1 - from, Event::Connected(id, Direction::Incoming));
                if dialling {
                    self.sides[from].dialling = None;
                    self.sides[from].open.insert(id);
                    self.event(from, Event::Connected(id, Direction::Outgoing));
                } else {
                    self.later(Delivery::Closed { to: 1 - from, id });
                }
            }
            Delivery::Bytes { to, id, bytes } => {
                if self.sides[to].open.contains(&id) {
                    // In two pieces: a message may arrive in any.
                    let (first, second) = bytes.split_at(bytes.len() / 2);
                    self.event(to, Event::Received(id, first));
                    self.event(to, Event::Received(id, second));
                } else if !self.no_reset {
                    // RST.
                    self.later(Delivery::Closed { to: 1 - to, id });
                }
            }
            Delivery::Closed { to, id } => {
                if self.sides[to].open.remove(&id) {
                    self.event(to, Event::Closed(id, "the peer closed the connection".to_owned()));
                }
            }
        }
    }

    fn act(&mut self, side: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Dial => {
                self.dials += 1;
                let dial = self.dials;
                self.sides[side].dialling = Some(dial);
                self.sides[side].dials.push(now);
                self.later(Delivery::Connect { from: side, dial });
            }
            Action::CancelDial => self.sides[side].dialling = None,
            Action::Send(id, bytes) => {
                self.sides[side].record(now, &bytes);
                if self.sides[side].open.contains(&id) {
                    self.later(Delivery::Bytes { to: 1 - side, id, bytes });
                }
            }
            Action::Close(id) => {
                self.sides[side].open.remove(&id);
                self.later(Delivery::Closed { to: 1 - side, id });
            }
            Action::Up(id, session) => {
                assert_eq!(self.sides[side].session.replace(id), None, "two sessions at once");
                self.sides[side].see(now, Seen::Up(id, session));
            }
            Action::Down(why) => {
                assert!(self.sides[side].session.take().is_some());
                self.sides[side].see(now, Seen::Down(why));
            }
            Action::Refresh(family) => self.sides[side].see(now, Seen::Refresh(family)),
            Action::State { old, new, .. } => self.sides[side].see(now, Seen::State(old, new)),
            Action::Failed(why) => self.sides[side].see(now, Seen::Failed(why)),
        }
    }
}

impl Side {
    fn see(&mut self, now: Instant, seen: Seen) {
        self.seen.push((now, seen));
    }

    fn record(&mut self, now: Instant, bytes: &[u8]) {
        let mut framer = Framer::default();
        framer.push(bytes);
        while let Some(frame) = framer.next_frame() {
            self.sent.push((now, frame.unwrap().to_vec()));
        }
    }
}

/// The OPEN in a message.
pub(crate) fn open_of(message: &[u8]) -> bgpd::wire::Open {
    let context = bgpd::wire::Context { four_octet_asn: true, internal: false };
    match Message::decode(message, &context).unwrap() {
        Message::Open(open) => open,
        other => panic!("{other:?}"),
    }
}
