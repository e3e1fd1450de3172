//! The status of each resource, from the engine's view and the datapath's counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::Resource;
use datapath::{BackendId, PoolName, Ring, Stats};
use health::Verdict;
use model::Name;
use proto::v1;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Identity, timestamp};
use crate::conditions::advertised_to;
use crate::engine::{Dated, View};
use crate::mechanism::{self, Datapath};
use crate::plan::{PoolPlan, pool_name};

/// Counters are read from the maps at most this often, however many ask.
const FRESH: Duration = Duration::from_millis(200);

/// The datapath's counters, read on demand.
#[derive(Debug, Default)]
pub(super) struct Counters {
    last: Mutex<Option<(Instant, Arc<Stats>)>>,
}

impl Counters {
    /// Zeros when the datapath cannot be asked: the node's conditions say why.
    pub(super) async fn get(&self, datapath: &dyn Datapath) -> Arc<Stats> {
        let mut last = self.last.lock().await;
        if let Some((at, stats)) = &*last
            && at.elapsed() < FRESH
        {
            return stats.clone();
        }
        let asked = tokio::time::timeout(Duration::from_secs(2), mechanism::stats(datapath)).await;
        let stats = Arc::new(asked.ok().and_then(Result::ok).unwrap_or_default());
        *last = Some((Instant::now(), stats.clone()));
        stats
    }
}

pub(super) fn conditions(dated: &[Dated]) -> Vec<v1::Condition> {
    let proto = |dated: &Dated| v1::Condition {
        r#type: dated.finding.kind.to_owned(),
        status: match dated.finding.status {
            Some(true) => v1::condition::Status::True,
            Some(false) => v1::condition::Status::False,
            None => v1::condition::Status::Unknown,
        }
        .into(),
        reason: dated.finding.reason.to_owned(),
        message: dated.finding.message.clone(),
        last_transition_at: Some(timestamp(dated.since)),
    };
    dated.iter().map(proto).collect()
}

/// `resource` with its present status. One that the engine has not seen yet has no conditions.
pub(super) fn dress(resource: Resource, view: &View, stats: &Stats, identity: &Identity) -> Resource {
    let kind = resource.kind();
    let name = resource.name().to_owned();
    let dated = view.resources.get(&(kind, name.clone())).map(Vec::as_slice).unwrap_or_default();
    let conditions = match resource.meta().and_then(|meta| meta.removal_at) {
        Some(_) => Vec::new(),
        None => conditions(dated),
    };
    match resource {
        Resource::Vip(vip) => {
            Resource::Vip(v1::Vip { status: Some(vip_status(&name, view, conditions)), ..vip })
        }
        Resource::Pool(pool) => {
            let status = pool_status(&name, view, stats, identity, conditions);
            Resource::Pool(v1::Pool { status: Some(status), ..pool })
        }
        Resource::Service(service) => {
            let status = service_status(&name, view, stats, conditions);
            Resource::Service(v1::Service { status: Some(status), ..service })
        }
        Resource::Peer(peer) => {
            Resource::Peer(v1::Peer { status: Some(peer_status(&name, view, conditions)), ..peer })
        }
        Resource::EndpointRoute(route) => {
            let installed = conditions.iter().any(|c| {
                c.r#type == crate::conditions::PROGRAMMED && c.status() == v1::condition::Status::True
            });
            let status = v1::EndpointRouteStatus { conditions, installed };
            Resource::EndpointRoute(v1::EndpointRoute { status: Some(status), ..route })
        }
    }
}

fn by_name<'a, T>(map: &'a BTreeMap<Name, T>, name: &str) -> Option<(&'a Name, &'a T)> {
    map.get_key_value(&model::scalar::name(name).ok()?)
}

fn vip_status(name: &str, view: &View, conditions: Vec<v1::Condition>) -> v1::VipStatus {
    let Some((_, plan)) = by_name(&view.source.plan.vips, name) else {
        return v1::VipStatus { conditions, ..v1::VipStatus::default() };
    };
    let latency = view.source.withdraw_latencies.get(&plan.address);
    v1::VipStatus {
        conditions,
        announced: plan.announce.is_ok(),
        advertised_to: advertised_to(plan, &view.source),
        last_withdraw_latency: latency.and_then(|latency| (*latency).try_into().ok()),
    }
}

