//! A kernel of plain values takes the writes one by one; after each, everything that a packet could still see is
//! followed to its record.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use datapath_common::abi::{self, Slot, forward};
use proptest::prelude::*;

use super::*;
use crate::{Backend, Egress, Forwarding, PoolSpec, Protocol, Ring, ServiceSpec, Undefined, VipSpec, Wanted};

const LIMITS: Limits = Limits { vips: 8, services: 16, backends: 256, ring_slots: 4096 };

#[derive(Default)]
struct Kernel {
    config: abi::Config,
    services: BTreeMap<ServiceId, abi::Service>,
    vips: BTreeMap<IpAddr, abi::Vip>,
    pools: BTreeMap<u32, PoolPlace>,
    words: BTreeMap<u32, Slot>,
    identities: BTreeMap<u32, BackendId>,
    backends: BTreeMap<u32, abi::Backend>,
    egress: BTreeMap<u32, u32>,
    zeroed: BTreeSet<(&'static str, u32)>,
    /// Pools that a service had since the last whole plan, and backends that a pool had.
    pools_of: BTreeMap<ServiceId, BTreeSet<PoolName>>,
    backends_of: BTreeMap<PoolName, BTreeSet<BackendId>>,
    /// What packets under way may have seen since the last grace period.
    seen_services: BTreeSet<(ServiceId, [u32; 3])>,
    seen_words: BTreeSet<(u32, u32)>,
}

fn geometry(service: &abi::Service) -> [u32; 3] {
    [service.ring_base, service.ring_bits.into(), service.backend_base]
}

impl Kernel {
    fn contents(&self) -> Contents {
        let ring = |place: &PoolPlace| {
            let word = |at| self.words.get(&at).copied().unwrap_or_default();
            (place.ring_base..place.ring_base + place.ring_slots()).map(word).collect()
        };
        let mut backends = self.backends.clone();
        backends.retain(|_, record| record.kind != forward::NONE);
        Contents {
            config: self.config,
            services: self.services.clone(),
            vips: self.vips.clone(),
            pools: self.pools.clone(),
            rings: self.pools.iter().map(|(id, place)| (*id, ring(place))).collect(),
            identities: self.identities.clone(),
            backends,
            egress: self.egress.clone(),
        }
    }

    fn apply(&mut self, write: &Write) {
        match write.clone() {
            Write::Config(config) => self.config = config,
            Write::PutPool(id, place) => assert_eq!(self.pools.insert(id, place), None),
            Write::RemovePool(id) => assert!(self.pools.remove(&id).is_some()),
            Write::PutIdentity(index, id) => assert_eq!(self.identities.insert(index, id), None),
            Write::RemoveIdentity(index) => assert!(self.identities.remove(&index).is_some()),
            Write::PutEgress(slot, ifindex) => assert_eq!(self.egress.insert(slot, ifindex), None),
            Write::RemoveEgress(slot) => assert!(self.egress.remove(&slot).is_some()),
            Write::PutBackend { index, record, fresh } => {
                let there = self.backends.get(&index).is_some_and(|r| r.kind != forward::NONE);
                assert!(!(fresh && there), "a fresh index belongs to nobody");
                self.backends.insert(index, record);
            }
            Write::ClearBackend(index) => {
                self.backends.remove(&index);
            }
            Write::PutSlots { base, words, .. } => {
                for (offset, word) in words {
                    let at = base + offset;
                    let old = self.words.insert(at, word).unwrap_or_default();
                    let led_here = |(_, [ring, bits, _]): &(ServiceId, [u32; 3])| {
                        (*ring..ring + (1 << bits)).contains(&at)
                    };
                    if self.seen_services.iter().any(led_here) {
                        self.seen_words.insert((at, old.0));
                    }
                }
            }
            Write::PutService(id, entry) => drop(self.services.insert(id, entry)),
            Write::RemoveService(id) => assert!(self.services.remove(&id).is_some()),
            Write::PutVip(vip, entry) => drop(self.vips.insert(vip, entry)),
            Write::RemoveVip(vip) => assert!(self.vips.remove(&vip).is_some()),
            Write::ZeroServiceStats(index) => drop(self.zeroed.insert(("service", index))),
            Write::ZeroBackendStats(index) => drop(self.zeroed.insert(("backend", index))),
            Write::ZeroVipStats(index) => drop(self.zeroed.insert(("vip", index))),
            Write::Grace => {
                self.seen_services.clear();
                self.seen_words.clear();
            }
        }
        self.seen_services.extend(self.services.iter().map(|(id, entry)| (*id, geometry(entry))));
        self.check();
    }

