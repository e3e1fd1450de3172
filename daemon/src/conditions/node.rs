//! The node as a whole.

use bgpd::PeerState;

use super::Finding;
use crate::engine::ViewSource;
use crate::plan::Facts;
use crate::store::Condition;

pub const READY: &str = "Ready";

/// Ready, StoreHealthy, DatapathAttached, RoutesProgrammed, Bgp.
pub fn of_node(source: &ViewSource, facts: &Facts) -> Vec<Finding> {
    let parts = [store(source), datapath(source, facts), routes(source), bgp(source)];
    let mut all = vec![ready(source, facts, &parts)];
    all.extend(parts);
    all
}

/// A store that runs from its copy serves: it is a fault to cure, not a reason to send traffic elsewhere. Nor is a route
/// that is about to be installed: the VIP that needs it says so.
fn ready(source: &ViewSource, facts: &Facts, parts: &[Finding]) -> Finding {
    let faulty = |f: &&Finding| f.status != Some(true) && !matches!(f.reason, "LastGood" | "Missing");
    if facts.seed.is_none() && !source.plan.services.is_empty() {
        let message = "[fleet] seed is missing in this node's configuration: services cannot be served";
        return Finding::new(READY, false, "NoSeed", message);
    }
    if let Some(fault) = parts.iter().find(faulty) {
        return Finding::new(READY, false, fault.reason, fault.message.clone());
    }
    if source.observed.holding {
        return Finding::new(READY, false, "Restarting", "gathering the state of routes and neighbours");
    }
    if source.failed {
        let message = "the datapath does not hold all that is wanted; it is tried again";
        return Finding::new(READY, false, "NotProgrammed", message);
    }
    Finding::new(READY, true, "Serving", "")
}

fn store(source: &ViewSource) -> Finding {
    let kind = "StoreHealthy";
    match &source.store {
        Condition::Healthy => Finding::new(kind, true, "Healthy", ""),
        Condition::LastGood { why, remedy } => Finding::new(
            kind,
            false,
            "LastGood",
            format!("{why}; running from the copy, writes are refused: {remedy}"),
        ),
        Condition::Unreadable { why, remedy } => {
            Finding::new(kind, false, "Unreadable", format!("{why}: {remedy}"))
        }
    }
}

fn datapath(source: &ViewSource, facts: &Facts) -> Finding {
    let kind = "DatapathAttached";
    if matches!(source.store, Condition::Unreadable { .. }) {
        return Finding::unknown(kind, "Untouched", "left as it is: the desired state is not known");
    }
    let seen = &source.observed.datapath;
    if let Some(fault) = &seen.fault {
        return Finding::new(kind, false, "DatapathFault", fault);
    }
    let Some(read_back) = &seen.read_back else {
        return Finding::new(kind, false, "NotProgrammed", "nothing was read back yet");
    };
    let missing = facts.ingress.iter().filter(|name| !read_back.attached.contains_key(*name));
    let missing: Vec<_> = missing
        .map(|name| match read_back.not_attached.get(name) {
            Some(why) => format!("XDP is not attached to {name}: {why}"),
            None => format!("XDP is not attached to {name} yet"),
        })
        .collect();
    if missing.is_empty() {
        Finding::new(kind, true, "Attached", format!("XDP is attached to {}", facts.ingress.join(", ")))
    } else {
        Finding::new(kind, false, "XdpDetached", missing.join("; "))
    }
}

fn routes(source: &ViewSource) -> Finding {
    let kind = "RoutesProgrammed";
    if matches!(source.store, Condition::Unreadable { .. }) {
        return Finding::unknown(kind, "Untouched", "left as they are: the desired state is not known");
    }
    if let Some(fault) = &source.routes_fault {
        return Finding::new(kind, false, "RouteManagerFault", fault);
    }
    let observed = &source.observed.routes;
    if !observed.conflicts.is_empty() {
        let list: Vec<_> = observed.conflicts.iter().map(ToString::to_string).collect();
        return Finding::new(kind, false, "Conflict", list.join("; "));
    }
    let wanted = &source.plan.routes;
    let missing = wanted.routes.keys().filter(|key| !observed.routes_installed.contains(key)).count()
        + wanted.host_addresses.difference(&observed.host_addresses).count();
    if missing == 0 {
        Finding::new(kind, true, "ReadBack", format!("{} routes are in the kernel", wanted.routes.len()))
    } else {
        Finding::new(kind, false, "Missing", format!("{missing} routes or addresses were not read back yet"))
    }
}

fn bgp(source: &ViewSource) -> Finding {
    let kind = "Bgp";
    if matches!(source.store, Condition::Unreadable { .. }) {
        return Finding::unknown(kind, "Untouched", "not dialling: the desired state is not known");
    }
    if let Some(fault) = &source.bgp_fault {
        return Finding::new(kind, false, "SpeakerFault", fault);
    }
    let enabled: Vec<_> =
        source.plan.bgp.peers.iter().filter(|(_, p)| p.enabled).map(|(name, _)| name).collect();
    if enabled.is_empty() {
        return Finding::new(kind, true, "NoPeers", "this node has no peers");
    }
    let up = |name: &&&String| {
        source.speaker.peers.get(**name).is_some_and(|peer| peer.state == PeerState::Established)
    };
    let established = enabled.iter().filter(up).count();
    let message = format!("{established} of {} sessions are established", enabled.len());
    Finding::new(
        kind,
        established > 0,
        if established > 0 { "Established" } else { "NotEstablished" },
        message,
    )
}
