//! What the tests share: configurations, waiting for a status, and a peer made by hand.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bgpd::driver::Speaker;
use bgpd::wire::{Capability, Context, Family, Framer, GracefulRestart, KEEPALIVE, Message, Open};
use bgpd::{PeerConfig, PeerStatus, SpeakerConfig, SpeakerStatus, Timers, Wanted, WantedRoute};
use ipnet::IpNet;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

pub(crate) fn config(last: u8) -> SpeakerConfig {
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
pub(crate) fn peer(own: u8, last: u8, port: u16) -> PeerConfig {
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

pub(crate) fn wanted(peers: impl IntoIterator<Item = (&'static str, PeerConfig)>, routes: &[&str]) -> Wanted {
    Wanted {
        peers: peers.into_iter().map(|(name, peer)| (name.to_owned(), peer)).collect(),
        routes: routes.iter().map(|route| (route.parse().unwrap(), WantedRoute::default())).collect(),
        complete: true,
    }
}

pub(crate) async fn until(
    speaker: &Speaker,
    what: &str,
    reached: impl Fn(&SpeakerStatus) -> bool,
) -> SpeakerStatus {
    let mut status = speaker.status();
    let seen = tokio::time::timeout(PATIENCE, status.wait_for(|status| reached(status))).await;
    match seen {
        Ok(Ok(status)) => SpeakerStatus::clone(&status),
        _ => panic!("{what} did not come: {:#?}", speaker.status().borrow()),
    }
}

pub(crate) fn is(status: &SpeakerStatus, name: &str, reached: impl Fn(&PeerStatus) -> bool) -> bool {
    status.peers.get(name).is_some_and(reached)
}

/// A peer made by hand on a listening socket: tests say what it does, and when.
pub(crate) struct Puppet {
    listener: TcpListener,
    asn: u32,
}

impl Puppet {
    pub(crate) fn new(last: u8) -> Self {
        let listener = TcpListener::bind((address(last), 0)).unwrap();
        Self { listener, asn: 64512 + u32::from(last) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Accepts a session and brings it up.
    pub(crate) fn accept(&self) -> PuppetSession {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let restart =
            GracefulRestart { restarting: false, notification: false, time: 120, families: Vec::new() };
        let open = Open {
            my_as: Open::short_asn(self.asn),
            hold_time: 90,
            bgp_id: [10, 9, 9, 9].into(),
            capabilities: vec![
                Capability::MultiProtocol(Family::Ipv4Unicast.wire()),
                Capability::RouteRefresh,
                Capability::FourOctetAsn(self.asn),
                Capability::GracefulRestart(restart),
            ],
        };
        let mut session = PuppetSession { open: open.clone(), stream, framer: Framer::default() };
        session.send(&open.encode().unwrap());
        session.send(&KEEPALIVE);
        let first = session.next();
        let Message::Open(theirs) = Message::decode(&first, &CONTEXT).unwrap() else {
            panic!("{first:02x?}")
        };
        session.open = theirs;
        assert_eq!(session.next(), KEEPALIVE);
        session
    }
}

/// An established session of a puppet.
pub(crate) struct PuppetSession {
    /// What the speaker has sent as OPEN.
    pub(crate) open: Open,
    pub(crate) stream: TcpStream,
    framer: Framer,
}

const CONTEXT: Context = Context { four_octet_asn: true, internal: false };

impl PuppetSession {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        self.poll().expect("the speaker closed the connection")
    }

    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
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
    pub(crate) fn update(&mut self) -> (Vec<IpNet>, Vec<IpNet>) {
        loop {
            let message = self.next();
            if let Message::Update(update) = Message::decode(&message, &CONTEXT).unwrap() {
                return (update.announced.iter().collect(), update.withdrawn.iter().collect());
            }
        }
    }
}
