//! What the caller wants the datapath to do: plain values, whole sets, no indices.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The whole wanted state of the datapath of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The fleet's hash key.
    pub seed: [u64; 2],
    /// ICMP errors that the datapath may make itself, per second and VIP.
    pub icmp_errors_per_second: u32,
    /// Interfaces that VIP traffic comes in on, by name.
    pub ingress: BTreeMap<String, Ingress>,
    pub vips: BTreeMap<IpAddr, VipSpec>,
    pub pools: BTreeMap<PoolName, PoolSpec>,
    pub services: BTreeMap<ServiceId, ServiceSpec>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingress {
    /// Generic (skb) mode may be used when the driver has no native XDP.
    pub allow_generic: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipSpec {
    pub undefined: Undefined,
    /// Answer ICMP echo now.
    pub echo: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Undefined {
    #[default]
    Drop,
    Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol with this IP number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// A pool as the datapath knows it: one per (pool, forwarding kind).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(pub String);

/// Identity of a backend inside its pool: the same on every node, independent of order and of resolution. Rings are
/// built from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub IpAddr);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// The ring has `1 << ring_bits` slots; fixed when the pool is created.
    pub ring_bits: u8,
    pub backends: BTreeMap<BackendId, Backend>,
}

impl PoolSpec {
    /// Who gets slots, sorted, with weights: the input of [`crate::ring::build`]. A backend without egress or weight
    /// gets none, whatever `in_ring` says: a slot must never lead to a record that cannot forward.
    pub fn members(&self) -> Vec<(BackendId, u16)> {
        let usable = |b: &Backend| b.in_ring && b.egress.is_some() && b.weight > 0;
        self.backends.iter().filter(|(_, b)| usable(b)).map(|(id, b)| (*id, b.weight)).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// 1..=65535. Share of slots.
    pub weight: u16,
    /// Member of the ring now: healthy, ready and resolved. The others keep their record but get no slot.
    pub in_ring: bool,
    /// Where and how packets leave; `None`: not resolved.
    pub egress: Option<Egress>,
}

/// A resolved way to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    pub forwarding: Forwarding,
    pub ifindex: u32,
    pub src_mac: [u8; 6],
    pub dst_mac: [u8; 6],
    /// Largest outer packet of the path (interface, route or configured tunnel MTU), bytes.
    pub mtu: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// MAC rewrite; the backend shares a segment with this node.
    L2,
    /// IP-in-IP; source and destination are of one family, whatever the VIP's family.
    IpIp { source: IpAddr, destination: IpAddr },
}

/// A service's key: what traffic it takes. `port` 0 means every port of the protocol that has no service of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    pub vip: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Name for counters and logs.
    pub name: String,
    pub pool: PoolName,
    /// Choose the slot from the source address alone.
    pub hash_source: bool,
}
