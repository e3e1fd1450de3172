//! The datapath's wanted set. Pools are interned for each (pool, forwarding) so that services share rings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ::datapath::{
    Backend, BackendId, Egress, Ingress, PoolName, PoolSpec, ServiceSpec, Undefined, VipSpec, Wanted,
};
use model::{EchoPolicy, Forwarding, Hashing, Name, Pool, Service, UndefinedPolicy};

use super::announce::still_serves;
use super::work::Work;
use super::{BackendPlan, Facts, PoolPlan};

/// The datapath's name for a pool that is reached in one way. `/` cannot be in a user's name.
pub fn pool_name(pool: &Name, way: Forwarding) -> PoolName {
    let way = match way {
        Forwarding::L2 => "l2",
        Forwarding::IpIp => "ipip",
    };
    PoolName(format!("{}/{way}", pool.as_str()))
}

pub(super) fn service_spec(name: &Name, service: &Service) -> ServiceSpec {
    ServiceSpec {
        name: name.as_str().to_owned(),
        pool: pool_name(&service.pool, service.forwarding),
        hash_source: service.hashing == Hashing::SourceIp,
    }
}

pub(super) fn undefined(policy: UndefinedPolicy) -> Undefined {
    match policy {
        UndefinedPolicy::Drop => Undefined::Drop,
        UndefinedPolicy::Pass => Undefined::Pass,
    }
}

/// Every pool in every way that a service uses it.
pub(super) fn pools(work: &Work<'_>, judged: &BTreeMap<Name, PoolPlan>) -> BTreeMap<PoolName, PoolSpec> {
    let mut specs = BTreeMap::new();
    for service in work.services.values() {
        let (name, way) = (&service.service.pool, service.service.forwarding);
        if let (Some(pool), Some(plan)) = (work.pools.get(name), judged.get(name)) {
            specs.entry(pool_name(name, way)).or_insert_with(|| pool_spec(pool, plan, way));
        }
    }
    specs
}

pub(super) fn wanted(
    work: &Work<'_>,
    pools: &BTreeMap<PoolName, PoolSpec>,
    facts: &Facts,
    announced: &BTreeSet<IpAddr>,
) -> Wanted {
    let ingress = Ingress { allow_generic: facts.allow_generic };
    let mut wanted = Wanted {
        icmp_errors_per_second: facts.icmp_errors_per_second,
        ingress: facts.ingress.iter().map(|name| (name.clone(), ingress.clone())).collect(),
        vips: work
            .vips
            .iter()
            .map(|(address, v)| (*address, vip(v.vip, announced.contains(address))))
            .collect(),
        ..Wanted::default()
    };
    let Some(seed) = facts.seed else { return wanted };
    wanted.seed = seed;
    for (id, service) in work.services.iter().filter(|(id, s)| still_serves(id, s, announced)) {
        let spec = service_spec(service.name, service.service);
        let Some(pool) = pools.get(&spec.pool) else { continue };
        wanted.pools.entry(spec.pool.clone()).or_insert_with(|| pool.clone());
        wanted.services.insert(*id, spec);
    }
    wanted
}

fn vip(vip: &model::Vip, announced: bool) -> VipSpec {
    let echo = match vip.echo {
        EchoPolicy::Healthy => announced,
        EchoPolicy::Always => true,
        EchoPolicy::Off => false,
    };
    VipSpec { undefined: undefined(vip.undefined), echo }
}

fn pool_spec(pool: &Pool, plan: &PoolPlan, way: Forwarding) -> PoolSpec {
    let judged = plan.ways.get(&way).into_iter().flatten();
    let backends = judged.filter_map(|(address, judged)| {
        let said = pool.backends.get(address)?;
        let backend = Backend {
            weight: said.weight,
            in_ring: judged.usable.is_ok(),
            egress: egress(*address, judged, said.tunnel_mtu, way),
        };
        Some((BackendId(*address), backend))
    });
    PoolSpec { ring_bits: plan.ring_bits, backends: backends.collect() }
}

fn egress(address: IpAddr, judged: &BackendPlan, tunnel_mtu: Option<u16>, way: Forwarding) -> Option<Egress> {
    let to = judged.resolution.as_ref().ok()?;
    let forwarding = match way {
        Forwarding::L2 if !to.on_link => return None,
        Forwarding::L2 => ::datapath::Forwarding::L2,
        Forwarding::IpIp => ::datapath::Forwarding::IpIp { source: to.source, destination: address },
    };
    let mtu = u16::try_from(to.mtu).unwrap_or(u16::MAX);
    Some(Egress {
        forwarding,
        ifindex: to.ifindex,
        src_mac: to.src_mac,
        dst_mac: to.dst_mac,
        mtu: tunnel_mtu.map_or(mtu, |limit| limit.min(mtu)),
    })
}
