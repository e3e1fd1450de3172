//! What tests of plan, engine and control share: documents, and a kernel that does as it is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datapath::{Mode, ReadBack, Wanted};
use health::{Snapshot, TargetState, Verdict};
use proto::v1;
use routemgr::Resolution;

use crate::plan::Facts;

pub(crate) const SEED: [u64; 2] = [1, 2];

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn facts() -> Facts {
    Facts {
        labels: BTreeMap::from([("rack".to_owned(), "a".to_owned())]),
        seed: Some(SEED),
        ingress: vec!["eth1".into()],
        allow_generic: false,
        icmp_errors_per_second: 100,
        table: 254,
        metric: 1024,
    }
}

pub(crate) fn meta(name: &str) -> Option<v1::Meta> {
    Some(v1::Meta { name: name.into(), ..v1::Meta::default() })
}

pub(crate) fn vip(name: &str, address: &str) -> v1::Vip {
    let spec = v1::VipSpec { address: address.into(), ..v1::VipSpec::default() };
    v1::Vip { meta: meta(name), spec: Some(spec), status: None }
}

/// With a TCP check.
pub(crate) fn pool(name: &str, backends: &[&str], min_healthy: u32) -> v1::Pool {
    let probe = v1::health_check::Probe::Tcp(v1::TcpProbe { port: 8080 });
    let backend = |address: &&str| v1::Backend { address: (*address).into(), ..v1::Backend::default() };
    let spec = v1::PoolSpec {
        backends: backends.iter().map(backend).collect(),
        health_check: Some(v1::HealthCheck { probe: Some(probe), ..v1::HealthCheck::default() }),
        min_healthy: Some(min_healthy),
        max_backends: 0,
    };
    v1::Pool { meta: meta(name), spec: Some(spec), status: None }
}

pub(crate) fn service(name: &str, vip: &str, port: u32, pool: &str) -> v1::Service {
    let spec = v1::ServiceSpec {
        vip: vip.into(),
        protocol: v1::Protocol::Tcp.into(),
        port,
        pool: pool.into(),
        forwarding: v1::Forwarding::Ipip.into(),
        ..v1::ServiceSpec::default()
    };
    v1::Service { meta: meta(name), spec: Some(spec), status: None }
}

pub(crate) fn peer(name: &str, address: &str) -> v1::Peer {
    let spec = v1::PeerSpec { address: address.into(), remote_asn: 65001, ..v1::PeerSpec::default() };
    v1::Peer { meta: meta(name), spec: Some(spec), status: None }
}

pub(crate) fn route(name: &str, prefix: &str, via: &str) -> v1::EndpointRoute {
    let hop = v1::NextHop { via: via.into(), ..v1::NextHop::default() };
    let spec = v1::EndpointRouteSpec {
        prefix: prefix.into(),
        next_hops: vec![hop],
        ..v1::EndpointRouteSpec::default()
    };
    v1::EndpointRoute { meta: meta(name), spec: Some(spec), status: None }
}

pub(crate) const BACKENDS: [&str; 3] = ["56.56.56.1", "57.57.57.1", "58.58.58.1"];

/// One VIP, one service, three backends, a peer and a route.
pub(crate) fn document() -> v1::Config {
    v1::Config {
        vips: vec![vip("web", "20.20.20.1")],
        pools: vec![pool("web", &BACKENDS, 1)],
        services: vec![service("web", "web", 8080, "web")],
        peers: vec![peer("r1", "11.11.11.254")],
        routes: vec![route("ep1", "56.56.56.0/24", "31.31.31.1")],
    }
}

/// Maps that hold exactly what is wanted.
pub(crate) fn mirror(wanted: &Wanted) -> ReadBack {
    let members = wanted.pools.iter().map(|(name, pool)| {
        let in_ring = pool.backends.iter().filter(|(_, b)| b.in_ring && b.egress.is_some());
        (name.clone(), in_ring.map(|(id, _)| *id).collect())
    });
    ReadBack {
        attached: wanted.ingress.keys().map(|name| (name.clone(), Mode::Native)).collect(),
        vips: wanted.vips.clone(),
        services: wanted.services.iter().map(|(id, spec)| (*id, spec.pool.clone())).collect(),
        ring_digests: wanted.pools.keys().map(|name| (name.clone(), 7)).collect(),
        members: members.collect(),
        ..ReadBack::default()
    }
}

pub(crate) fn way(on_link: bool) -> Resolution {
    Resolution {
        ifindex: 3,
        device: "eth2".into(),
        next_hop: ip("31.31.31.1"),
        source: ip("31.31.31.9"),
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
        on_link,
    }
}

/// Routes and neighbours as they should be for what is wanted.
pub(crate) fn routed(wanted: &routemgr::Wanted) -> routemgr::Observed {
    routemgr::Observed {
        routes_installed: wanted.routes.keys().copied().collect(),
        host_addresses: wanted.host_addresses.clone(),
        resolved: wanted.resolve.iter().map(|address| (*address, Ok(way(true)))).collect(),
        interfaces: BTreeMap::from([("eth1".to_owned(), (2, true))]),
        ..routemgr::Observed::default()
    }
}

pub(crate) fn state(verdict: Verdict) -> TargetState {
    let failed = verdict == Verdict::Down;
    TargetState {
        verdict,
        since: at(0),
        failing_since: failed.then(|| at(0)),
        last_failure_at: failed.then(|| at(1)),
        last_error: failed.then(|| "connection refused".to_owned()),
        probes: 3,
        failures: if failed { 3 } else { 0 },
    }
}

pub(crate) fn probed(wanted: &health::Wanted, verdict: Verdict) -> Snapshot {
    Snapshot { targets: wanted.targets.keys().map(|target| (target.clone(), state(verdict))).collect() }
}

pub(crate) fn arc<T>(value: T) -> Arc<T> {
    Arc::new(value)
}
