//! Two speakers over loopback, sockets and threads included.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use bgpd::driver::{Error, Shutdown, Speaker};
use bgpd::wire::{Capability, Context, Family, Framer, KEEPALIVE, Message, Open, Packer, RouteRefresh};
use bgpd::{
    PeerConfig, PeerState, PeerStatus, RouteAttributes, SpeakerConfig, SpeakerStatus, Timers, Wanted,
    WantedRoute,
};
use ipnet::{IpNet, Ipv4Net};

const PATIENCE: Duration = Duration::from_secs(20);

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn config(last: u8) -> SpeakerConfig {
    SpeakerConfig {
        asn: 64512 + u32::from(last),
        router_id: [10, 0, 0, last].into(),
        listen: vec![SocketAddr::new(address(last), 0)],
        restart_time: Some(Duration::from_secs(15)),
        restarting: false,
        restart_defer: Duration::from_secs(10),
    }
}

/// A peer of the speaker at `own`.
fn peer(own: u8, last: u8, port: u16) -> PeerConfig {
    PeerConfig {
        address: address(last),
        port,
        remote_asn: 64512 + u32::from(last),
        local_address: Some(address(own)),
        ipv4_unicast: true,
        ipv6_unicast: true,
        next_hop_v4: None,
        next_hop_v6: Some("2001:db8::1".parse().unwrap()),
        timers: Timers::default(),
        passive: false,
        multihop: None,
        ttl_security: false,
        md5_key: None,
        enabled: true,
    }
}

fn wanted(peers: impl IntoIterator<Item = (&'static str, PeerConfig)>, routes: &[&str]) -> Wanted {
    Wanted {
        peers: peers.into_iter().map(|(name, peer)| (name.to_owned(), peer)).collect(),
        routes: routes.iter().map(|route| (route.parse().unwrap(), WantedRoute::default())).collect(),
        complete: true,
    }
}

async fn until(speaker: &Speaker, what: &str, reached: impl Fn(&SpeakerStatus) -> bool) -> SpeakerStatus {
    let mut status = speaker.status();
    let seen = tokio::time::timeout(PATIENCE, status.wait_for(|status| reached(status))).await;
    match seen {
        Ok(Ok(status)) => SpeakerStatus::clone(&status),
        _ => panic!("{what} did not come: {:#?}", speaker.status().borrow()),
    }
}

fn is(status: &SpeakerStatus, name: &str, reached: impl Fn(&PeerStatus) -> bool) -> bool {
    status.peers.get(name).is_some_and(reached)
}

/// A peer made by hand on a listening socket: tests say what it does, and when.
struct Puppet {
    listener: TcpListener,
    asn: u32,
}

impl Puppet {
    fn new(last: u8) -> Self {
        let listener = TcpListener::bind((address(last), 0)).unwrap();
        Self { listener, asn: 64512 + u32::from(last) }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Accepts a session and brings it up.
    fn accept(&self) -> PuppetSession {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = PuppetSession { stream, framer: Framer::default() };
        let capabilities = [
            Capability::MultiProtocol(Family::Ipv4Unicast.wire()),
            Capability::RouteRefresh,
            Capability::FourOctetAsn(self.asn),
        ];
        let open = Open {
            my_as: Open::short_asn(self.asn),
            hold_time: 90,
            bgp_id: [10, 9, 9, 9].into(),
            capabilities: capabilities.into(),
        };
        session.send(&open.encode().unwrap());
        session.send(&KEEPALIVE);
        assert_eq!(session.next()[18], 1);
        assert_eq!(session.next()[18], 4);
        session
    }
}

struct PuppetSession {
    stream: TcpStream,
    framer: Framer,
}

impl PuppetSession {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next message.
    fn next(&mut self) -> Vec<u8> {
        self.poll().expect("the speaker closed the connection")
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.framer.next_frame() {
                return Some(frame.unwrap().to_vec());
            }
            let mut chunk = [0; 16 * 1024];
            let count = self.stream.read(&mut chunk).unwrap();
            if count == 0 {
                return None;
            }
            self.framer.push(&chunk[..count]);
        }
    }

    /// Prefixes announced and withdrawn by the next UPDATE.
    fn update(&mut self) -> (Vec<IpNet>, Vec<IpNet>) {
        loop {
            let message = self.next();
            let context = Context { four_octet_asn: true, internal: false };
            if let Message::Update(update) = Message::decode(&message, &context).unwrap() {
                return (update.announced.iter().collect(), update.withdrawn.iter().collect());
            }
        }
    }
}

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
