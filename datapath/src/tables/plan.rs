//! The difference between what the maps say and what is wanted, as writes in a safe order.
//!
//! Order: unwanted VIPs and services go first, which harms nobody and makes room. Then everything new is laid out where
//! no packet looks yet (egress, records, rings), then services and VIPs are switched to it, each by one atomic replace.
//! Last, after a grace period, what nothing refers to any more is cleared. Ring words of a pool that stays change one
//! by one, between records that are both usable.
//!
//! All limits are checked before the first write is returned: a set that does not fit changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use datapath_common::abi::{self, Slot, forward, service_flag, vip_flag};

use super::area::{Areas, Indices};
use super::check::{PlanError, check};
use super::record::record;
use super::{Contents, EGRESS_SLOTS, Limits, PoolPlace, Write};
use crate::ring::MAX_RING_BITS;
use crate::{Backend, BackendId, PoolName, PoolSpec, Protocol, Ring, ServiceId, Undefined, Wanted};

/// The wanted set and what was computed from it.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    pub wanted: &'a Wanted,
    /// [`Ring::of_pool`] of every wanted pool.
    pub rings: &'a BTreeMap<PoolName, Ring>,
    /// The interface that may send with XDP_TX, because every packet comes in on it and its driver can.
    pub bounce: Option<u32>,
}

/// What to write, in order, so that the maps say what is wanted; nothing when they do.
pub fn plan(have: &Contents, want: Want<'_>, limits: &Limits) -> Result<Vec<Write>, PlanError> {
    check(want.wanted, limits)?;
    let mut draft = Draft::new(have, want, limits);
    draft.remove_unwanted();
    draft.egress()?;
    for (name, pool) in &want.wanted.pools {
        draft.pool(name, pool)?;
    }
    let vips = draft.vips()?;
    draft.services(&vips)?;
    Ok(draft.finish())
}

/// The place in use of each pool name: after a crash in the middle of a move there may be two, then the one that more
/// services refer to.
pub(super) fn places(have: &Contents) -> BTreeMap<&PoolName, u32> {
    let mut places: BTreeMap<&PoolName, (usize, u32)> = BTreeMap::new();
    for (&id, place) in &have.pools {
        let users = have.services.values().filter(|s| refers(s, place)).count();
        let best = places.entry(&place.name).or_insert((users, id));
        if users > best.0 {
            *best = (users, id);
        }
    }
    places.into_iter().map(|(name, (_, id))| (name, id)).collect()
}

pub(super) fn refers(service: &abi::Service, place: &PoolPlace) -> bool {
    service.ring_bits == place.ring_bits
        && service.ring_base == place.ring_base
        && service.backend_base == place.backend_base
}

/// Records that differ in nothing but their generation are the same.
pub(super) fn same_record(a: &abi::Backend, b: &abi::Backend) -> bool {
    abi::Backend { generation: 0, ..*a } == abi::Backend { generation: 0, ..*b }
}

/// A plan in the making: one list of writes for each stage.
struct Draft<'a> {
    have: &'a Contents,
    want: Want<'a>,
    limits: &'a Limits,
    /// Place in use of each pool name.
    places: BTreeMap<&'a PoolName, u32>,
    ring_areas: Areas,
    backend_areas: Areas,
    pool_ids: Indices,
    /// Egress slot of each interface index.
    slots: BTreeMap<u32, u32>,
    /// Where each wanted pool will be.
    laid_out: BTreeMap<&'a PoolName, PoolPlace>,
    first: Vec<Write>,
    prepare: Vec<Write>,
    rings: Vec<Write>,
    switch: Vec<Write>,
    last: Vec<Write>,
}

