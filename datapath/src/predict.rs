//! Which backend a flow goes to: the datapath's choice as a pure function of what is wanted. Labs compare real replies
//! with it, and a person may ask it.
//!
//! Holds for slots at rest: it knows nothing of connections that stay where they were when the ring changed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use datapath_common::hash::{self, Ports};

use crate::{BackendId, PoolName, PoolSpec, Protocol, ServiceId, Wanted, ring};

/// A packet's addresses on its way from client to VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub protocol: Protocol,
}

impl Flow {
    /// The 64-bit hash that chooses the ring slot; of the client's address alone when `hash_source`. `None` when
    /// client and VIP are of different families: there is no such packet.
    pub fn hash(&self, seed: [u64; 2], hash_source: bool) -> Option<u64> {
        let ports = Ports {
            src: self.client.port().to_be_bytes(),
            dst: self.vip.port().to_be_bytes(),
            proto: self.protocol.number(),
        };
        match (self.client.ip(), self.vip.ip()) {
            (IpAddr::V4(src), IpAddr::V4(_)) if hash_source => Some(hash::source4(seed, src.octets())),
            (IpAddr::V6(src), IpAddr::V6(_)) if hash_source => Some(hash::source6(seed, src.octets())),
            (IpAddr::V4(src), IpAddr::V4(dst)) => Some(hash::flow4(seed, src.octets(), dst.octets(), ports)),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some(hash::flow6(seed, src.octets(), dst.octets(), ports)),
            _ => None,
        }
    }
}

/// A pool's ring together with what it was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    seed: [u64; 2],
    bits: u8,
    members: Vec<(BackendId, u16)>,
    slots: Vec<u16>,
}

impl Ring {
    /// `members` as for [`ring::build`].
    pub fn new(seed: [u64; 2], bits: u8, members: Vec<(BackendId, u16)>) -> Self {
        let slots = ring::build(seed, bits, &members);
        Self { seed, bits, members, slots }
    }

    /// The ring that a node builds for this pool.
    pub fn of_pool(seed: [u64; 2], pool: &PoolSpec) -> Self {
        Self::new(seed, pool.ring_bits, pool.members())
    }

    /// Brings the rings of a wanted set up to date; builds only those whose input differs.
    pub fn refresh(rings: &mut BTreeMap<PoolName, Self>, wanted: &Wanted) {
        rings.retain(|name, _| wanted.pools.contains_key(name));
        for (name, pool) in &wanted.pools {
            let members = pool.members();
            let built = |ring: &Self| {
                ring.seed == wanted.seed && ring.bits == pool.ring_bits && ring.members == members
            };
            if !rings.get(name).is_some_and(built) {
                rings.insert(name.clone(), Self::new(wanted.seed, pool.ring_bits, members));
            }
        }
    }

    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Who has slots, sorted, with weights.
    pub fn members(&self) -> &[(BackendId, u16)] {
        &self.members
    }

    /// Position in [`Self::members`] of each slot's backend; nothing when there are no members.
    pub fn positions(&self) -> &[u16] {
        &self.slots
    }

    /// Backend of each slot; nothing when the ring has no members.
    pub fn slots(&self) -> impl Iterator<Item = BackendId> + '_ {
        self.slots.iter().map(|&position| self.members[usize::from(position)].0)
    }

    /// The backend that a flow with this hash goes to; `None` when the ring has no members.
    pub fn choose(&self, hash: u64) -> Option<BackendId> {
        let position = self.slots.get(hash::slot(hash, self.bits) as usize)?;
        Some(self.members[usize::from(*position)].0)
    }

    /// As [`crate::ReadBack::ring_digests`] has it when the maps hold this ring.
    pub fn digest(&self) -> u64 {
        let empty = if self.slots.is_empty() { 1usize << self.bits } else { 0 };
        ring::digest(self.slots().map(Some).chain(std::iter::repeat_n(None, empty)))
    }
}

/// All rings of a wanted set, built once.
#[derive(Debug, Clone)]
pub struct Model<'a> {
    wanted: &'a Wanted,
    rings: BTreeMap<PoolName, Ring>,
}

