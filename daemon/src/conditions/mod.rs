//! What is said of each resource and of the node: Accepted, Programmed, Advertised, Degraded, each with one word for
//! programs and one sentence for people that names what, where and the remedy. Pure; nothing is remembered here.
//!
//! *Advertised* is proven from the adj-RIB-out, *Programmed* from what was read back.

mod node;

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::Kind;
use bgpd::PeerState;
use model::Name;

pub use node::{READY, of_node};

use crate::engine::ViewSource;
use crate::plan::{Facts, NotUsable, PoolPlan, Reason, ServicePlan, VipPlan, endpoint_route_key};
use crate::resource::Key;

pub const ACCEPTED: &str = "Accepted";
pub const PROGRAMMED: &str = "Programmed";
pub const ADVERTISED: &str = "Advertised";
pub const DEGRADED: &str = "Degraded";

/// One condition, not yet dated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: &'static str,
    /// `None`: unknown.
    pub status: Option<bool>,
    pub reason: &'static str,
    pub message: String,
}

impl Finding {
    fn new(kind: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(status), reason, message: message.into() }
    }

    fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: None, reason, message: message.into() }
    }
}

/// Conditions of every stored resource.
pub fn of_resources(source: &ViewSource, facts: &Facts) -> BTreeMap<Key, Vec<Finding>> {
    let plan = &source.plan;
    let mut all = BTreeMap::new();
    let mut put = |kind, name: &Name, mut findings: Vec<Finding>| {
        findings.insert(0, Finding::new(ACCEPTED, true, "Accepted", ""));
        all.insert((kind, name.as_str().to_owned()), findings);
    };
    let sick = sick_services(source);
    for (name, vip) in &plan.vips {
        let sick = sick.get(&vip.address).map(Vec::as_slice).unwrap_or_default();
        put(Kind::Vip, name, of_vip(vip, sick, source));
    }
    for (name, pool) in &plan.pools {
        put(Kind::Pool, name, of_pool(name, pool, source));
    }
    for (name, service) in &plan.services {
        put(Kind::Service, name, of_service(service, source));
    }
    for name in source.intent.desired.peers.keys().map(Name::as_str) {
        all.insert((Kind::Peer, name.to_owned()), of_peer(name, source));
    }
    for name in source.intent.desired.routes.keys() {
        all.insert((Kind::EndpointRoute, name.as_str().to_owned()), of_route(name, source, facts));
    }
    all
}

/// Peers of this node that were sent the prefix and not its withdraw.
pub fn advertised_to(vip: &VipPlan, source: &ViewSource) -> Vec<String> {
    let has = |name: &&String| {
        source.speaker.peers.get(*name).is_some_and(|peer| peer.advertised.contains_key(&vip.prefix))
    };
    vip.peers.iter().filter(has).cloned().collect()
}

fn of_vip(vip: &VipPlan, sick: &[&str], source: &ViewSource) -> Vec<Finding> {
    let to = advertised_to(vip, source);
    let programmed = match &vip.announce {
        Err(reason @ Reason::Restarting) => Finding::unknown(PROGRAMMED, reason.word(), reason.to_string()),
        Err(reason) if !matches!(reason, Reason::NoService | Reason::BelowMinHealthy { .. }) => {
            Finding::new(PROGRAMMED, false, reason.word(), reason.to_string())
        }
        _ => Finding::new(PROGRAMMED, true, "ReadBack", "its entries are in the kernel"),
    };
    let advertised = match &vip.announce {
        Err(reason) => Finding::new(ADVERTISED, false, reason.word(), format!("not announced: {reason}")),
        Ok(()) if vip.peers.is_empty() => Finding::new(
            ADVERTISED,
            false,
            "NoPeer",
            "no peer of this node is selected: add a peer, or change the vip's peer_selector",
        ),
        Ok(()) if to.is_empty() => Finding::new(ADVERTISED, false, "NotSent", not_sent(vip, source)),
        Ok(()) => {
            Finding::new(ADVERTISED, true, "Sent", format!("{} was sent to {}", vip.prefix, to.join(", ")))
        }
    };
    let missing: Vec<_> = vip.peers.iter().filter(|peer| !to.contains(peer)).map(String::as_str).collect();
    let degraded = if vip.announce.is_err() {
        Finding::new(DEGRADED, true, "NotAnnounced", advertised.message.clone())
    } else if !missing.is_empty() {
        let message = format!("{} was not sent to {}", vip.prefix, missing.join(", "));
        Finding::new(DEGRADED, true, "PeerMissing", message)
    } else if !sick.is_empty() {
        Finding::new(DEGRADED, true, "ServiceUnhealthy", format!("not healthy: {}", sick.join(", ")))
    } else {
        Finding::new(DEGRADED, false, "AsWanted", "")
    };
    vec![programmed, advertised, degraded]
}

fn not_sent(vip: &VipPlan, source: &ViewSource) -> String {
    let states = vip.peers.iter().map(|name| match source.speaker.peers.get(name) {
        Some(peer) if peer.state == PeerState::Established => {
            format!(
                "{name} is Established but has not been sent {} (families or next hop missing?)",
                vip.prefix
            )
        }
        Some(peer) => {
            let error = peer.last_error.as_deref().map(|e| format!(": {e}")).unwrap_or_default();
            format!("{name} is {:?}{error}", peer.state)
        }
        None => format!("{name} is not started"),
    });
    format!("no session carries {}: {}", vip.prefix, states.collect::<Vec<_>>().join("; "))
}

/// Names of the unhealthy services of each VIP.
fn sick_services(source: &ViewSource) -> BTreeMap<IpAddr, Vec<&str>> {
    let mut sick: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, service) in source.plan.services.iter().filter(|(_, service)| !service.healthy) {
        sick.entry(service.id.vip).or_default().push(name.as_str());
    }
    sick
}

