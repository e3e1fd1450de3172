//! Events in any order, sense or none: never a panic, and what must always hold, holds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bgpd::PeerState;
use bgpd::fsm::{Action, ConnectionId, Direction, Event, Peer, Settings, Stop};
use bgpd::wire::{Family, KEEPALIVE, Notification, Packer, Reason, RouteRefresh};
use proptest::prelude::*;

use crate::script::open;
use crate::world::{A, settings};

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop(bool),
    Configure(u8),
    Incoming,
    Dialled(bool),
    /// The nth open connection, and what arrives on it.
    Received(usize, Vec<u8>),
    Closed(usize),
    EndOfRibSent,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let mut update = Vec::new();
    Packer::withdraw(&mut update, Family::Ipv4Unicast).finish();
    let message = prop_oneof![
        4 => Just(open().encode().unwrap()),
        4 => Just(KEEPALIVE.to_vec()),
        2 => Just(update),
        1 => Just(RouteRefresh { family: Family::Ipv4Unicast.wire(), subtype: 0 }.encode()),
        1 => Just(Notification::new(Reason::CollisionResolution).encode()),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
    ];
    prop_oneof![
        2 => Just(Step::Start),
        1 => any::<bool>().prop_map(Step::Stop),
        1 => any::<u8>().prop_map(Step::Configure),
        4 => Just(Step::Incoming),
        4 => any::<bool>().prop_map(Step::Dialled),
        12 => (0..3usize, message).prop_map(|(at, bytes)| Step::Received(at, bytes)),
        2 => (0..3usize).prop_map(Step::Closed),
        1 => Just(Step::EndOfRibSent),
        4 => (0..6000u64).prop_map(Step::Wait),
    ]
}

/// The driver's view: what is open, what is up, whether an attempt is under way.
struct Driver {
    peer: Peer,
    now: Instant,
    open: BTreeSet<ConnectionId>,
    session: Option<ConnectionId>,
    dialling: bool,
    last: u64,
    state: PeerState,
}

impl Driver {
    fn event(&mut self, event: Event<'_>) {
        let actions = self.peer.handle(event, self.now);
        for action in actions {
            match action {
                Action::Dial => assert!(!std::mem::replace(&mut self.dialling, true), "two attempts at once"),
                Action::CancelDial => assert!(std::mem::take(&mut self.dialling)),
                Action::Send(id, _) => {
                    assert!(self.open.contains(&id), "sent on a connection that is closed")
                }
                Action::Close(id) => assert!(self.open.remove(&id), "closed twice"),
                Action::Up(id, _) => {
                    assert!(self.open.contains(&id));
                    assert_eq!(self.session.replace(id), None, "two sessions at once");
                }
                Action::Down(_) => assert!(self.session.take().is_some(), "down without having been up"),
                Action::Refresh(_) => assert!(self.session.is_some()),
                Action::State { old, new, .. } => {
                    assert_eq!(old, self.state);
                    assert_ne!(old, new);
                    self.state = new;
                }
                Action::Failed(_) => {}
            }
        }
        assert_eq!(self.peer.state(), self.state, "a change of state was not told");
        assert_eq!(self.session.is_some(), self.state == PeerState::Established);
        assert!(self.open.len() <= 3, "{} connections", self.open.len());
        assert!(self.session.is_none_or(|id| self.open.contains(&id)), "a session without a connection");
    }

    fn connect(&mut self, direction: Direction) {
        self.last += 1;
        let id = ConnectionId(self.last);
        self.open.insert(id);
        self.event(Event::Connected(id, direction));
    }

    fn nth(&self, at: usize) -> Option<ConnectionId> {
        self.open.iter().nth(at).copied()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start => self.event(Event::Start),
            Step::Stop(true) => self.event(Event::Stop(Stop::Silent)),
            Step::Stop(false) => self.event(Event::Stop(Stop::Notify(Notification::shutdown("chaos")))),
            Step::Configure(bits) => self.event(Event::Configure(Settings {
                passive: bits & 1 != 0,
                hold: Duration::from_secs(if bits & 2 != 0 { 9 } else { 90 }),
                restart_time: (bits & 4 != 0).then_some(Duration::from_secs(15)),
                ..settings(A)
            })),
            Step::Incoming => self.connect(Direction::Incoming),
            Step::Dialled(true) if std::mem::take(&mut self.dialling) => self.connect(Direction::Outgoing),
            Step::Dialled(false) if std::mem::take(&mut self.dialling) => {
                self.event(Event::DialFailed("refused".to_owned()));
            }
            Step::Dialled(_) => {}
            Step::Received(at, bytes) => {
                if let Some(id) = self.nth(at) {
                    self.event(Event::Received(id, &bytes));
                }
            }
            Step::Closed(at) => {
                if let Some(id) = self.nth(at) {
                    self.open.remove(&id);
                    self.event(Event::Closed(id, "cut".to_owned()));
                }
            }
            Step::EndOfRibSent => self.event(Event::EndOfRibSent),
            Step::Wait(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.event(Event::Timeout);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_any_order_of_events(steps in proptest::collection::vec(step(), 0..120), seed: u64) {
        let now = Instant::now();
        let mut driver = Driver {
            peer: Peer::new(settings(A), seed.is_multiple_of(2), seed, now),
            now,
            open: BTreeSet::new(),
            session: None,
            dialling: false,
            last: 0,
            state: PeerState::Idle,
        };
        driver.event(Event::Start);
        for step in steps {
            driver.take(step);
        }
        // Whatever happened: enabled, left alone, not passive, it dials again.
        driver.take(Step::Configure(0));
        driver.event(Event::Start);
        driver.open.clone().into_iter().for_each(|id| {
            driver.open.remove(&id);
            driver.event(Event::Closed(id, "cut".to_owned()));
        });
        for _ in 0..20 {
            driver.take(Step::Wait(5000));
            if driver.dialling {
                return Ok(());
            }
        }
        prop_assert!(false, "it does not dial any more: {:?}", driver.peer);
    }
}
