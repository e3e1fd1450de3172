//! May a VIP be announced? Only on what was read back; and a VIP that *is* announced is not withdrawn just because a
//! change of its entries is on its way into the maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ::datapath::{BackendId, PoolName, PoolSpec, ServiceId};
use model::{HostAddress, Labels, Name, Require, UndefinedPolicy, Vip};

use super::datapath::{pool_name, service_spec, undefined};
use super::routes::blackhole;
use super::work::{Work, WorkService, service_id};
use super::{Facts, Observed, PoolPlan, ServicePlan, VipPlan};

/// Why a VIP is not announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("no service uses this vip")]
    NoService,
    #[error("[fleet] seed is missing in this node's configuration: no service can be served")]
    NoSeed,
    #[error("the daemon restarted and is still gathering the state of routes and neighbours")]
    Restarting,
    #[error("the datapath cannot be used: {0}")]
    Datapath(String),
    #[error("XDP is not attached to {interface}: {why}")]
    Detached { interface: String, why: String },
    #[error("none of the ingress interfaces ({0}) is up with carrier")]
    NoCarrier(String),
    #[error("{what} is not in the kernel: {why}")]
    Route { what: String, why: String },
    #[error("its datapath entries are not programmed: {0}")]
    NotProgrammed(String),
    #[error("service {service} has {usable} usable backends, its pool wants {min_healthy}")]
    BelowMinHealthy { service: String, usable: u32, min_healthy: u32 },
}

impl Reason {
    /// One word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoService => "NoService",
            Self::NoSeed => "NoSeed",
            Self::Restarting => "Restarting",
            Self::Datapath(_) => "DatapathFault",
            Self::Detached { .. } => "XdpDetached",
            Self::NoCarrier(_) => "NoCarrier",
            Self::Route { .. } => "RouteMissing",
            Self::NotProgrammed(_) => "NotProgrammed",
            Self::BelowMinHealthy { .. } => "BelowMinHealthy",
        }
    }
}

/// Judges every desired service. `specs` is what the maps should hold of the pools.
pub(super) fn services(
    work: &Work<'_>,
    pools: &BTreeMap<Name, PoolPlan>,
    specs: &BTreeMap<PoolName, PoolSpec>,
    observed: &Observed,
) -> BTreeMap<Name, ServicePlan> {
    let read_back = observed.datapath.read_back.as_deref();
    let attempted = observed.datapath.attempted.as_deref();
    let rings: BTreeMap<&PoolName, Ring> =
        specs.iter().map(|(name, spec)| (name, Ring::count(name, spec, observed))).collect();
    let mut plans = BTreeMap::new();
    for (id, WorkService { name, service, .. }) in work.services.iter().filter(|(_, s)| !s.lingers) {
        let pool_name = pool_name(&service.pool, service.forwarding);
        let (Some(pool), Some(ring)) = (pools.get(&service.pool), rings.get(&pool_name)) else { continue };
        let wanted = service_spec(name, service);
        let new_entry = attempted.is_none_or(|a| a.services.get(id) != Some(&wanted));
        // While a change is on its way, a VIP that is announced keeps its place (see the top of the file).
        let carried = read_back.is_some() && observed.announced.contains(&id.vip);
        let usable = if carried && (new_entry || ring.changes) { ring.wanted } else { ring.wanted_and_there };
        let programmed = read_back.is_some_and(|r| r.services.get(id) == Some(&pool_name));
        let healthy = (programmed || carried && new_entry) && usable >= pool.min_healthy;
        let min_healthy = pool.min_healthy;
        let plan = ServicePlan { id: *id, pool: pool_name, usable, min_healthy, programmed, healthy };
        plans.insert((*name).clone(), plan);
    }
    plans
}

/// Members of one ring, counted once for all its services.
struct Ring {
    /// Backends that should have slots.
    wanted: u32,
    /// Those of them that have, as read back.
    wanted_and_there: u32,
    /// What is wanted was not attempted yet.
    changes: bool,
}

impl Ring {
    fn count(name: &PoolName, spec: &PoolSpec, observed: &Observed) -> Self {
        let datapath = &observed.datapath;
        let read_back = datapath.read_back.as_deref().and_then(|r| r.members.get(name));
        let there: BTreeSet<&BackendId> = read_back.into_iter().flatten().collect();
        let wanted: Vec<_> = spec.backends.iter().filter(|(_, b)| b.in_ring).map(|(id, _)| id).collect();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            wanted: count(wanted.len()),
            wanted_and_there: count(wanted.iter().filter(|id| there.contains(**id)).count()),
            changes: datapath.attempted.as_deref().is_none_or(|a| a.pools.get(name) != Some(spec)),
        }
    }
}