    /// Follows every packet that may be under way.
    fn check(&self) {
        for (id, [ring_base, ring_bits, backend_base]) in &self.seen_services {
            let area = *ring_base..ring_base + (1 << ring_bits);
            let old = self.seen_words.range((area.start, 0)..(area.end, 0)).map(|(_, word)| Slot(*word));
            let now = area.clone().map(|at| self.words.get(&at).copied().unwrap_or_default());
            let positions: BTreeSet<u16> = old.chain(now).map(Slot::current).collect();
            for position in positions.into_iter().filter(|position| *position != Slot::EMPTY) {
                self.check_record(*id, backend_base + u32::from(position));
            }
        }
    }

    fn may_reach(&mut self, wanted: &Wanted) {
        for (id, service) in &wanted.services {
            self.pools_of.entry(*id).or_default().insert(service.pool.clone());
        }
        for (name, pool) in &wanted.pools {
            self.backends_of.entry(name.clone()).or_default().extend(pool.backends.keys());
        }
    }

    fn check_record(&self, service: ServiceId, index: u32) {
        let record = self.backends.get(&index).copied().unwrap_or_default();
        assert_ne!(record.kind, forward::NONE, "{service:?} meets the empty record {index}");
        assert!(self.egress.contains_key(&record.egress), "{service:?} meets a record without way out");
        let owner = self.identities.get(&index);
        let pools = self.pools_of.get(&service).into_iter().flatten();
        let mut allowed = pools.filter_map(|pool| self.backends_of.get(pool)).flatten();
        assert!(
            owner.is_some_and(|owner| allowed.any(|id| id == owner)),
            "{service:?} meets {owner:?}, which no pool of its has"
        );
    }
}

/// Applies a plan for `wanted`, up to `cut` writes of it; false when it was cut short.
fn drive(kernel: &mut Kernel, wanted: &Wanted, cut: usize) -> bool {
    kernel.may_reach(wanted);
    let mut rings = BTreeMap::new();
    Ring::refresh(&mut rings, wanted);
    let want = Want { wanted, rings: &rings, bounce: None };
    let writes = plan(&kernel.contents(), want, &LIMITS).expect("fits");
    let whole = writes.len() <= cut;
    writes.iter().take(cut).for_each(|write| kernel.apply(write));
    if whole {
        let have = kernel.contents();
        assert_eq!(plan(&have, want, &LIMITS), Ok(Vec::new()), "a second plan finds nothing to do");
        let view = view(&have, Some(want));
        assert!(view.services.keys().eq(wanted.services.keys()), "{view:?}");
        assert_eq!(view.vips, wanted.vips);
        let digests: BTreeMap<_, _> =
            rings.iter().map(|(name, ring)| (name.clone(), ring.digest())).collect();
        assert_eq!(view.ring_digests, digests);
        kernel.backends_of.clear();
        kernel.pools_of.retain(|id, _| kernel.seen_services.iter().any(|(seen, _)| seen == id));
        kernel.may_reach(wanted);
    }
    whole
}

fn vip(n: u8) -> IpAddr {
    if n == 0 { IpAddr::from([20, 20, 20, 1]) } else { "2001:db8::20".parse().expect("address") }
}

fn backend_id(pool: u8, n: u8) -> BackendId {
    BackendId(IpAddr::from([10, pool, 0, n]))
}

fn egress(n: u8, ifindex: u32) -> Egress {
    let forwarding = Forwarding::IpIp { source: [10, 9, 9, 9].into(), destination: [10, 8, 0, n].into() };
    Egress { forwarding, ifindex, src_mac: [2; 6], dst_mac: [4; 6], mtu: 1500 }
}

fn some_backend() -> impl Strategy<Value = Backend> {
    (1u16..4, any::<bool>(), prop::option::weighted(0.8, 1u32..4)).prop_map(|(weight, in_ring, ifindex)| {
        Backend { weight, in_ring, egress: ifindex.map(|ifindex| egress(weight as u8, ifindex)) }
    })
}

fn some_pool(pool: u8) -> impl Strategy<Value = PoolSpec> {
    let backends =
        prop::collection::btree_map((0u8..12).prop_map(move |n| backend_id(pool, n)), some_backend(), 0..9);
    (5u8..8, backends).prop_map(|(ring_bits, backends)| PoolSpec { ring_bits, backends })
}

fn some_wanted() -> impl Strategy<Value = Wanted> {
    let pools = [0u8, 1, 2].map(|n| {
        let name = PoolName(format!("pool-{n}"));
        prop::option::weighted(0.8, some_pool(n)).prop_map(move |pool| pool.map(|pool| (name.clone(), pool)))
    });
    let services =
        prop::collection::btree_map((0u8..2, any::<bool>(), 0u16..4), (0usize..3, any::<bool>()), 0..7);
    (pools, services, any::<[bool; 3]>()).prop_map(|(pools, services, [echo, pass, other])| {
        let pools: BTreeMap<PoolName, PoolSpec> = pools.into_iter().flatten().collect();
        let names: Vec<PoolName> = pools.keys().cloned().collect();
        let undefined = if pass { Undefined::Pass } else { Undefined::Drop };
        let vips: BTreeMap<_, _> =
            (0..if other { 2 } else { 1 }).map(|n| (vip(n), VipSpec { undefined, echo })).collect();
        let service = |((v, tcp, port), (pool, hash_source)): ((u8, bool, u16), (usize, bool))| {
            let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
            let id = ServiceId { vip: vip(v), protocol, port };
            let pool = names.get(pool % names.len().max(1))?.clone();
            vips.contains_key(&id.vip).then(|| (id, ServiceSpec { name: "s".into(), pool, hash_source }))
        };
        let services = services.into_iter().filter_map(service).collect();
        Wanted { seed: [1, 2], icmp_errors_per_second: 100, ingress: BTreeMap::new(), vips, pools, services }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Any sequence of wanted sets, cut short anywhere: no packet ever meets a half-written entry, and a whole plan
    /// leaves exactly what is wanted.
    #[test]
    fn packets_always_find_their_way(
        steps in prop::collection::vec((some_wanted(), prop::option::weighted(0.4, 0usize..60)), 1..6)
    ) {
        let mut kernel = Kernel::default();
        for (wanted, cut) in steps {
            if !drive(&mut kernel, &wanted, cut.unwrap_or(usize::MAX)) {
                // The daemon died here; what reads the maps again sees the rest of the packets gone.
                kernel.apply(&Write::Grace);
            }
        }
    }
}

fn one_pool(backends: &[u8], out: &[u8]) -> Wanted {
    let backend = |n: &u8| {
        let backend = Backend { weight: 1, in_ring: !out.contains(n), egress: Some(egress(*n, 2)) };
        (backend_id(0, *n), backend)
    };
    let pool = PoolName("web".into());
    let id = ServiceId { vip: vip(0), protocol: Protocol::Tcp, port: 80 };
    Wanted {
        seed: [1, 2],
        vips: [(vip(0), VipSpec { undefined: Undefined::Drop, echo: true })].into(),
        pools: [(pool.clone(), PoolSpec { ring_bits: 6, backends: backends.iter().map(backend).collect() })]
            .into(),
        services: [(id, ServiceSpec { name: "web".into(), pool, hash_source: false })].into(),
        ..Wanted::default()
    }
}

fn indices(kernel: &Kernel) -> BTreeMap<BackendId, u32> {
    kernel.identities.iter().map(|(index, id)| (*id, *index)).collect()
}

#[test]
fn indices_stay_while_their_owner_exists() {
    let mut kernel = Kernel::default();
    drive(&mut kernel, &one_pool(&[1, 2, 3], &[]), usize::MAX);
    let before = indices(&kernel);
    kernel.zeroed.clear();
    drive(&mut kernel, &one_pool(&[1, 3, 4], &[3]), usize::MAX);
    let after = indices(&kernel);
    assert_eq!(before[&backend_id(0, 1)], after[&backend_id(0, 1)]);
    assert_eq!(before[&backend_id(0, 3)], after[&backend_id(0, 3)]);
    let fourth = after[&backend_id(0, 4)];
    assert!(
        !before.values().any(|index| *index == fourth),
        "an index in use until now is not handed on at once"
    );
    assert_eq!(kernel.zeroed, [("backend", fourth)].into());
}

#[test]
fn a_health_change_touches_ring_words_only() {
    let mut kernel = Kernel::default();
    let all = one_pool(&[1, 2, 3], &[]);
    drive(&mut kernel, &all, usize::MAX);
    let wanted = one_pool(&[1, 2, 3], &[2]);
    let mut rings = BTreeMap::new();
    Ring::refresh(&mut rings, &wanted);
    let want = Want { wanted: &wanted, rings: &rings, bounce: None };
    let writes = plan(&kernel.contents(), want, &LIMITS).expect("fits");
    let [Write::PutSlots { words, .. }] = writes.as_slice() else { panic!("{writes:?}") };
    assert!((21..=24).contains(&words.len()), "{} words, the one that left had a third of 64", words.len());
}

#[test]
fn an_outgrown_block_moves() {
    let mut kernel = Kernel::default();
    drive(&mut kernel, &one_pool(&[1, 2, 3, 4], &[]), usize::MAX);
    let ids: Vec<u8> = (1..=9).collect();
    drive(&mut kernel, &one_pool(&ids, &[]), usize::MAX);
    assert_eq!(indices(&kernel).len(), 9);
    assert_eq!(kernel.pools.len(), 1, "the old place is gone");
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let fits = |wanted: &Wanted, limits: Limits| {
        let mut rings = BTreeMap::new();
        Ring::refresh(&mut rings, wanted);
        plan(&Contents::default(), Want { wanted, rings: &rings, bounce: None }, &limits).map(|_| ())
    };
    let wanted = one_pool(&[1, 2, 3], &[]);
    assert_eq!(fits(&wanted, LIMITS), Ok(()));
    let few = PlanError::Capacity { what: "services", needed: 1, limit: 0 };
    assert_eq!(fits(&wanted, Limits { services: 0, ..LIMITS }), Err(few));
    let mut other = wanted.clone();
    let spec = other.pools[&PoolName("web".into())].clone();
    other.pools.extend((0..16).map(|n| (PoolName(format!("pool-{n}")), spec.clone())));
    let many = PlanError::Capacity { what: "pools", needed: 17, limit: 16 };
    assert_eq!(fits(&other, LIMITS), Err(many));
    let room = PlanError::Room { what: "ring slots", needed: 64, limit: 32 };
    assert_eq!(fits(&wanted, Limits { ring_slots: 32, ..LIMITS }), Err(room));
    let mut other = wanted.clone();
    other.vips.clear();
    assert!(matches!(fits(&other, LIMITS), Err(PlanError::NoVip { .. })));
    let mut other = wanted.clone();
    other.pools.clear();
    assert!(matches!(fits(&other, LIMITS), Err(PlanError::NoPool { .. })));
    let mut other = wanted.clone();
    other.pools.values_mut().for_each(|pool| pool.ring_bits = 21);
    assert!(matches!(fits(&other, LIMITS), Err(PlanError::RingBits { bits: 21, .. })));
}

#[test]
fn a_read_back_that_differs_is_seen() {
    let mut kernel = Kernel::default();
    let wanted = one_pool(&[1, 2, 3], &[]);
    drive(&mut kernel, &wanted, usize::MAX);
    let mut rings = BTreeMap::new();
    Ring::refresh(&mut rings, &wanted);
    let want = Want { wanted: &wanted, rings: &rings, bounce: None };
    let good = kernel.contents();
    assert_eq!(view(&good, Some(want)).services.len(), 1);

    let mut bad = good.clone();
    bad.rings.values_mut().for_each(|ring| ring[5] = Slot::stable(Slot::EMPTY));
    assert!(view(&bad, Some(want)).services.is_empty());
    assert_eq!(view(&bad, None).services.len(), 1, "complete in itself");
    assert_ne!(view(&bad, None).ring_digests, view(&good, None).ring_digests);

    let mut bad = good.clone();
    bad.backends.values_mut().for_each(|record| record.dst_mac = [9; 6]);
    assert!(view(&bad, Some(want)).services.is_empty());

    let mut bad = good.clone();
    bad.egress.values_mut().for_each(|ifindex| *ifindex += 1);
    assert!(view(&bad, Some(want)).services.is_empty());

    let mut bad = good.clone();
    bad.vips.values_mut().for_each(|vip| vip.flags = 0);
    assert!(view(&bad, Some(want)).vips.is_empty());

    let mut bad = good;
    bad.backends.clear();
    assert!(view(&bad, None).services.is_empty(), "slots that lead nowhere");
}

#[test]
fn members_are_known_without_a_wanted_set() {
    let mut kernel = Kernel::default();
    drive(&mut kernel, &one_pool(&[1, 2, 3], &[2]), usize::MAX);
    let view = view(&kernel.contents(), None);
    assert_eq!(view.members[&PoolName("web".into())], [backend_id(0, 1), backend_id(0, 3)]);
}