fn service_status(
    name: &str,
    view: &View,
    stats: &Stats,
    conditions: Vec<v1::Condition>,
) -> v1::ServiceStatus {
    let Some((_, plan)) = by_name(&view.source.plan.services, name) else {
        return v1::ServiceStatus { conditions, ..v1::ServiceStatus::default() };
    };
    let traffic = stats.services.get(&plan.id).copied().unwrap_or_default();
    v1::ServiceStatus {
        conditions,
        healthy: plan.healthy,
        usable_backends: plan.usable,
        packets: traffic.packets,
        bytes: traffic.bytes,
    }
}

fn pool_status(
    name: &str,
    view: &View,
    stats: &Stats,
    identity: &Identity,
    conditions: Vec<v1::Condition>,
) -> v1::PoolStatus {
    let Some((name, plan)) = by_name(&view.source.plan.pools, name) else {
        return v1::PoolStatus { conditions, ..v1::PoolStatus::default() };
    };
    let Some((way, judged)) = plan.ways.first_key_value() else {
        return v1::PoolStatus { conditions, ..v1::PoolStatus::default() };
    };
    let pool = pool_name(name, *way);
    let read_back = view.source.observed.datapath.read_back.as_deref();
    let digest = read_back.and_then(|r| r.ring_digests.get(&pool));
    let slots = slots(&pool, view, identity);
    let backends = judged.iter().map(|(address, judged)| {
        let id = BackendId(*address);
        let slots = slots.get(&id).copied().unwrap_or(0);
        let traffic = plan.ways.keys().filter_map(|way| stats.backends.get(&(pool_name(name, *way), id)));
        let (packets, bytes) = traffic.fold((0, 0), |sum, t| (sum.0 + t.packets, sum.1 + t.bytes));
        let probed = view.source.observed.health.targets.get(&crate::plan::target(name, *address));
        let failed = probed.and_then(|state| state.last_error.clone()).unwrap_or_default();
        v1::BackendStatus {
            address: address.to_string(),
            health: verdict(judged.verdict).to_owned(),
            resolution: match &judged.resolution {
                Ok(_) => "resolved".to_owned(),
                Err(why) => why.to_string(),
            },
            in_ring: read_back.and_then(|r| r.members.get(&pool)).is_some_and(|m| m.contains(&id)),
            slots,
            message: judged.usable.as_ref().err().map_or(failed, ToString::to_string),
            packets,
            bytes,
        }
    });
    v1::PoolStatus {
        conditions,
        backends: backends.collect(),
        usable: usable(plan),
        ring_slots: 1 << plan.ring_bits,
        ring_digest: digest.map(|digest| format!("{digest:016x}")).unwrap_or_default(),
    }
}

/// Backends that every way of the pool can use.
fn usable(plan: &PoolPlan) -> u32 {
    let ways = plan.ways.values().map(|way| way.values().filter(|b| b.usable.is_ok()).count());
    ways.min().and_then(|least| u32::try_from(least).ok()).unwrap_or(0)
}

/// Slots of each member: counted in this node's own ring, and only when the maps hold exactly that ring.
fn slots(pool: &PoolName, view: &View, identity: &Identity) -> BTreeMap<BackendId, u32> {
    let mut slots = BTreeMap::new();
    let wanted = view.source.plan.datapath.pools.get(pool);
    let read_back = view.source.observed.datapath.read_back.as_deref();
    let digest = read_back.and_then(|r| r.ring_digests.get(pool));
    if let (Some(spec), Some(digest), Some(seed)) = (wanted, digest, identity.seed) {
        let ring = Ring::of_pool(seed, spec);
        if ring.digest() == *digest {
            ring.slots().for_each(|member| *slots.entry(member).or_default() += 1);
        }
    }
    slots
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unknown => "unknown",
        Verdict::Up => "up",
        Verdict::Down => "down",
    }
}

fn peer_status(name: &str, view: &View, conditions: Vec<v1::Condition>) -> v1::PeerStatus {
    let Some(peer) = view.source.speaker.peers.get(name) else {
        return v1::PeerStatus { conditions, ..v1::PeerStatus::default() };
    };
    v1::PeerStatus {
        conditions,
        state: format!("{:?}", peer.state),
        since: Some(timestamp(peer.since)),
        flaps: peer.flaps,
        last_error: peer.last_error.clone().unwrap_or_default(),
        remote_router_id: peer.remote_router_id.map(|id| id.to_string()).unwrap_or_default(),
        hold_time: peer.hold_time.and_then(|hold| hold.try_into().ok()),
        capabilities: peer.capabilities.clone(),
        advertised: peer.advertised.keys().map(ToString::to_string).collect(),
        received_prefixes: peer.received_prefixes,
        messages_received: peer.messages_received,
        messages_sent: peer.messages_sent,
        end_of_rib_sent: peer.end_of_rib_sent,
    }
}
