//! Graceful restart as the restarting side (RFC 4724), and the router's first answer after it.

use std::time::Duration;

use bgpd::fsm::{Event, Settings, Stop};
use bgpd::wire::{Capability, GracefulRestart};

use crate::world::{A, B, World, open_of, seconds, settings};

/// The graceful restart capability of each OPEN that A has sent.
fn restarts(world: &World) -> Vec<GracefulRestart> {
    let of = |message: &[u8]| {
        open_of(message).capabilities.into_iter().find_map(|capability| match capability {
            Capability::GracefulRestart(restart) => Some(restart),
            _ => None,
        })
    };
    world.sent(A, 1).iter().filter_map(|(_, message)| of(message)).collect()
}

#[test]
fn bits_follow_the_life_of_the_process() {
    let mut world = World::one_dials(1);
    world.establish();
    let first = &restarts(&world)[0];
    assert!(!first.restarting && !first.notification);
    assert_eq!(first.time, 15);
    assert!(
        first.families.iter().all(|(_, forwarding)| !forwarding),
        "a cold start has nothing that forwards"
    );

    // The session is lost, the process lives: what it forwards it still forwards, but it has not restarted.
    world.cut = true;
    world.run(seconds(12));
    world.cut = false;
    world.establish();
    let second = restarts(&world).last().unwrap().clone();
    assert!(!second.restarting && second.families.iter().all(|(_, forwarding)| *forwarding), "{second:?}");

    world.replace(A, settings(A), true);
    world.establish();
    let third = restarts(&world).last().unwrap().clone();
    assert!(third.restarting && third.families.iter().all(|(_, forwarding)| *forwarding), "{third:?}");
    assert!(world.ups(B).last().unwrap().remote_restart.as_ref().unwrap().restarting);

    // Lost again before End-of-RIB: still restarting. After it: no longer.
    world.cut = true;
    world.run(seconds(12));
    world.cut = false;
    world.establish();
    assert!(restarts(&world).last().unwrap().restarting);
    world.event(A, Event::EndOfRibSent);
    world.cut = true;
    world.run(seconds(12));
    world.cut = false;
    world.establish();
    let last = restarts(&world).last().unwrap().clone();
    assert!(!last.restarting && last.families.iter().all(|(_, forwarding)| *forwarding), "{last:?}");
}

/// The router still holds the old session for alive: with graceful restart the new connection replaces it without a
/// word (RFC 4724 4.2).
#[test]
fn new_connection_replaces_the_session_of_a_dead_process() {
    for seed in 0..50 {
        let mut world = World::one_dials(seed);
        world.establish();
        world.run(seconds(5));
        world.replace(A, settings(A), true);
        let restarted = world.now;
        world.establish();
        assert!(world.now - restarted < Duration::from_millis(600), "{:?}", world.now - restarted);
        assert_eq!((world.downs(B), world.ups(B).len()), (1, 2));
        assert_eq!(world.sent(B, 3), [], "no NOTIFICATION, or the routes would be gone");
        world.run(seconds(60));
        assert!(world.established());
    }
}

/// The same when both sides dial: a collision must not be taken for a restart, nor the other way round.
#[test]
fn restart_while_both_sides_dial() {
    for seed in 0..200 {
        let mut world = World::new(settings(A), settings(B), seed);
        world.latency = Duration::from_micros(100 + 1913 * (seed % 20));
        world.start_both();
        world.establish();
        world.run(seconds(7));
        world.replace(A, settings(A), true);
        let restarted = world.now;
        world.establish();
        assert!(world.now - restarted < seconds(2), "seed {seed}: {:?}", world.now - restarted);
        world.run(seconds(60));
        assert!(world.established(), "seed {seed}");
        assert_eq!(world.downs(B), 1, "seed {seed}: {:?}", world.failures(B));
    }
}

/// Without graceful restart the router answers Cease/7 until its hold timer has run out. We ask again every 200 to
/// 500 ms.
#[test]
fn cease_7_is_asked_again_quickly() {
    let plain = |side| Settings { restart_time: None, ..settings(side) };
    let mut world = World::new(plain(A), Settings { passive: true, ..plain(B) }, 3);
    world.start_both();
    world.establish();
    world.run(seconds(5));
    world.no_reset = true;
    world.replace(A, plain(A), false);
    let restarted = world.now;
    world.establish();
    let waited = world.now - restarted;
    assert!(waited < seconds(10), "{waited:?}: the old session's hold time and little more");
    assert!(world.failures(A).contains(&"received 6/7 Cease, connection collision resolution".to_owned()));
    let dials: Vec<_> = world.sides[A].dials.iter().filter(|at| **at > restarted).collect();
    let gaps: Vec<_> = dials.windows(2).map(|pair| *pair[1] - *pair[0]).collect();
    assert!(gaps.len() >= 5, "{gaps:?}");
    let quick = Duration::from_millis(200)..Duration::from_millis(510);
    assert!(gaps.iter().take(10).all(|gap| quick.contains(gap)), "{gaps:?}");
}

#[test]
fn silent_stop_says_nothing() {
    let mut world = World::one_dials(4);
    world.establish();
    world.stop(A, Stop::Silent);
    world.run(seconds(1));
    assert_eq!(world.sent(A, 3), []);
    assert_eq!(world.failures(B), ["the peer closed the connection"]);
}
