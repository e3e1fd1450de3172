//! The maps as plain values, and the way from what is in them to what is wanted (pure).
//!
//! [`Contents`] is everything the maps say, indices included, so that nothing has to be remembered elsewhere: a daemon
//! that starts again reads it back and goes on with the same indices and counters. [`plan`](plan()) turns it and the
//! wanted set into an ordered list of [`Write`]s, during none of which a packet can meet a half-written entry.

mod area;
mod check;
mod plan;
mod record;
mod view;

use std::collections::BTreeMap;
use std::net::IpAddr;

use datapath_common::abi::{self, Slot};

use crate::{BackendId, PoolName, ServiceId};

pub use check::PlanError;
pub use plan::{Want, plan};
pub use view::{View, view};

/// Sizes of the maps: part of the ABI of the pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub vips: u32,
    /// Of services, and as many of pools.
    pub services: u32,
    /// Records; a pool takes a power of two of them.
    pub backends: u32,
    pub ring_slots: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { vips: 10_000, services: 20_000, backends: 65_535, ring_slots: 1 << 20 }
    }
}

/// Entries of the egress map: interfaces that packets leave by.
pub const EGRESS_SLOTS: u32 = 256;

/// Longest pool name that a record holds, bytes.
pub const POOL_NAME_MAX: usize = 244;

/// Where a pool's ring and records lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlace {
    pub name: PoolName,
    pub ring_base: u32,
    pub ring_bits: u8,
    pub backend_base: u32,
    /// The block has `1 << block_bits` records.
    pub block_bits: u8,
}

impl PoolPlace {
    pub fn ring_slots(&self) -> u32 {
        1 << self.ring_bits
    }

    /// Indices of the records of the block.
    pub fn block(&self) -> std::ops::Range<u32> {
        self.backend_base..self.backend_base.saturating_add(1 << self.block_bits)
    }
}

/// Everything that the maps say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub config: abi::Config,
    pub services: BTreeMap<ServiceId, abi::Service>,
    pub vips: BTreeMap<IpAddr, abi::Vip>,
    /// By pool id, which means nothing else.
    pub pools: BTreeMap<u32, PoolPlace>,
    /// Ring words of each pool, by pool id.
    pub rings: BTreeMap<u32, Vec<Slot>>,
    /// Whose a backend record is, by backend index.
    pub identities: BTreeMap<u32, BackendId>,
    /// Records in use, by backend index.
    pub backends: BTreeMap<u32, abi::Backend>,
    /// Interface index of each egress slot in use.
    pub egress: BTreeMap<u32, u32>,
}

/// One change of one map entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Config(abi::Config),
    PutPool(u32, PoolPlace),
    RemovePool(u32),
    PutIdentity(u32, BackendId),
    RemoveIdentity(u32),
    /// Egress slot, interface index.
    PutEgress(u32, u32),
    RemoveEgress(u32),
    /// `fresh`: the index belonged to nobody, its generation goes up.
    PutBackend {
        index: u32,
        record: abi::Backend,
        fresh: bool,
    },
    ClearBackend(u32),
    /// Ring words of a pool, one by one: offset in the ring, word.
    PutSlots {
        pool: u32,
        base: u32,
        words: Vec<(u32, Slot)>,
    },
    PutService(ServiceId, abi::Service),
    RemoveService(ServiceId),
    PutVip(IpAddr, abi::Vip),
    RemoveVip(IpAddr),
    ZeroServiceStats(u32),
    ZeroBackendStats(u32),
    ZeroVipStats(u32),
    /// Wait until no packet is under way that saw anything older: what follows takes away what such a packet may use.
    Grace,
}

#[cfg(test)]
mod tests;