impl<'a> Draft<'a> {
    fn new(have: &'a Contents, want: Want<'a>, limits: &'a Limits) -> Self {
        Self {
            have,
            want,
            limits,
            places: places(have),
            ring_areas: Areas::new(limits.ring_slots),
            backend_areas: Areas::new(limits.backends),
            pool_ids: Indices::new(u32::MAX),
            slots: BTreeMap::new(),
            laid_out: BTreeMap::new(),
            first: Vec::new(),
            prepare: Vec::new(),
            rings: Vec::new(),
            switch: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Unwanted VIPs and services, then the pools that nothing refers to without them. Pools that services still refer
    /// to are cleared at the end.
    fn remove_unwanted(&mut self) {
        let (have, wanted) = (self.have, self.want.wanted);
        let vips = have.vips.keys().filter(|vip| !wanted.vips.contains_key(*vip));
        self.first.extend(vips.map(|vip| Write::RemoveVip(*vip)));
        let services = have.services.keys().filter(|id| !wanted.services.contains_key(*id));
        self.first.extend(services.map(|id| Write::RemoveService(*id)));

        let mut cleared = Vec::new();
        let mut owned = BTreeSet::new();
        for (&id, place) in &have.pools {
            self.pool_ids.occupy(id);
            if !self.occupy(place) {
                // Not ours to clear: the area is somebody else's.
                cleared.push(Write::RemovePool(id));
                self.places.retain(|_, kept| *kept != id);
                continue;
            }
            owned.extend(have.identities.range(place.block()).map(|(index, _)| *index));
            let in_place =
                self.places.get(&place.name) == Some(&id) && wanted.pools.contains_key(&place.name);
            let mut staying = have.services.iter().filter(|(id, _)| wanted.services.contains_key(*id));
            if in_place {
                continue;
            }
            if staying.any(|(_, service)| refers(service, place)) {
                clear_pool(have, id, place, &mut self.last);
            } else {
                clear_pool(have, id, place, &mut cleared);
                self.ring_areas.release(place.ring_base);
                self.backend_areas.release(place.backend_base);
            }
        }
        for index in have.identities.keys().filter(|index| !owned.contains(*index)) {
            cleared.extend([Write::ClearBackend(*index), Write::RemoveIdentity(*index)]);
        }
        if !cleared.is_empty() {
            self.first.push(Write::Grace);
            self.first.append(&mut cleared);
        }
    }

    /// False when the place leaves the maps or meets another.
    fn occupy(&mut self, place: &PoolPlace) -> bool {
        if place.ring_bits > MAX_RING_BITS || place.block_bits >= 32 {
            return false;
        }
        let block = place.block();
        if !self.ring_areas.occupy(place.ring_base, place.ring_slots()) {
            return false;
        }
        let fits = self.backend_areas.occupy(place.backend_base, block.end - block.start);
        if !fits {
            self.ring_areas.release(place.ring_base);
        }
        fits
    }

    /// A slot of the egress map for every interface that packets leave by.
    fn egress(&mut self) -> Result<(), PlanError> {
        let backends = self.want.wanted.pools.values().flat_map(|pool| pool.backends.values());
        let needed: BTreeSet<u32> = backends.filter_map(|b| b.egress.as_ref()).map(|e| e.ifindex).collect();
        let mut free = Indices::new(EGRESS_SLOTS);
        for (&slot, &ifindex) in &self.have.egress {
            free.occupy(slot);
            if !needed.contains(&ifindex) || self.slots.contains_key(&ifindex) {
                self.last.push(Write::RemoveEgress(slot));
            } else {
                self.slots.insert(ifindex, slot);
            }
        }
        for &ifindex in &needed {
            if self.slots.contains_key(&ifindex) {
                continue;
            }
            let full =
                PlanError::Capacity { what: "egress interfaces", needed: needed.len(), limit: EGRESS_SLOTS };
            let slot = free.allocate().ok_or(full)?;
            self.slots.insert(ifindex, slot);
            self.prepare.push(Write::PutEgress(slot, ifindex));
        }
        Ok(())
    }

    /// Lays out one pool: where it is when that has room, else in a new place.
    fn pool(&mut self, name: &'a PoolName, spec: &'a PoolSpec) -> Result<(), PlanError> {
        let here = self.places.get(name).and_then(|id| Some((*id, self.have.pools.get(id)?)));
        if let Some((id, place)) = here {
            if place.ring_bits == spec.ring_bits
                && let Some(positions) = self.positions(place, spec)
            {
                let place = place.clone();
                self.records(&place, spec, &positions, true);
                self.ring(name, id, &place, &positions, true);
                self.laid_out.insert(name, place);
                return Ok(());
            }
            clear_pool(self.have, id, place, &mut self.last);
        }
        let (id, place) = self.place(name, spec)?;
        self.prepare.push(Write::PutPool(id, place.clone()));
        let positions: BTreeMap<BackendId, u32> = spec.backends.keys().copied().zip(0..).collect();
        self.records(&place, spec, &positions, false);
        self.ring(name, id, &place, &positions, false);
        self.laid_out.insert(name, place);
        Ok(())
    }

    /// A new place, with room for as many backends as the ring is meant for.
    fn place(&mut self, name: &PoolName, spec: &PoolSpec) -> Result<(u32, PoolPlace), PlanError> {
        let slots = 1u32 << spec.ring_bits;
        let records = (slots / 64).max(spec.backends.len() as u32).max(4).next_power_of_two();
        let room = |what, needed, limit| PlanError::Room { what, needed, limit };
        let ring_base =
            self.ring_areas.allocate(slots).ok_or(room("ring slots", slots, self.limits.ring_slots))?;
        let backend_base = self.backend_areas.allocate(records).ok_or(room(
            "backend records",
            records,
            self.limits.backends,
        ))?;
        let id = self.pool_ids.allocate().ok_or(room("pools", 1, u32::MAX))?;
        let block_bits = records.trailing_zeros() as u8;
        let name = name.clone();
        Ok((id, PoolPlace { name, ring_base, ring_bits: spec.ring_bits, backend_base, block_bits }))
    }

    /// Pool-local position of every wanted backend in a block that is in use: its own, or a free one. `None` when there
    /// is no room.
    fn positions(&self, place: &PoolPlace, spec: &PoolSpec) -> Option<BTreeMap<BackendId, u32>> {
        let mut positions = BTreeMap::new();
        for (index, id) in self.have.identities.range(place.block()) {
            if spec.backends.contains_key(id) {
                positions.entry(*id).or_insert(index - place.backend_base);
            }
        }
        let mut free = place.block().filter(|index| !self.have.identities.contains_key(index));
        for id in spec.backends.keys() {
            if !positions.contains_key(id) {
                positions.insert(*id, free.next()? - place.backend_base);
            }
        }
        Some(positions)
    }

    /// Records of a pool. Those that turn unusable, and those of backends that are gone, wait until no slot leads there.
    /// `stays`: what the maps have in this place is the pool's own.
    fn records(
        &mut self,
        place: &PoolPlace,
        spec: &PoolSpec,
        positions: &BTreeMap<BackendId, u32>,
        stays: bool,
    ) {
        let have = self.have;
        let mut gone: BTreeSet<u32> = if stays {
            have.identities.range(place.block()).map(|(index, _)| *index).collect()
        } else {
            BTreeSet::new()
        };
        for (id, backend) in &spec.backends {
            let Some(position) = positions.get(id) else { continue };
            let index = place.backend_base + position;
            let record = self.record(backend);
            let fresh = !gone.remove(&index);
            if fresh {
                self.prepare.extend([Write::PutIdentity(index, *id), Write::ZeroBackendStats(index)]);
            } else if same_record(&have.backends.get(&index).copied().unwrap_or_default(), &record) {
                continue;
            }
            let write = Write::PutBackend { index, record, fresh };
            let waits = record.kind == forward::NONE && !fresh;
            if waits { &mut self.last } else { &mut self.prepare }.push(write);
        }
        for index in gone {
            self.last.extend([Write::ClearBackend(index), Write::RemoveIdentity(index)]);
        }
    }

    fn record(&self, backend: &Backend) -> abi::Backend {
        let resolved = backend.egress.as_ref().and_then(|egress| {
            let slot = *self.slots.get(&egress.ifindex)?;
            record(egress, slot, self.want.bounce == Some(egress.ifindex))
        });
        resolved.unwrap_or_default()
    }

    /// The ring words that differ.
    fn ring(
        &mut self,
        name: &PoolName,
        id: u32,
        place: &PoolPlace,
        positions: &BTreeMap<BackendId, u32>,
        stays: bool,
    ) {
        let there = self.have.rings.get(&id).filter(|_| stays);
        let words = self.want.rings.get(name).map(|ring| words(ring, positions)).unwrap_or_default();
        let differ = (0u32..)
            .zip(words)
            .filter(|(offset, word)| there.and_then(|slots| slots.get(*offset as usize)) != Some(word));
        let words: Vec<(u32, Slot)> = differ.collect();
        if !words.is_empty() {
            self.rings.push(Write::PutSlots { pool: id, base: place.ring_base, words });
        }
    }

    /// VIP entries; returns the index of each.
    fn vips(&mut self) -> Result<BTreeMap<IpAddr, u32>, PlanError> {
        let wanted = self.want.wanted;
        let mut free = Indices::new(self.limits.vips);
        let there = self.have.vips.iter().filter(|(vip, _)| wanted.vips.contains_key(*vip));
        let kept: BTreeMap<IpAddr, u32> =
            there.filter(|(_, entry)| free.occupy(entry.index)).map(|(vip, e)| (*vip, e.index)).collect();
        let mut indices = BTreeMap::new();
        for (&vip, spec) in &wanted.vips {
            let index = match kept.get(&vip) {
                Some(index) => *index,
                None => {
                    let (needed, limit) = (wanted.vips.len(), self.limits.vips);
                    let full = PlanError::Capacity { what: "VIPs", needed, limit };
                    let index = free.allocate().ok_or(full)?;
                    self.prepare.push(Write::ZeroVipStats(index));
                    index
                }
            };
            indices.insert(vip, index);
            let any_port = |protocol| wanted.services.contains_key(&ServiceId { vip, protocol, port: 0 });
            let flags = [
                (spec.echo, vip_flag::ECHO),
                (spec.undefined == Undefined::Pass, vip_flag::PASS_UNDEFINED),
                (any_port(Protocol::Tcp), vip_flag::ANY_PORT_TCP),
                (any_port(Protocol::Udp), vip_flag::ANY_PORT_UDP),
            ];
            let flags = flags.iter().filter(|(set, _)| *set).fold(0, |sum, (_, flag)| sum | flag);
            let entry = abi::Vip { index, flags };
            if self.have.vips.get(&vip) != Some(&entry) {
                self.switch.push(Write::PutVip(vip, entry));
            }
        }
        Ok(indices)
    }

    /// Service entries, before those of the VIPs.
    fn services(&mut self, vips: &BTreeMap<IpAddr, u32>) -> Result<(), PlanError> {
        let wanted = self.want.wanted;
        let mut free = Indices::new(self.limits.services);
        let there = self.have.services.iter().filter(|(id, _)| wanted.services.contains_key(*id));
        let kept: BTreeMap<ServiceId, u32> =
            there.filter(|(_, entry)| free.occupy(entry.index)).map(|(id, e)| (*id, e.index)).collect();
        let mut puts = Vec::new();
        for (&id, spec) in &wanted.services {
            let index = match kept.get(&id) {
                Some(index) => *index,
                None => {
                    let (needed, limit) = (wanted.services.len(), self.limits.services);
                    let full = PlanError::Capacity { what: "services", needed, limit };
                    let index = free.allocate().ok_or(full)?;
                    self.prepare.push(Write::ZeroServiceStats(index));
                    index
                }
            };
            let vip_index = *vips.get(&id.vip).ok_or(PlanError::NoVip { service: id })?;
            let no_pool = || PlanError::NoPool { service: id, pool: spec.pool.clone() };
            let place = self.laid_out.get(&spec.pool).ok_or_else(no_pool)?;
            let entry = abi::Service {
                index,
                vip_index,
                ring_base: place.ring_base,
                backend_base: place.backend_base,
                ring_bits: place.ring_bits,
                flags: if spec.hash_source { service_flag::HASH_SOURCE } else { 0 },
                pad: [0; 6],
            };
            if self.have.services.get(&id) != Some(&entry) {
                puts.push(Write::PutService(id, entry));
            }
        }
        self.switch.splice(0..0, puts);
        Ok(())
    }

    fn finish(self) -> Vec<Write> {
        let config = abi::Config {
            seed: self.want.wanted.seed,
            icmp_errors_per_second: self.want.wanted.icmp_errors_per_second,
            abi_version: abi::ABI_VERSION,
        };
        let mut writes = self.first;
        if self.have.config != config {
            writes.push(Write::Config(config));
        }
        writes.extend(self.prepare);
        writes.extend(self.rings);
        writes.extend(self.switch);
        if !self.last.is_empty() {
            writes.push(Write::Grace);
            writes.extend(self.last);
        }
        writes
    }
}

/// Words of a whole ring in terms of positions.
fn words(ring: &Ring, positions: &BTreeMap<BackendId, u32>) -> Vec<Slot> {
    let empty = Slot::stable(Slot::EMPTY);
    if ring.members().is_empty() {
        return vec![empty; 1 << ring.bits()];
    }
    let word = |(id, _): &(BackendId, u16)| {
        positions.get(id).map_or(empty, |position| Slot::stable(*position as u16))
    };
    let members: Vec<Slot> = ring.members().iter().map(word).collect();
    ring.positions().iter().map(|member| members[usize::from(*member)]).collect()
}

/// Clears a pool that nothing refers to: ring, records, names.
fn clear_pool(have: &Contents, id: u32, place: &PoolPlace, out: &mut Vec<Write>) {
    let empty = Slot::stable(Slot::EMPTY);
    let there = have.rings.get(&id).map(Vec::as_slice).unwrap_or_default();
    let words: Vec<(u32, Slot)> =
        (0u32..).zip(there).filter(|(_, word)| **word != empty).map(|(offset, _)| (offset, empty)).collect();
    if !words.is_empty() {
        out.push(Write::PutSlots { pool: id, base: place.ring_base, words });
    }
    for (index, _) in have.identities.range(place.block()) {
        out.extend([Write::ClearBackend(*index), Write::RemoveIdentity(*index)]);
    }
    out.push(Write::RemovePool(id));
}
