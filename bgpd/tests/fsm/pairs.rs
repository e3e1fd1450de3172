//! Two state machines and a network: establishment, collisions, expiry, notifications.

use std::time::Duration;

use bgpd::PeerState;
use bgpd::fsm::{Event, Settings, Stop};
use bgpd::wire::{Family, Notification, Reason};

use crate::world::{A, B, World, seconds, settings};

#[test]
fn one_dials_and_both_are_established() {
    let mut world = World::one_dials(1);
    world.establish();
    assert!(world.now - world.start < seconds(1));
    let (a, b) = (world.ups(A)[0].clone(), world.ups(B)[0].clone());
    assert_eq!((a.remote_asn, b.remote_asn), (65001, 64512));
    assert_eq!(a.remote_id.octets(), [10, 0, 0, 2]);
    assert_eq!(a.families, Family::ALL);
    assert_eq!(a.hold, Some(seconds(9)));
    assert!(a.graceful_restart && b.four_octet_asn && b.route_refresh);
    assert_eq!(world.sides[B].dials, [], "a passive side does not dial");
}

#[test]
fn keepalives_hold_a_session_for_an_hour() {
    let mut world = World::one_dials(2);
    world.establish();
    world.run(seconds(3600));
    assert!(world.established());
    assert_eq!((world.downs(A), world.downs(B)), (0, 0));
    // Every 2.25 to 3 s.
    let sent = world.sent(A, 4).len();
    assert!((1200..=1602).contains(&sent), "{sent} keepalives in an hour");
}

#[test]
fn hold_time_zero_means_no_keepalives_and_no_expiry() {
    let quiet = Settings { hold: Duration::ZERO, ..settings(A) };
    let mut world = World::new(quiet, Settings { passive: true, ..settings(B) }, 3);
    world.start_both();
    world.establish();
    world.cut = true;
    world.run(seconds(3600));
    assert!(world.established());
    assert_eq!(world.sent(A, 4).len(), 1, "only the answer to the OPEN");
}

#[test]
fn silent_link_ends_the_session_after_the_hold_time() {
    let mut world = World::one_dials(4);
    world.establish();
    world.run(seconds(20));
    world.cut = true;
    let cut = world.now;
    world.run_until("expiry on both sides", |world| world.downs(A) == 1 && world.downs(B) == 1);
    let waited = world.now - cut;
    assert!(waited > seconds(5) && waited <= seconds(9), "{waited:?}");
    let expired = Notification::new(Reason::HoldTimerExpired).encode();
    assert_eq!(world.sent(A, 3).last().unwrap().1, expired);
    assert!(world.failures(B).contains(&"sent 4/0 hold timer expired".to_owned()));

    world.cut = false;
    world.establish();
}

/// With every latency and seed, two sides that dial at the same time end up with one session, the same on both.
#[test]
fn collisions_end_with_one_session() {
    let mut collided = 0;
    for seed in 0..400 {
        let mut world = World::new(settings(A), settings(B), seed);
        world.latency = Duration::from_micros(50 + 997 * (seed % 50));
        world.start_both();
        world.establish();
        let took = world.now - world.start;
        assert!(took < seconds(3), "seed {seed}: {took:?}");
        collided += u32::from(!world.sent(A, 3).is_empty() || !world.sent(B, 3).is_empty());
        let session = world.sides[A].session;
        world.run(seconds(120));
        assert!(world.established(), "seed {seed}");
        assert_eq!(world.sides[A].session, session, "seed {seed}: the session did not last");
        assert_eq!((world.downs(A), world.downs(B)), (0, 0), "seed {seed}");
    }
    assert!(collided > 20, "only {collided} of 400 runs collided: the test proves nothing");
}

