//! Which backend may have ring slots: ready, healthy, resolved, and for `l2` on link. One missing way makes one backend
//! unusable, never a VIP by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use health::{Check, Target, Verdict};
use model::{AdminState, Forwarding, HealthCheck, Name, Pool, Probe};
use routemgr::{Resolution, ResolutionError};

use super::work::Work;
use super::{Observed, PoolPlan};

#[derive(Debug, Clone, PartialEq)]
pub struct BackendPlan {
    pub verdict: Verdict,
    pub resolution: Result<Resolution, ResolutionError>,
    /// `Err`: why it gets no slot. The first of the reasons.
    pub usable: Result<(), NotUsable>,
}

/// Why a backend is out of the ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    #[error("it is disabled")]
    Disabled,
    #[error("it is being drained")]
    Draining,
    #[error("{0}")]
    Unresolved(ResolutionError),
    #[error(
        "it is behind the gateway {gateway}: l2 forwarding needs a backend on a segment of this node, use ipip"
    )]
    NotOnLink { gateway: IpAddr },
    #[error("it was not probed often enough yet")]
    Unknown,
    #[error("health check fails: {0}")]
    Down(String),
}

/// Name of a backend's health target.
pub fn target(pool: &Name, backend: IpAddr) -> Target {
    Target(format!("{}/{backend}", pool.as_str()))
}

pub(super) fn judge(work: &Work<'_>, observed: &Observed) -> BTreeMap<Name, PoolPlan> {
    let mut ways: BTreeMap<&Name, BTreeSet<Forwarding>> = BTreeMap::new();
    for service in work.services.values() {
        ways.entry(&service.service.pool).or_default().insert(service.service.forwarding);
    }
    let judged = work.pools.iter().map(|(name, pool)| {
        let used = ways.get(name);
        let ways = used.cloned().unwrap_or_else(|| BTreeSet::from([Forwarding::IpIp]));
        let plan = PoolPlan {
            ring_bits: ::datapath::ring::ring_bits_for(pool.max_backends),
            min_healthy: pool.min_healthy,
            ways: ways.into_iter().map(|way| (way, backends(name, pool, way, observed))).collect(),
            used: used.is_some(),
        };
        ((*name).clone(), plan)
    });
    judged.collect()
}

fn backends(name: &Name, pool: &Pool, way: Forwarding, observed: &Observed) -> BTreeMap<IpAddr, BackendPlan> {
    let judged = pool.backends.iter().map(|(address, backend)| {
        let target = target(name, *address);
        let (verdict, error) = verdict(pool.health_check.as_ref(), &target, observed);
        let resolution = observed.routes.resolved.get(address).cloned();
        let resolution = resolution.unwrap_or(Err(ResolutionError::Pending));
        let usable = match (backend.admin_state, &resolution, verdict) {
            (AdminState::Disabled, ..) => Err(NotUsable::Disabled),
            (AdminState::Drain, ..) => Err(NotUsable::Draining),
            (_, Err(why), _) => Err(NotUsable::Unresolved(why.clone())),
            (_, Ok(way_to), _) if way == Forwarding::L2 && !way_to.on_link => {
                Err(NotUsable::NotOnLink { gateway: way_to.next_hop })
            }
            (_, _, Verdict::Up) => Ok(()),
            (_, _, Verdict::Unknown) => Err(NotUsable::Unknown),
            (_, _, Verdict::Down) => Err(NotUsable::Down(error)),
        };
        (*address, BackendPlan { verdict, resolution, usable })
    });
    judged.collect()
}

/// Without a check a backend is taken for healthy; before its first probe after a restart, one that had slots is.
fn verdict(check: Option<&HealthCheck>, target: &Target, observed: &Observed) -> (Verdict, String) {
    if check.is_none() {
        return (Verdict::Up, String::new());
    }
    match observed.health.targets.get(target) {
        Some(state) => (state.verdict, state.last_error.clone().unwrap_or_default()),
        None => (initial(target, observed), String::new()),
    }
}

fn initial(target: &Target, observed: &Observed) -> Verdict {
    if observed.adopted.contains(target) { Verdict::Up } else { Verdict::Unknown }
}

pub(super) fn health_wanted(work: &Work<'_>, observed: &Observed) -> health::Wanted {
    let mut wanted = health::Wanted::default();
    for (name, pool) in &work.pools {
        let Some(check) = &pool.health_check else { continue };
        let probed = pool.backends.iter().filter(|(_, b)| b.admin_state != AdminState::Disabled);
        for (address, _) in probed {
            let target = target(name, *address);
            let check = Check {
                probe: probe(*address, &check.probe),
                interval: check.interval,
                timeout: check.timeout,
                rise: check.rise,
                fall: check.fall,
                initial: initial(&target, observed),
            };
            wanted.targets.insert(target, check);
        }
    }
    wanted
}

fn probe(backend: IpAddr, probe: &Probe) -> health::Probe {
    match probe {
        Probe::Tcp { port } => health::Probe::Tcp { address: SocketAddr::new(backend, *port) },
        Probe::Http { port, path, host, expect_status, expect_body } => {
            let address = SocketAddr::new(backend, *port);
            let own_name = match backend {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("[{v6}]"),
            };
            health::Probe::Http {
                address,
                host: host.clone().unwrap_or(own_name),
                path: path.clone(),
                expect_status: expect_status.clone(),
                expect_body: expect_body.clone(),
            }
        }
    }
}
