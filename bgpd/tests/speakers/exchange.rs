//! Sessions as they should be: routes, changes, keys, goodbyes.

use std::time::{Duration, SystemTime};

use bgpd::driver::{Error, Shutdown, Speaker};
use bgpd::wire::{Family, RouteRefresh};
use bgpd::{PeerConfig, PeerState, PeerStatus, SpeakerConfig, Timers, WantedRoute};
use ipnet::IpNet;

use crate::puppet::{Puppet, config, is, peer, until, wanted};

#[tokio::test]
async fn two_speakers_exchange_routes() {
    let (a, b) = (Speaker::start(config(11)).unwrap(), Speaker::start(config(12)).unwrap());
    let routes_a = ["20.20.20.1/32", "20.20.20.2/32", "2001:db8:20::1/128"];
    let started = SystemTime::now();
    let mut for_a = wanted([("b", peer(11, 12, b.listening()[0].port()))], &routes_a);
    a.set_wanted(for_a.clone());
    b.set_wanted(wanted([("a", peer(12, 11, a.listening()[0].port()))], &["30.30.30.0/24"]));

    let status =
        until(&a, "the dump", |s| is(s, "b", |p| p.end_of_rib_sent && p.received_prefixes == 1)).await;
    let seen = &status.peers["b"];
    assert_eq!(seen.state, PeerState::Established);
    assert_eq!(seen.remote_router_id, Some([10, 0, 0, 12].into()));
    assert_eq!(seen.hold_time, Some(Duration::from_secs(9)));
    assert_eq!(seen.advertised.keys().map(ToString::to_string).collect::<Vec<_>>(), routes_a);
    assert!(
        seen.advertised.values().all(|route| route.sent_at >= started && route.sent_at <= SystemTime::now())
    );
    assert!(seen.capabilities.contains(&"graceful-restart".to_owned()));
    // OPEN, KEEPALIVE, two UPDATEs and two End-of-RIB at least.
    assert!(seen.messages_sent >= 6, "{}", seen.messages_sent);
    until(&b, "the routes at the other side", |s| is(s, "a", |p| p.received_prefixes == 3)).await;

    for_a.routes.remove(&"20.20.20.1/32".parse().unwrap());
    let before = SystemTime::now();
    a.set_wanted(for_a.clone());
    let withdrawn: IpNet = "20.20.20.1/32".parse().unwrap();
    let status = until(&a, "the withdraw", |s| s.last_withdrawn.contains_key(&withdrawn)).await;
    assert!(status.last_withdrawn[&withdrawn] >= before);
    assert!(!status.peers["b"].advertised.contains_key(&withdrawn));

    // Nothing learned is advertised, here or there.
    assert_eq!(status.peers["b"].advertised.len(), 2);
    for_a.peers.get_mut("b").unwrap().enabled = false;
    a.set_wanted(for_a);
    until(&a, "the end", |s| is(s, "b", |p| p.state == PeerState::Idle && p.flaps == 1)).await;
    let heard =
        |p: &PeerStatus| p.last_error.as_deref() == Some("received 6/2 Cease, administrative shutdown");
    until(&b, "the goodbye", |s| is(s, "a", heard)).await;
    a.shutdown(Shutdown::Keep).await;
    b.shutdown(Shutdown::Cease("done".to_owned())).await;
}

#[tokio::test]
async fn setting_the_same_again_sends_nothing() {
    let puppet = Puppet::new(22);
    let speaker = Speaker::start(config(21)).unwrap();
    let wanted = wanted([("p", peer(21, 22, puppet.port()))], &["20.20.20.1/32"]);
    speaker.set_wanted(wanted.clone());
    let mut session = puppet.accept();
    assert_eq!(session.update().0.len(), 1);
    assert_eq!(session.update(), (vec![], vec![]), "End-of-RIB");
    let mut next = wanted.clone();
    for _ in 0..10 {
        speaker.set_wanted(wanted.clone());
    }
    next.routes.insert("20.20.20.2/32".parse().unwrap(), WantedRoute::default());
    speaker.set_wanted(next);
    assert_eq!(session.update().0, ["20.20.20.2/32".parse::<IpNet>().unwrap()]);

    session.send(&RouteRefresh { family: Family::Ipv4Unicast.wire(), subtype: 0 }.encode());
    assert_eq!(session.update().0.len(), 2, "a refresh is answered with everything");
    speaker.shutdown(Shutdown::Keep).await;
    while let Some(message) = session.poll() {
        assert_ne!(message[18], 3, "kept sessions end without NOTIFICATION");
    }
}

