//! The maps' contents in the caller's terms: what is there, and whether it is what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use datapath_common::abi::{Slot, forward, service_flag, vip_flag};

use super::plan::{Want, places, refers, same_record};
use super::record::record as wanted_record;
use super::{Contents, PoolPlace};
use crate::{BackendId, PoolName, PoolSpec, ServiceId, Undefined, VipSpec, ring};

/// See the fields of the same names of `ReadBack`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub vips: BTreeMap<IpAddr, VipSpec>,
    pub services: BTreeMap<ServiceId, PoolName>,
    pub ring_digests: BTreeMap<PoolName, u64>,
    pub members: BTreeMap<PoolName, Vec<BackendId>>,
}

/// With a wanted set, `vips` and `services` name only what is exactly as wanted; without one, what is complete in
/// itself. Rings are told as they are.
pub fn view(have: &Contents, want: Option<Want<'_>>) -> View {
    let mut view = View::default();
    let places = places(have);
    let mut whole = BTreeSet::new();
    for (name, id) in places {
        let Some(pool) = have.pools.get(&id).map(|place| Pool::new(have, id, place)) else { continue };
        view.ring_digests.insert(name.clone(), ring::digest(pool.slots.iter().copied()));
        let members: BTreeSet<BackendId> = pool.slots.iter().copied().flatten().collect();
        view.members.insert(name.clone(), members.into_iter().collect());
        if want.map_or_else(|| pool.is_complete(), |want| pool.is_as_wanted(want)) {
            whole.insert(id);
        }
    }
    for (&vip, entry) in &have.vips {
        let spec = VipSpec {
            undefined: if entry.flags & vip_flag::PASS_UNDEFINED != 0 {
                Undefined::Pass
            } else {
                Undefined::Drop
            },
            echo: entry.flags & vip_flag::ECHO != 0,
        };
        if want.is_none_or(|want| want.wanted.vips.get(&vip) == Some(&spec)) {
            view.vips.insert(vip, spec);
        }
    }
    let seed_right = want.is_none_or(|want| have.config.seed == want.wanted.seed);
    for (id, service) in have.services.iter().filter(|_| seed_right) {
        let place = whole.iter().filter_map(|id| have.pools.get(id)).find(|place| refers(service, place));
        let Some(PoolPlace { name, .. }) = place else { continue };
        let right = |want: Want<'_>| {
            want.wanted.services.get(id).is_some_and(|spec| {
                let hash_source = service.flags & service_flag::HASH_SOURCE != 0;
                spec.pool == *name && spec.hash_source == hash_source
            })
        };
        if want.is_none_or(right) {
            view.services.insert(*id, name.clone());
        }
    }
    view
}

/// A pool as the maps have it.
struct Pool<'a> {
    have: &'a Contents,
    place: &'a PoolPlace,
    words: &'a [Slot],
    /// Backend of each slot; `None` where the slot is empty or leads to a record of nobody.
    slots: Vec<Option<BackendId>>,
}

impl<'a> Pool<'a> {
    fn new(have: &'a Contents, id: u32, place: &'a PoolPlace) -> Self {
        let words = have.rings.get(&id).map(Vec::as_slice).unwrap_or_default();
        let block: BTreeMap<u16, BackendId> = have
            .identities
            .range(place.block())
            .filter_map(|(index, id)| Some((u16::try_from(index - place.backend_base).ok()?, *id)))
            .collect();
        let slots = words.iter().map(|word| block.get(&word.current()).copied()).collect();
        Self { have, place, words, slots }
    }

    /// Every slot leads to a record that forwards, or says that there is nobody.
    fn is_complete(&self) -> bool {
        let used: BTreeSet<u16> = self.words.iter().map(|word| word.current()).collect();
        self.words.len() == self.place.ring_slots() as usize
            && used.into_iter().filter(|position| *position != Slot::EMPTY).all(|position| {
                let index = self.place.backend_base + u32::from(position);
                self.have.identities.contains_key(&index)
                    && self.have.backends.get(&index).is_some_and(|record| record.kind != forward::NONE)
            })
    }

    fn is_as_wanted(&self, want: Want<'_>) -> bool {
        let name = &self.place.name;
        let (Some(spec), Some(ring)) = (want.wanted.pools.get(name), want.rings.get(name)) else {
            return false;
        };
        let slots_right = if ring.members().is_empty() {
            self.slots.iter().all(Option::is_none)
        } else {
            self.slots.iter().copied().eq(ring.slots().map(Some))
        };
        self.is_complete()
            && self.place.ring_bits == spec.ring_bits
            && slots_right
            && self.records_right(spec, want)
    }

    /// The records that slots lead to are those of the wanted way out.
    fn records_right(&self, spec: &PoolSpec, want: Want<'_>) -> bool {
        let members: BTreeSet<BackendId> = self.slots.iter().copied().flatten().collect();
        let mut there =
            self.have.identities.range(self.place.block()).filter(|(_, id)| members.contains(*id));
        there.all(|(index, id)| {
            let egress = spec.backends.get(id).and_then(|backend| backend.egress.as_ref());
            let (Some(egress), Some(record)) = (egress, self.have.backends.get(index)) else { return false };
            let bounce = want.bounce == Some(egress.ifindex);
            self.have.egress.get(&record.egress) == Some(&egress.ifindex)
                && wanted_record(egress, record.egress, bounce)
                    .is_some_and(|wanted| same_record(&wanted, record))
        })
    }
}
