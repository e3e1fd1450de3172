//! One state machine against a hand-written peer: every message in every state, and what it must answer.

use std::time::{Duration, Instant};

use bgpd::PeerState;
use bgpd::fsm::{Action, ConnectionId, Direction, Event, Peer, Settings};
use bgpd::wire::{Capability, Family, KEEPALIVE, Notification, Open, Packer, Reason, RouteRefresh};

use crate::world::{A, seconds, settings};

const ID: ConnectionId = ConnectionId(1);

struct Script {
    peer: Peer,
    now: Instant,
}

impl Script {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let mut peer = Peer::new(settings, false, 1, now);
        peer.handle(Event::Start, now);
        Self { peer, now }
    }

    fn in_state(state: PeerState) -> Self {
        let mut script = Self::new(settings(A));
        script.event(Event::Connected(ID, Direction::Incoming));
        if state > PeerState::OpenSent {
            script.receive(&open().encode().unwrap());
        }
        if state > PeerState::OpenConfirm {
            script.receive(&KEEPALIVE);
        }
        assert_eq!(script.peer.state(), state);
        script
    }

    fn event(&mut self, event: Event<'_>) -> Vec<Action> {
        self.peer.handle(event, self.now)
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(Event::Received(ID, bytes))
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.event(Event::Timeout)
    }
}

/// The peer's OPEN.
pub(crate) fn open() -> Open {
    Open {
        my_as: 65001,
        hold_time: 90,
        bgp_id: [10, 0, 0, 2].into(),
        capabilities: vec![
            Capability::MultiProtocol(Family::Ipv4Unicast.wire()),
            Capability::RouteRefresh,
            Capability::FourOctetAsn(65001),
            Capability::Other { code: 71, value: vec![0; 7] },
        ],
    }
}

fn end_of_rib() -> Vec<u8> {
    let mut bytes = Vec::new();
    Packer::withdraw(&mut bytes, Family::Ipv4Unicast).finish();
    bytes
}

/// The NOTIFICATION that is sent before the connection is closed.
fn farewell(actions: &[Action]) -> Option<Vec<u8>> {
    let close = actions.iter().position(|action| *action == Action::Close(ID))?;
    match &actions[close - 1] {
        Action::Send(ID, bytes) => Some(bytes.clone()),
        _ => None,
    }
}

#[test]
fn every_message_in_every_state() {
    use PeerState::{Established, OpenConfirm, OpenSent};
    let refresh = RouteRefresh { family: Family::Ipv4Unicast.wire(), subtype: 0 }.encode();
    let unexpected = |reason, kind| Some(Notification::with_data(reason, &[kind]).encode());
    let messages = [open().encode().unwrap(), end_of_rib(), KEEPALIVE.to_vec(), refresh];
    for (state, reason, fine) in [
        (OpenSent, Reason::UnexpectedInOpenSent, &[1][..]),
        (OpenConfirm, Reason::UnexpectedInOpenConfirm, &[4]),
        (Established, Reason::UnexpectedInEstablished, &[2, 4, 5]),
    ] {
        for message in &messages {
            let kind = message[18];
            let mut script = Script::in_state(state);
            let actions = script.receive(message);
            if fine.contains(&kind) {
                assert_eq!(farewell(&actions), None, "{kind} in {state:?}");
                assert!(script.peer.state() >= state);
            } else {
                assert_eq!(farewell(&actions), unexpected(reason, kind), "{kind} in {state:?}");
                assert_eq!(script.peer.state(), PeerState::Active);
            }
        }
        let mut script = Script::in_state(state);
        let actions = script.receive(&Notification::new(Reason::OutOfResources).encode());
        assert!(actions.contains(&Action::Close(ID)), "a NOTIFICATION ends it in {state:?}");
        assert!(!actions.iter().any(|action| matches!(action, Action::Send(..))), "and is never answered");

        let mut script = Script::in_state(state);
        let actions = script.receive(&[0; 19]);
        let expected = Notification::new(Reason::ConnectionNotSynchronized).encode();
        assert_eq!(farewell(&actions), Some(expected), "garbage in {state:?}");
    }
}

#[test]
fn bad_opens_are_answered_with_their_code() {
    let only_vpn = vec![Capability::MultiProtocol(bgpd::wire::AfiSafi { afi: 1, safi: 128 })];
    for (bad, reason) in [
        (Open { my_as: 65002, ..open() }, Reason::BadPeerAs),
        (Open { bgp_id: [0; 4].into(), ..open() }, Reason::BadBgpIdentifier),
        (Open { hold_time: 1, ..open() }, Reason::UnacceptableHoldTime),
        (Open { capabilities: only_vpn, ..open() }, Reason::UnsupportedCapability),
    ] {
        let mut script = Script::in_state(PeerState::OpenSent);
        let actions = script.receive(&bad.encode().unwrap());
        let sent = farewell(&actions).unwrap();
        let (code, subcode) = reason.wire();
        assert_eq!(sent[19..21], [code, subcode], "{bad:?}");
    }
}