#[tokio::test]
async fn cease_withdraws_first_and_says_why() {
    let puppet = Puppet::new(32);
    let speaker = Speaker::start(config(31)).unwrap();
    speaker.set_wanted(wanted([("p", peer(31, 32, puppet.port()))], &["20.20.20.1/32", "20.20.20.2/32"]));
    let mut session = puppet.accept();
    assert_eq!(session.update().0.len(), 2);
    assert_eq!(session.update().0.len(), 0);
    let reader = std::thread::spawn(move || {
        let withdrawn = session.update().1;
        let last = session.next();
        (withdrawn.len(), last, session.poll())
    });
    speaker.shutdown(Shutdown::Cease("gone fishing".to_owned())).await;
    let (withdrawn, last, end) = reader.join().unwrap();
    assert_eq!(withdrawn, 2);
    assert_eq!((last[18], &last[19..21], &last[22..]), (3, &[6, 2][..], &b"gone fishing"[..]));
    assert_eq!(end, None);
}

#[tokio::test]
async fn md5_keys_on_both_sides_and_a_wrong_one() {
    let (a, b) = (Speaker::start(config(81)).unwrap(), Speaker::start(config(82)).unwrap());
    let keyed =
        |own, last, port, key: &[u8]| PeerConfig { md5_key: Some(key.to_vec()), ..peer(own, last, port) };
    let (port_a, port_b) = (a.listening()[0].port(), b.listening()[0].port());
    a.set_wanted(wanted([("b", keyed(81, 82, port_b, b"right"))], &[]));
    b.set_wanted(wanted([("a", keyed(82, 81, port_a, b"wrong"))], &[]));
    let failed = |p: &PeerStatus| p.last_error.as_deref().is_some_and(|e| e.starts_with("cannot connect"));
    until(&a, "the refusal", |s| is(s, "b", failed)).await;
    b.set_wanted(wanted([("a", keyed(82, 81, port_a, b"right"))], &[]));
    until(&a, "the session", |s| is(s, "b", |p| p.state == PeerState::Established)).await;
    a.shutdown(Shutdown::Keep).await;
    b.shutdown(Shutdown::Keep).await;
}

#[tokio::test]
async fn peers_come_and_go() {
    let puppet = Puppet::new(92);
    let speaker = Speaker::start(config(91)).unwrap();
    let good = peer(91, 92, puppet.port());
    speaker.set_wanted(wanted([("p", good.clone())], &[]));
    let mut session = puppet.accept();
    speaker.set_wanted(wanted([], &[]));
    let mut last = Vec::new();
    while let Some(message) = session.poll() {
        last = message;
    }
    assert_eq!(last[18..21], [3, 6, 3], "Cease, peer de-configured");
    until(&speaker, "an empty status", |s| s.peers.is_empty()).await;

    // What no session could work with is refused by name, the others work.
    let bad_hold = PeerConfig {
        timers: Timers { hold: Duration::from_secs(2), ..Timers::default() },
        ..peer(91, 93, 1)
    };
    let twin = peer(91, 92, 1);
    speaker.set_wanted(wanted([("bad", bad_hold), ("p", good), ("twin", twin)], &[]));
    let _session = puppet.accept();
    let status = until(&speaker, "the good one", |s| is(s, "p", |p| p.state == PeerState::Established)).await;
    assert!(status.peers["bad"].last_error.as_deref().unwrap().contains("hold time"));
    assert!(status.peers["twin"].last_error.as_deref().unwrap().contains("another peer"));
    speaker.shutdown(Shutdown::Keep).await;
}

#[test]
fn configuration_that_cannot_work_is_refused() {
    let bad = |change: fn(&mut SpeakerConfig)| {
        let mut config = config(111);
        change(&mut config);
        Speaker::start(config).unwrap_err()
    };
    assert!(matches!(bad(|config| config.asn = 0), Error::Config(_)));
    assert!(matches!(bad(|config| config.router_id = [0; 4].into()), Error::Config(_)));
    assert!(matches!(bad(|config| config.restart_time = Some(Duration::from_secs(5000))), Error::Config(_)));
    let foreign = bad(|config| config.listen = vec!["192.0.2.1:179".parse().unwrap()]);
    assert!(foreign.to_string().contains("192.0.2.1:179"), "{foreign}");
}