#[test]
fn collision_keeps_the_connection_of_the_larger_identifier() {
    for (mine, theirs) in [(settings(A), settings(B)), (settings(B), settings(A))] {
        let larger = if mine.router_id > theirs.router_id { A } else { B };
        // Both dial before either OPEN arrives.
        let mut world = World::new(mine, theirs, 5);
        world.latency = Duration::from_millis(100);
        world.start_both();
        world.establish();
        world.run(seconds(5));
        assert!(world.established());
        let cease = Notification::new(Reason::CollisionResolution).encode();
        let ceases = [A, B].map(|side| world.sent(side, 3).iter().filter(|(_, m)| *m == cease).count());
        assert!(ceases[0] + ceases[1] > 0, "no collision");
        // Connection numbers count the dials of both sides in order of time.
        let first_dialler = if world.sides[A].dials[0] <= world.sides[B].dials[0] { A } else { B };
        let winner = if world.sides[A].session.unwrap().0 == 1 { first_dialler } else { 1 - first_dialler };
        assert_eq!(winner, larger);
    }
}

#[test]
fn equal_identifiers_are_told_apart_by_asn() {
    let same = |side| Settings { router_id: [10, 0, 0, 7].into(), ..settings(side) };
    for seed in 0..50 {
        let mut world = World::new(same(A), same(B), seed);
        world.latency = Duration::from_millis(30);
        world.start_both();
        world.establish();
        world.run(seconds(60));
        assert!(world.established(), "seed {seed}");
        assert_eq!(world.downs(A), 0, "seed {seed}");
    }
}

#[test]
fn wrong_asn_is_refused_with_growing_patience() {
    let wrong = Settings { remote_asn: 64999, ..settings(B) };
    let mut world = World::new(settings(A), Settings { passive: true, ..wrong }, 6);
    world.start_both();
    world.run(seconds(120));
    assert_eq!(world.ups(A).len() + world.ups(B).len(), 0);
    assert!(world.failures(A).contains(&"received 2/2 bad peer AS".to_owned()), "{:?}", world.failures(A));
    let dials = &world.sides[A].dials;
    let gaps: Vec<_> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] < Duration::from_millis(510), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= seconds(5) + Duration::from_millis(10)), "{gaps:?}");
    assert!(gaps[5..].iter().all(|gap| *gap >= Duration::from_millis(3740)), "{gaps:?}");
    assert!((24..40).contains(&dials.len()), "{} dials in two minutes", dials.len());
}

#[test]
fn nobody_listens() {
    let mut world = World::new(settings(A), settings(B), 7);
    world.cut = true;
    world.event(A, Event::Start);
    world.run(seconds(60));
    assert!((6..15).contains(&world.sides[A].dials.len()), "{}", world.sides[A].dials.len());
    assert!(world.failures(A).iter().all(|why| why == "cannot connect: timed out"));
    world.cut = false;
    world.event(B, Event::Start);
    world.establish();
}

#[test]
fn operators_stop_is_heard_and_lasts() {
    let mut world = World::one_dials(8);
    world.establish();
    world.stop(A, Stop::Notify(Notification::shutdown("moving racks")));
    assert_eq!(world.state(A), PeerState::Idle);
    world.run(seconds(30));
    assert_eq!(world.downs(B), 1);
    let heard = "received 6/2 Cease, administrative shutdown \"moving racks\"";
    assert_eq!(world.failures(B), [heard]);
    assert_eq!(world.sides[A].dials.len(), 1, "a stopped side does not dial");
    assert_eq!(world.state(B), PeerState::Active);

    world.event(A, Event::Start);
    world.establish();
}

#[test]
fn stopped_side_takes_no_connections() {
    let mut world = World::new(settings(A), settings(B), 9);
    world.event(B, Event::Start);
    world.run(seconds(30));
    assert_eq!(world.state(A), PeerState::Idle);
    assert_eq!(world.sides[A].sent.len(), 0);
}

#[test]
fn another_open_resets_the_session_another_retry_does_not() {
    let mut world = World::one_dials(10);
    world.establish();
    world.event(A, Event::Configure(Settings { connect_retry: seconds(30), ..settings(A) }));
    assert!(world.established());
    world.event(A, Event::Configure(Settings { hold: seconds(30), keepalive: seconds(10), ..settings(A) }));
    world.run_until("the reset", |world| world.downs(B) == 1);
    assert!(world.failures(B)[0].contains("6/6"), "{:?}", world.failures(B));
    world.establish();
    assert_eq!(world.ups(B)[1].hold, Some(seconds(9)), "the smaller of 30 and 9");
}