#[test]
fn everything_in_one_segment() {
    let mut script = Script::in_state(PeerState::OpenSent);
    let all = [open().encode().unwrap(), KEEPALIVE.to_vec(), end_of_rib()].concat();
    let actions = script.receive(&all);
    assert!(actions.iter().any(|action| matches!(action, Action::Up(ID, _))));
    assert_eq!(script.peer.state(), PeerState::Established);
}

#[test]
fn open_that_never_comes() {
    let mut script = Script::in_state(PeerState::OpenSent);
    assert_eq!(farewell(&script.wait(seconds(29))), None);
    let expired = Notification::new(Reason::HoldTimerExpired).encode();
    assert_eq!(farewell(&script.wait(seconds(1))), Some(expired));
    assert_eq!(script.peer.state(), PeerState::Connect, "it has gone on dialling");
}

#[test]
fn negotiated_hold_time_counts_and_updates_restart_it() {
    let mut script = Script::in_state(PeerState::Established);
    for _ in 0..10 {
        script.wait(seconds(8));
        script.receive(&end_of_rib());
    }
    assert_eq!(script.peer.state(), PeerState::Established);
    script.wait(Duration::from_millis(8999));
    assert_eq!(script.peer.state(), PeerState::Established);
    script.wait(Duration::from_millis(1));
    assert_ne!(script.peer.state(), PeerState::Established);
}

#[test]
fn refresh_of_a_negotiated_family_only() {
    let mut script = Script::in_state(PeerState::Established);
    let mut refresh =
        |family: Family, subtype| script.receive(&RouteRefresh { family: family.wire(), subtype }.encode());
    assert_eq!(refresh(Family::Ipv4Unicast, 0), [Action::Refresh(Family::Ipv4Unicast)]);
    assert_eq!(refresh(Family::Ipv6Unicast, 0), [], "not negotiated");
    assert_eq!(refresh(Family::Ipv4Unicast, 1), [], "begin of a refresh of the peer's (RFC 7313)");
}

#[test]
fn received_routes_are_counted_and_forgotten() {
    let mut script = Script::in_state(PeerState::Established);
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 10, 0, 0, 2];
    let mut bytes = Vec::new();
    let mut packer = Packer::announce(&mut bytes, Family::Ipv4Unicast, &attributes, &[]).unwrap();
    while packer.push(&"192.0.2.0/24".parse().unwrap()) {}
    packer.finish();
    for _ in 0..100 {
        assert_eq!(script.receive(&bytes), [], "nothing follows from a received route");
    }
    assert_eq!(script.peer.import().announced, 100 * ((4096 - 23 - 20) / 4));
}

#[test]
fn peer_that_connects_in_a_loop_holds_one_connection() {
    let mut script = Script::new(Settings { passive: true, ..settings(A) });
    let cease = Notification::new(Reason::CollisionResolution).encode();
    for number in 1..100 {
        let actions = script.event(Event::Connected(ConnectionId(number), Direction::Incoming));
        if number > 1 {
            let older = ConnectionId(number - 1);
            assert_eq!(actions[..2], [Action::Send(older, cease.clone()), Action::Close(older)]);
        }
    }
    assert_eq!(script.peer.state(), PeerState::OpenSent);
}

#[test]
fn late_result_of_a_forgotten_attempt_is_closed() {
    let mut script = Script::new(settings(A));
    assert!(script.wait(seconds(1)).contains(&Action::Dial));
    let actions = script.wait(seconds(5));
    assert!(actions.contains(&Action::CancelDial), "{actions:?}");
    let actions = script.event(Event::Connected(ID, Direction::Outgoing));
    assert_eq!(actions, [Action::Close(ID)]);
}

#[test]
fn two_octet_peer() {
    let mut script = Script::new(Settings { remote_asn: 65001, local_asn: 4_200_000_001, ..settings(A) });
    let actions = script.event(Event::Connected(ID, Direction::Incoming));
    let Action::Send(_, sent) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(sent[20..22], 23456u16.to_be_bytes(), "AS_TRANS");
    let old = Open { capabilities: Vec::new(), ..open() };
    script.receive(&old.encode().unwrap());
    script.receive(&KEEPALIVE);
    let session = script.peer.session().unwrap();
    assert!(!session.four_octet_asn && !session.graceful_restart && !session.route_refresh);
    assert_eq!(session.families, [Family::Ipv4Unicast]);
}