impl<'a> Model<'a> {
    pub fn new(wanted: &'a Wanted) -> Self {
        let mut rings = BTreeMap::new();
        Ring::refresh(&mut rings, wanted);
        Self { wanted, rings }
    }

    /// The backend that a flow goes to: by the service of its exact port, else by the VIP's any-port service of the
    /// protocol. `None`: no such service, or nobody in its ring.
    pub fn choose(&self, flow: &Flow) -> Option<BackendId> {
        let exact = ServiceId { vip: flow.vip.ip(), protocol: flow.protocol, port: flow.vip.port() };
        let any_port = ServiceId { port: 0, ..exact };
        let service = self.wanted.services.get(&exact).or_else(|| self.wanted.services.get(&any_port))?;
        let hash = flow.hash(self.wanted.seed, service.hash_source)?;
        self.rings.get(&service.pool)?.choose(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, ServiceSpec};

    fn wanted() -> Wanted {
        let backend = |last: u8, in_ring| {
            let egress = crate::Egress {
                forwarding: crate::Forwarding::L2,
                ifindex: 2,
                src_mac: [2; 6],
                dst_mac: [4; 6],
                mtu: 1500,
            };
            (BackendId([10, 0, 0, last].into()), Backend { weight: 1, in_ring, egress: Some(egress) })
        };
        let pool = PoolName("web".into());
        let service =
            |name: &str, hash_source| ServiceSpec { name: name.into(), pool: pool.clone(), hash_source };
        let id = |port| ServiceId { vip: [20, 20, 20, 1].into(), protocol: Protocol::Tcp, port };
        Wanted {
            seed: [1, 2],
            pools: [(
                pool.clone(),
                PoolSpec {
                    ring_bits: 12,
                    backends: [backend(1, true), backend(2, true), backend(3, false)].into(),
                },
            )]
            .into(),
            services: [(id(80), service("web", false)), (id(0), service("rest", true))].into(),
            ..Wanted::default()
        }
    }

    fn flow(sport: u16, dport: u16) -> Flow {
        Flow {
            client: SocketAddr::from(([1, 1, 1, 1], sport)),
            vip: SocketAddr::from(([20, 20, 20, 1], dport)),
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn flows_spread_over_members_only() {
        let wanted = wanted();
        let model = Model::new(&wanted);
        let hits = |backend: u8| {
            let id = BackendId([10, 0, 0, backend].into());
            (0..1000).filter(|sport| model.choose(&flow(*sport, 80)) == Some(id)).count()
        };
        let (one, two) = (hits(1), hits(2));
        assert_eq!(one + two, 1000);
        assert!((400..600).contains(&one), "{one} of 1000");
    }

    #[test]
    fn source_hashed_service_ignores_ports() {
        let wanted = wanted();
        let model = Model::new(&wanted);
        let first = model.choose(&flow(1, 9000));
        assert!(first.is_some());
        assert!((2..200).all(|sport| model.choose(&flow(sport, 9000 + sport)) == first));
    }

    #[test]
    fn nothing_for_unknown_services_other_families_and_empty_rings() {
        let mut wanted = wanted();
        let udp = Flow { protocol: Protocol::Udp, ..flow(1, 80) };
        assert_eq!(Model::new(&wanted).choose(&udp), None);
        let mixed = Flow { client: "[2001:db8::1]:5".parse().expect("address"), ..flow(1, 80) };
        assert_eq!(Model::new(&wanted).choose(&mixed), None);
        for pool in wanted.pools.values_mut() {
            pool.backends.values_mut().for_each(|b| b.in_ring = false);
        }
        assert_eq!(Model::new(&wanted).choose(&flow(1, 80)), None);
    }

    #[test]
    fn an_empty_ring_has_a_digest_of_its_own() {
        let empty = Ring::new([1, 2], 4, Vec::new());
        let one = Ring::new([1, 2], 4, vec![(BackendId([10, 0, 0, 1].into()), 1)]);
        assert_eq!(empty.digest(), ring::digest(std::iter::repeat_n(None, 16)));
        assert_ne!(empty.digest(), one.digest());
    }
}
