//! A speaker for tests against real routers, driven by lines on standard input:
//!
//! ```text
//! speaker ASN ROUTER_ID RESTARTING PEER_ADDRESS PEER_ASN [key=value ...]
//! ```
//!
//! Keys: `port`, `local`, `listen`, `nh4`, `nh6`, `md5`, `hold` (s), `restart` (s), `ttl_security`, `passive`, `multihop`.
//! Lines: `announce PREFIX [med=N] [prepend=N] [community=A:B] [large=A:B:C]`, `withdraw PREFIX`, `apply` (hand the set over),
//! `disable`, `enable`, `remove`, `wait established|rib|idle`, `status`, `keep`, `cease TEXT`. Every line is answered by one
//! line. End of input: `keep`.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::IpAddr;
use std::time::Duration;

use bgpd::driver::{Shutdown, Speaker};
use bgpd::{
    Community, LargeCommunity, PeerConfig, PeerState, PeerStatus, RouteAttributes, SpeakerConfig, Timers,
    Wanted, WantedRoute,
};

type Error = Box<dyn std::error::Error>;

const PEER: &str = "router";

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [asn, router_id, restarting, peer, peer_asn, options @ ..] = arguments.as_slice() else {
        return Err("usage: speaker ASN ROUTER_ID RESTARTING PEER_ADDRESS PEER_ASN [key=value ...]".into());
    };
    let options: BTreeMap<_, _> = options.iter().filter_map(|option| option.split_once('=')).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let speaker = Speaker::start(SpeakerConfig {
        asn: asn.parse()?,
        router_id: router_id.parse()?,
        listen: options.get("listen").map(|address| address.parse()).transpose()?.into_iter().collect(),
        restart_time: match seconds(&options, "restart", 15)? {
            Duration::ZERO => None,
            time => Some(time),
        },
        restarting: restarting.parse()?,
        restart_defer: Duration::from_secs(10),
    })?;
    let mut wanted = Wanted { complete: true, ..Wanted::default() };
    wanted.peers.insert(PEER.to_owned(), peer_config(peer.parse()?, peer_asn.parse()?, &options)?);
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["announce", prefix, attributes @ ..] => {
                let route = WantedRoute { attributes: attributes_of(attributes)?, peers: None };
                wanted.routes.insert(prefix.parse()?, route);
            }
            ["withdraw", prefix] => drop(wanted.routes.remove(&prefix.parse()?)),
            ["apply"] => speaker.set_wanted(wanted.clone()),
            ["disable"] | ["enable"] => {
                let enabled = words == ["enable"];
                wanted.peers.values_mut().for_each(|peer| peer.enabled = enabled);
                speaker.set_wanted(wanted.clone());
            }
            ["remove"] => {
                wanted.peers.clear();
                speaker.set_wanted(wanted.clone());
            }
            ["wait", what] => println!("{}", runtime.block_on(wait(&speaker, &wanted, what))),
            ["status"] => println!("{:?}", speaker.status().borrow().peers.get(PEER)),
            ["keep"] => {
                runtime.block_on(speaker.shutdown(Shutdown::Keep));
                println!("ok");
                return Ok(());
            }
            ["cease", text @ ..] => {
                runtime.block_on(speaker.shutdown(Shutdown::Cease(text.join(" "))));
                println!("ceased");
                return Ok(());
            }
            _ => return Err(format!("what is {line:?}?").into()),
        }
        if !matches!(words.as_slice(), ["wait", _] | ["status"]) {
            println!("ok");
        }
    }
    runtime.block_on(speaker.shutdown(Shutdown::Keep));
    Ok(())
}

/// Waits up to 20 s for a state of the peer; says `ok` or what it is instead.
async fn wait(speaker: &Speaker, wanted: &Wanted, what: &str) -> String {
    let reached = |peer: &PeerStatus| match what {
        "established" => peer.state == PeerState::Established,
        "rib" => peer.end_of_rib_sent && peer.advertised.keys().eq(wanted.routes.keys()),
        _ => peer.state == PeerState::Idle,
    };
    let mut status = speaker.status();
    let seen = status.wait_for(|status| status.peers.get(PEER).is_some_and(reached));
    match tokio::time::timeout(Duration::from_secs(20), seen).await {
        Ok(Ok(_)) => "ok".to_owned(),
        _ => format!("timeout: {:?}", speaker.status().borrow().peers.get(PEER)),
    }
}

fn peer_config(
    address: IpAddr,
    remote_asn: u32,
    options: &BTreeMap<&str, &str>,
) -> Result<PeerConfig, Error> {
    let hold = seconds(options, "hold", 9)?;
    Ok(PeerConfig {
        address,
        port: options.get("port").map_or(Ok(179), |port| port.parse())?,
        remote_asn,
        local_address: options.get("local").map(|address| address.parse()).transpose()?,
        ipv4_unicast: true,
        ipv6_unicast: true,
        next_hop_v4: options.get("nh4").map(|address| address.parse()).transpose()?,
        next_hop_v6: options.get("nh6").map(|address| address.parse()).transpose()?,
        timers: Timers { hold, keepalive: hold / 3, ..Timers::default() },
        passive: options.contains_key("passive"),
        multihop: options.get("multihop").map(|hops| hops.parse()).transpose()?,
        ttl_security: options.contains_key("ttl_security"),
        md5_key: options.get("md5").map(|key| key.as_bytes().to_vec()),
        enabled: true,
    })
}

fn attributes_of(words: &[&str]) -> Result<RouteAttributes, Error> {
    let mut attributes = RouteAttributes::default();
    for (key, value) in words.iter().filter_map(|word| word.split_once('=')) {
        let numbers = value.split(':').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        match (key, numbers.as_slice()) {
            ("med", [med]) => attributes.med = Some(*med),
            ("prepend", [count]) => attributes.prepend = u8::try_from(*count)?,
            ("local_pref", [preference]) => attributes.local_pref = Some(*preference),
            ("community", [asn, value]) => {
                attributes.communities.insert(Community(asn << 16 | value));
            }
            ("large", [a, b, c]) => {
                attributes.large_communities.insert(LargeCommunity(*a, *b, *c));
            }
            _ => return Err(format!("what is {key}={value}?").into()),
        }
    }
    Ok(attributes)
}

fn seconds(options: &BTreeMap<&str, &str>, key: &str, default: u64) -> Result<Duration, Error> {
    Ok(Duration::from_secs(options.get(key).map_or(Ok(default), |value| value.parse())?))
}
