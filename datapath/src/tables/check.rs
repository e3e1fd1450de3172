//! What is wrong with a wanted set, found before anything is laid out.

use datapath_common::abi::Slot;

use super::{Limits, POOL_NAME_MAX};
use crate::ring::MAX_RING_BITS;
use crate::{BackendId, Forwarding, PoolName, ServiceId, Wanted};

/// Why a wanted set cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("{what}: {needed} needed, the maps hold {limit}")]
    Capacity { what: &'static str, needed: usize, limit: u32 },
    #[error("{what}: no contiguous room for {needed} of {limit}")]
    Room { what: &'static str, needed: u32, limit: u32 },
    #[error("service {service:?} belongs to no wanted VIP")]
    NoVip { service: ServiceId },
    #[error("service {service:?} names pool {pool:?}, which is not wanted")]
    NoPool { service: ServiceId, pool: PoolName },
    #[error("pool {pool:?}: a ring of 2^{bits} slots, 2^1 to 2^{MAX_RING_BITS} are possible")]
    RingBits { pool: PoolName, bits: u8 },
    #[error("pool name of {len} bytes, {POOL_NAME_MAX} are possible")]
    PoolNameLength { len: usize },
    #[error("backend {backend:?} of pool {pool:?}: tunnel source and destination are of different families")]
    MixedFamilies { pool: PoolName, backend: BackendId },
}

/// Whether the set is consistent and its parts are within the limits; room is found out when it is laid out.
pub(super) fn check(wanted: &Wanted, limits: &Limits) -> Result<(), PlanError> {
    let backends = wanted.pools.values().map(|pool| pool.backends.len()).sum();
    for (what, needed, limit) in [
        ("VIPs", wanted.vips.len(), limits.vips),
        ("services", wanted.services.len(), limits.services),
        ("pools", wanted.pools.len(), limits.services),
        ("backends", backends, limits.backends),
    ] {
        if needed > limit as usize {
            return Err(PlanError::Capacity { what, needed, limit });
        }
    }
    for (pool, spec) in &wanted.pools {
        if !(1..=MAX_RING_BITS).contains(&spec.ring_bits) {
            return Err(PlanError::RingBits { pool: pool.clone(), bits: spec.ring_bits });
        }
        if pool.0.len() > POOL_NAME_MAX {
            return Err(PlanError::PoolNameLength { len: pool.0.len() });
        }
        if spec.backends.len() > usize::from(Slot::MAX_INDEX) {
            let limit = Slot::MAX_INDEX.into();
            return Err(PlanError::Capacity {
                what: "backends of a pool",
                needed: spec.backends.len(),
                limit,
            });
        }
        for (backend, spec) in &spec.backends {
            if let Some(Forwarding::IpIp { source, destination }) = spec.egress.as_ref().map(|e| e.forwarding)
                && source.is_ipv4() != destination.is_ipv4()
            {
                return Err(PlanError::MixedFamilies { pool: pool.clone(), backend: *backend });
            }
        }
    }
    for (id, service) in &wanted.services {
        if !wanted.vips.contains_key(&id.vip) {
            return Err(PlanError::NoVip { service: *id });
        }
        if !wanted.pools.contains_key(&service.pool) {
            return Err(PlanError::NoPool { service: *id, pool: service.pool.clone() });
        }
    }
    Ok(())
}