pub(super) fn vips(
    work: &Work<'_>,
    services: &BTreeMap<Name, ServicePlan>,
    peers: &BTreeMap<&Name, &Labels>,
    facts: &Facts,
    observed: &Observed,
) -> BTreeMap<Name, VipPlan> {
    let mut of_vip: BTreeMap<_, Vec<(&Name, &ServicePlan)>> = BTreeMap::new();
    for (name, service) in services {
        of_vip.entry(service.id.vip).or_default().push((name, service));
    }
    let node = node(facts, observed);
    let mut plans = BTreeMap::new();
    for (address, work) in &work.vips {
        let Some(name) = work.name else { continue };
        let services = of_vip.get(address).map(Vec::as_slice).unwrap_or_default();
        let announce = node
            .clone()
            .and_then(|()| kernel(work.vip, facts, observed))
            .and_then(|()| entry(work.vip, observed))
            .and_then(|()| enough(work.vip, services));
        let selected = &work.vip.announce.peer_selector;
        let peers = peers.iter().filter(|(_, labels)| matches(selected, labels));
        let plan = VipPlan {
            address: *address,
            prefix: work.vip.prefix,
            announce,
            peers: peers.map(|(name, _)| name.as_str().to_owned()).collect(),
        };
        plans.insert(name.clone(), plan);
    }
    plans
}

/// Every pair of the selector is among the labels.
pub(super) fn matches(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// What holds for all VIPs of this node.
fn node(facts: &Facts, observed: &Observed) -> Result<(), Reason> {
    if facts.seed.is_none() {
        return Err(Reason::NoSeed);
    }
    if let Some(fault) = &observed.datapath.fault {
        return Err(Reason::Datapath(fault.clone()));
    }
    if observed.holding {
        return Err(Reason::Restarting);
    }
    let Some(read_back) = &observed.datapath.read_back else {
        return Err(Reason::NotProgrammed("they were not written yet".into()));
    };
    let up = |interface: &&String| observed.routes.interfaces.get(*interface).is_some_and(|(_, up)| *up);
    let mut any = false;
    for interface in facts.ingress.iter().filter(up) {
        any = true;
        if !read_back.attached.contains_key(interface) {
            let why = read_back.not_attached.get(interface).cloned();
            let why = why.unwrap_or_else(|| "it is about to be".into());
            return Err(Reason::Detached { interface: interface.clone(), why });
        }
    }
    if any { Ok(()) } else { Err(Reason::NoCarrier(facts.ingress.join(", "))) }
}

/// The blackhole route, or the address on `lo`.
fn kernel(vip: &Vip, facts: &Facts, observed: &Observed) -> Result<(), Reason> {
    let conflict = || {
        let conflicts = observed.routes.conflicts.iter().map(ToString::to_string);
        let mine: Vec<_> = conflicts.filter(|text| text.contains(&vip.address.to_string())).collect();
        if mine.is_empty() { "it was not read back yet".to_owned() } else { mine.join("; ") }
    };
    match vip.host_address {
        HostAddress::Loopback if !observed.routes.host_addresses.contains(&vip.address) => {
            Err(Reason::Route { what: format!("address {} on lo", vip.address), why: conflict() })
        }
        HostAddress::None if !observed.routes.routes_installed.contains(&blackhole(vip.address, facts)) => {
            Err(Reason::Route { what: format!("the blackhole route for {}", vip.address), why: conflict() })
        }
        _ => Ok(()),
    }
}

/// The VIP's own entry. Echo is left out: it follows from being announced.
fn entry(vip: &Vip, observed: &Observed) -> Result<(), Reason> {
    let wanted = undefined(vip.undefined);
    let read_back = observed.datapath.read_back.as_deref().and_then(|r| r.vips.get(&vip.address));
    if read_back.is_some_and(|spec| spec.undefined == wanted) {
        return Ok(());
    }
    let attempted = observed.datapath.attempted.as_deref().and_then(|a| a.vips.get(&vip.address));
    let on_its_way = attempted.is_none_or(|spec| spec.undefined != wanted);
    if read_back.is_some() && on_its_way && observed.announced.contains(&vip.address) {
        return Ok(());
    }
    let policy = match vip.undefined {
        UndefinedPolicy::Drop => "drop",
        UndefinedPolicy::Pass => "pass",
    };
    Err(Reason::NotProgrammed(format!("its entry with policy {policy} was not read back")))
}

fn enough(vip: &Vip, services: &[(&Name, &ServicePlan)]) -> Result<(), Reason> {
    if services.is_empty() {
        return Err(Reason::NoService);
    }
    let sick: Vec<_> = services.iter().filter(|(_, s)| !s.healthy).collect();
    let good = match vip.announce.require {
        Require::Any => sick.len() < services.len(),
        Require::All => sick.is_empty(),
    };
    match sick.first() {
        Some((name, s)) if !good && s.usable >= s.min_healthy => {
            Err(Reason::NotProgrammed(format!("service {} was not read back", name.as_str())))
        }
        Some((name, s)) if !good => Err(Reason::BelowMinHealthy {
            service: name.as_str().to_owned(),
            usable: s.usable,
            min_healthy: s.min_healthy,
        }),
        _ => Ok(()),
    }
}

/// Services that linger serve only while their VIP is not announced: then its removal caused the withdraw, or there is
/// nobody left to ask for it.
pub(super) fn still_serves(id: &ServiceId, service: &WorkService<'_>, announced: &BTreeSet<IpAddr>) -> bool {
    debug_assert_eq!(service_id(id.vip, service.service), *id);
    !service.lingers || !announced.contains(&id.vip)
}
