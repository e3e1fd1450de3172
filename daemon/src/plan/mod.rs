//! What this node must do, as a pure function of what users want, what the node is and what was really observed
//! (design 1.4). Everything that decides is here: who gets a ring slot, which VIP is announced, what is withdrawn, what
//! goes on serving for a while. The mechanisms below only make it so.
//!
//! The order rule (design 1.2) needs no sequence of steps: a VIP is announced by the plan only when the *observed* state
//! already holds all that it needs, so the plan that first asks for its entries does not announce it, and the one made
//! from their read-back does. A withdraw is in the very plan that sees the reason.

mod announce;
mod backends;
mod bgp;
mod datapath;
mod routes;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use model::{Desired, Forwarding, Labels, Name};

pub use announce::Reason;
pub use backends::{BackendPlan, NotUsable, target};
pub use datapath::pool_name;
pub use routes::endpoint_route_key;

use crate::config::Config;

/// What the node is: the part of its configuration that the plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub labels: Labels,
    pub seed: Option<[u64; 2]>,
    /// Ingress interfaces, sorted.
    pub ingress: Vec<String>,
    pub allow_generic: bool,
    pub icmp_errors_per_second: u32,
    /// Table and metric of blackhole routes.
    pub table: u32,
    pub metric: u32,
}

impl From<&Config> for Facts {
    fn from(config: &Config) -> Self {
        Self {
            labels: config.node.labels.clone(),
            seed: config.seed,
            ingress: config.datapath.interfaces.clone(),
            allow_generic: config.datapath.allow_generic,
            icmp_errors_per_second: config.datapath.icmp_errors_per_second,
            table: config.routes.table,
            metric: config.routes.metric,
        }
    }
}

/// A removal that still serves: the closed document that one commit took away.
#[derive(Debug, Clone, PartialEq)]
pub struct Lingering {
    pub until: SystemTime,
    pub desired: Desired,
}

/// What users want, and what they no longer want but routers may still send us.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intent {
    pub desired: Desired,
    /// Oldest first.
    pub lingering: Vec<Lingering>,
}

/// What is really there.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub routes: Arc<routemgr::Observed>,
    pub health: Arc<health::Snapshot>,
    pub datapath: DatapathView,
    /// Addresses that the previous plan announced.
    pub announced: BTreeSet<IpAddr>,
    /// Health targets whose backend had ring slots when this process adopted the pins.
    pub adopted: BTreeSet<health::Target>,
    /// The first observation after adopting pins is not complete yet: announce nothing new, say nothing final.
    pub holding: bool,
}

/// The datapath as last seen.
#[derive(Debug, Clone, Default)]
pub struct DatapathView {
    /// Read back from the maps; `None`: never yet.
    pub read_back: Option<Arc<::datapath::ReadBack>>,
    /// The wanted set that was last attempted, whether it succeeded or not.
    pub attempted: Option<Arc<::datapath::Wanted>>,
    /// Why the datapath cannot be trusted now: not opened, not answering.
    pub fault: Option<String>,
}

/// Whole wanted sets for every mechanism, and what was decided about each resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub routes: routemgr::Wanted,
    pub datapath: ::datapath::Wanted,
    pub health: health::Wanted,
    /// `complete` is the engine's to say.
    pub bgp: bgpd::Wanted,
    pub vips: BTreeMap<Name, VipPlan>,
    pub services: BTreeMap<Name, ServicePlan>,
    pub pools: BTreeMap<Name, PoolPlan>,
    /// Addresses of the VIPs that are announced.
    pub announced: BTreeSet<IpAddr>,
    /// When the next removal ends.
    pub next_removal: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VipPlan {
    pub address: IpAddr,
    pub prefix: IpNet,
    /// `Err`: why it is not announced.
    pub announce: Result<(), Reason>,
    /// Peers of this node that get it while it is announced.
    pub peers: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    pub id: ::datapath::ServiceId,
    pub pool: ::datapath::PoolName,
    /// Usable backends that have slots in the ring as read back.
    pub usable: u32,
    pub min_healthy: u32,
    /// Its entries were read back as wanted.
    pub programmed: bool,
    pub healthy: bool,
}

/// One pool with each way to forward that its services use.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolPlan {
    pub ring_bits: u8,
    pub min_healthy: u32,
    /// Never empty; a pool without services is judged as for `ipip`.
    pub ways: BTreeMap<Forwarding, BTreeMap<IpAddr, BackendPlan>>,
    pub used: bool,
}

/// Makes the plan. Equal arguments give equal plans.
pub fn plan(intent: &Intent, facts: &Facts, observed: &Observed, now: SystemTime) -> Plan {
    let work = work::Work::new(intent, now);
    let pools = backends::judge(&work, observed);
    let specs = datapath::pools(&work, &pools);
    let services = announce::services(&work, &pools, &specs, observed);
    let peers = bgp::peers(&intent.desired, facts);
    let vips = announce::vips(&work, &services, &peers, facts, observed);
    let announced: BTreeSet<IpAddr> =
        vips.values().filter(|vip| vip.announce.is_ok()).map(|vip| vip.address).collect();
    Plan {
        routes: routes::wanted(&work, facts),
        datapath: datapath::wanted(&work, &specs, facts, &announced),
        health: backends::health_wanted(&work, observed),
        bgp: bgp::wanted(&intent.desired, &vips, &peers),
        next_removal: work.next_removal,
        pools: pools.into_iter().filter(|(name, _)| intent.desired.pools.contains_key(name)).collect(),
        services,
        vips,
        announced,
    }
}

#[cfg(test)]
mod tests;