fn of_service(service: &ServicePlan, source: &ViewSource) -> Vec<Finding> {
    let programmed = match (&source.observed.datapath.fault, service.programmed) {
        (Some(fault), _) => Finding::new(PROGRAMMED, false, "DatapathFault", fault),
        (None, true) => Finding::new(PROGRAMMED, true, "ReadBack", "entry, ring and records are in the maps"),
        (None, false) => {
            Finding::new(PROGRAMMED, false, "NotProgrammed", "its entry was not read back as wanted")
        }
    };
    let degraded = if service.healthy {
        Finding::new(DEGRADED, false, "AsWanted", "")
    } else {
        let message =
            format!("{} usable backends, the pool wants at least {}", service.usable, service.min_healthy);
        Finding::new(DEGRADED, true, "BelowMinHealthy", message)
    };
    vec![programmed, degraded]
}

fn of_pool(name: &Name, pool: &PoolPlan, source: &ViewSource) -> Vec<Finding> {
    let mut out: BTreeMap<IpAddr, &NotUsable> = BTreeMap::new();
    for way in pool.ways.values() {
        out.extend(way.iter().filter_map(|(address, b)| b.usable.as_ref().err().map(|why| (*address, why))));
    }
    let read_back = source.observed.datapath.read_back.as_deref();
    let missing = pool.ways.keys().map(|way| crate::plan::pool_name(name, *way)).find(|pool| {
        !read_back.is_some_and(|r| r.members.contains_key(pool) || r.ring_digests.contains_key(pool))
    });
    let programmed = match (pool.used, missing) {
        (false, _) => Finding::unknown(PROGRAMMED, "Unused", "no service uses this pool"),
        (true, None) => Finding::new(PROGRAMMED, true, "ReadBack", "its rings are in the maps"),
        (true, Some(way)) => {
            Finding::new(PROGRAMMED, false, "NotProgrammed", format!("ring {} was not read back", way.0))
        }
    };
    let meant = |why: &&NotUsable| matches!(why, NotUsable::Disabled | NotUsable::Draining);
    let faults: Vec<_> = out.iter().filter(|(_, why)| !meant(why)).collect();
    let degraded = if faults.is_empty() {
        Finding::new(DEGRADED, false, "AsWanted", "")
    } else {
        let list: Vec<_> = faults.iter().map(|(address, why)| format!("backend {address}: {why}")).collect();
        Finding::new(DEGRADED, true, "BackendUnusable", list.join("; "))
    };
    vec![programmed, degraded]
}

fn of_peer(name: &str, source: &ViewSource) -> Vec<Finding> {
    let accepted = |reason, message: &str| Finding::new(ACCEPTED, true, reason, message);
    let Some(wanted) = source.plan.bgp.peers.get(name) else {
        return vec![accepted("OtherNode", "its node_selector does not take this node")];
    };
    let (programmed, degraded) = match source.speaker.peers.get(name) {
        _ if !wanted.enabled => (
            Finding::new(PROGRAMMED, true, "ShutDown", "shut down by the operator"),
            Finding::new(DEGRADED, false, "ShutDown", ""),
        ),
        Some(peer) if peer.state == PeerState::Established => (
            Finding::new(PROGRAMMED, true, "Established", format!("session with {} is up", peer.address)),
            Finding::new(DEGRADED, false, "AsWanted", ""),
        ),
        Some(peer) => {
            let error = peer.last_error.clone().unwrap_or_else(|| "no answer yet".into());
            let message = format!("session with {} is {:?}: {error}", peer.address, peer.state);
            (
                Finding::new(PROGRAMMED, true, "Started", "the speaker knows this peer"),
                Finding::new(DEGRADED, true, "NotEstablished", message),
            )
        }
        None => {
            let why =
                source.bgp_fault.clone().unwrap_or_else(|| "the speaker has not taken it up yet".into());
            (
                Finding::new(PROGRAMMED, false, "NotStarted", why.clone()),
                Finding::new(DEGRADED, true, "NotEstablished", why),
            )
        }
    };
    vec![accepted("Accepted", ""), programmed, degraded]
}

fn of_route(name: &Name, source: &ViewSource, facts: &Facts) -> Vec<Finding> {
    let Some((key, here)) = endpoint_route_key(name, &source.intent.desired, facts) else {
        return vec![Finding::new(ACCEPTED, true, "Accepted", "")];
    };
    if !here {
        return vec![Finding::new(ACCEPTED, true, "OtherNode", "its node_selector does not take this node")];
    }
    let installed = source.observed.routes.routes_installed.contains(&key);
    let (programmed, degraded) = if installed {
        (
            Finding::new(PROGRAMMED, true, "ReadBack", format!("{} is in table {}", key.prefix, key.table)),
            Finding::new(DEGRADED, false, "AsWanted", ""),
        )
    } else {
        let message = why_not_installed(&key, source);
        (
            Finding::new(PROGRAMMED, false, "NotInstalled", message.clone()),
            Finding::new(DEGRADED, true, "NotInstalled", message),
        )
    };
    vec![Finding::new(ACCEPTED, true, "Accepted", ""), programmed, degraded]
}

fn why_not_installed(key: &routemgr::RouteKey, source: &ViewSource) -> String {
    if let Some(fault) = &source.routes_fault {
        return fault.clone();
    }
    let prefix = key.prefix.to_string();
    let mine =
        source.observed.routes.conflicts.iter().map(ToString::to_string).filter(|c| c.contains(&prefix));
    let mine: Vec<_> = mine.collect();
    if mine.is_empty() { format!("{prefix} was not read back from the kernel yet") } else { mine.join("; ") }
}
