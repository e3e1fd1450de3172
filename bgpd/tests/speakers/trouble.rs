//! Peers that flood, stall, babble, or go silent; strangers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bgpd::driver::{Shutdown, Speaker};
use bgpd::wire::{Family, Packer};
use bgpd::{PeerConfig, PeerState, RouteAttributes, Timers, Wanted, WantedRoute};
use ipnet::{IpNet, Ipv4Net};

use crate::puppet::{PATIENCE, Puppet, config, is, peer, until, wanted};

/// A peer that does not read holds nobody up, and gets the difference, not the history, when it reads again.
#[tokio::test]
async fn slow_reader_gets_differences_and_disturbs_nobody() {
    let (slow, quick) = (Puppet::new(42), Puppet::new(43));
    let speaker = Speaker::start(config(41)).unwrap();
    let mut wanted =
        wanted([("slow", peer(41, 42, slow.port())), ("quick", peer(41, 43, quick.port()))], &[]);
    let host = |number: u32| IpNet::from(Ipv4Net::new((0x1414_0000 + number).into(), 32).unwrap());
    speaker.set_wanted(wanted.clone());
    let mut stuck = slow.accept();
    let mut session = quick.accept();
    assert_eq!(session.update(), (vec![], vec![]), "End-of-RIB");

    // Far more than buffers hold, all of it overtaken by the next round.
    let reader = std::thread::spawn(move || {
        let mut table = std::collections::BTreeSet::new();
        while !table.contains(&"1.1.1.1/32".parse().unwrap()) {
            let (announced, withdrawn) = session.update();
            for prefix in withdrawn {
                table.remove(&prefix);
            }
            table.extend(announced);
        }
        table.len()
    });
    for round in 0..20 {
        let attributes = RouteAttributes { med: Some(round), ..RouteAttributes::default() };
        let route = WantedRoute { attributes, peers: None };
        wanted.routes = (0..10_000).map(|number| (host(number), route.clone())).collect();
        speaker.set_wanted(wanted.clone());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wanted.routes = [("1.1.1.1/32".parse().unwrap(), WantedRoute::default())].into();
    speaker.set_wanted(wanted);
    let left = tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
    assert_eq!(left, 1, "the quick one has followed to the end");

    let (bytes, table) = tokio::task::spawn_blocking(move || {
        let mut table = std::collections::BTreeSet::new();
        let mut bytes = 0;
        while !table.contains(&"1.1.1.1/32".parse().unwrap()) {
            let (announced, withdrawn) = stuck.update();
            bytes += announced.len() + withdrawn.len();
            for prefix in withdrawn {
                table.remove(&prefix);
            }
            table.extend(announced);
        }
        (bytes, table.len())
    })
    .await
    .unwrap();
    assert_eq!(table, 1);
    assert!(bytes < 20 * 10_000, "{bytes} prefixes: the slow one was sent the whole history");
    speaker.shutdown(Shutdown::Keep).await;
}

#[tokio::test]
async fn strangers_are_closed_and_counted() {
    let speaker = Speaker::start(config(51)).unwrap();
    speaker.set_wanted(wanted([("p", peer(51, 52, 1))], &[]));
    until(&speaker, "the peer", |s| s.peers.contains_key("p")).await;
    let to = speaker.listening()[0];
    for _ in 0..20 {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "a stranger got an answer");
    }
    until(&speaker, "the counter", |s| s.rejected_connections == 20).await;
    speaker.shutdown(Shutdown::Keep).await;
}

#[tokio::test]
async fn garbage_from_one_peer_does_not_disturb_another() {
    let (bad, good) = (Puppet::new(62), Puppet::new(63));
    let speaker = Speaker::start(config(61)).unwrap();
    speaker.set_wanted(wanted([("bad", peer(61, 62, bad.port())), ("good", peer(61, 63, good.port()))], &[]));
    let mut session = good.accept();
    assert_eq!(session.update(), (vec![], vec![]), "End-of-RIB");
    for _ in 0..3 {
        let mut hostile = bad.accept();
        hostile.send(&[0x5a; 4096]);
        let mut last = Vec::new();
        while let Some(message) = hostile.poll() {
            last = message;
        }
        assert_eq!(last[18..21], [3, 1, 1], "NOTIFICATION: not synchronized");
    }
    let status = until(&speaker, "three flaps", |s| is(s, "bad", |p| p.flaps == 3)).await;
    assert_eq!(status.peers["good"].state, PeerState::Established);
    assert_eq!(status.peers["good"].flaps, 0);
    assert_eq!(status.peers["bad"].last_error.as_deref(), Some("sent 1/1 connection not synchronized"));
    speaker.shutdown(Shutdown::Keep).await;
}

/// A flood of routes is counted, costs nothing, and keepalives and withdraws go on.
#[tokio::test]
async fn flood_of_routes_is_counted_only() {
    let puppet = Puppet::new(72);
    let speaker = Speaker::start(config(71)).unwrap();
    let with = wanted([("p", peer(71, 72, puppet.port()))], &["20.20.20.1/32"]);
    let without = Wanted { routes: Default::default(), ..with.clone() };
    speaker.set_wanted(with);
    let mut session = puppet.accept();
    assert_eq!(session.update().0.len(), 1);
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 10, 0, 0, 2];
    let mut flood = Vec::new();
    let mut routes = 0;
    for _ in 0..500 {
        let mut packer = Packer::announce(&mut flood, Family::Ipv4Unicast, &attributes, &[]).unwrap();
        while packer.push(&"192.0.2.1/32".parse().unwrap()) {
            routes += 1;
        }
        packer.finish();
    }
    let mut writer = session.stream.try_clone().unwrap();
    let flooding = std::thread::spawn(move || writer.write_all(&flood).unwrap());
    speaker.set_wanted(without);
    let started = Instant::now();
    while session.update().1.is_empty() {}
    assert!(started.elapsed() < Duration::from_secs(1), "the withdraw waited behind the flood");
    flooding.join().unwrap();
    until(&speaker, "all routes", |s| is(s, "p", |p| p.received_prefixes == routes)).await;
    speaker.shutdown(Shutdown::Keep).await;
}

#[tokio::test]
async fn hold_timer_runs_out_on_a_silent_peer() {
    let puppet = Puppet::new(102);
    let speaker = Speaker::start(config(101)).unwrap();
    let timers =
        Timers { hold: Duration::from_secs(3), keepalive: Duration::from_secs(1), ..Timers::default() };
    speaker.set_wanted(wanted([("p", PeerConfig { timers, ..peer(101, 102, puppet.port()) })], &[]));
    let mut session = puppet.accept();
    let started = Instant::now();
    let (mut last, mut keepalives) = (Vec::new(), 0);
    while let Some(message) = session.poll() {
        keepalives += u32::from(message[18] == 4);
        last = message;
    }
    assert_eq!(last[18..21], [3, 4, 0]);
    assert!((2900..3500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert!((2..=4).contains(&keepalives), "{keepalives}");
    speaker.shutdown(Shutdown::Keep).await;
}
