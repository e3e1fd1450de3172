//! Map keys and values. Every type is `repr(C)`, without implicit padding, and its size is asserted: a change of any
//! of them is a change of [`ABI_VERSION`], and the loader refuses pins of another version.

/// Version of all layouts in this file. Part of the name of the pin directory's `abi` record.
pub const ABI_VERSION: u32 = 1;

/// Names of the maps, as in the object file and under the pin directory.
pub mod map {
    /// Array of one [`super::Config`].
    pub const CONFIG: &str = "CONFIG";
    /// Array of [`super::Iface`], by ingress slot.
    pub const IFACES: &str = "IFACES";
    /// Hash [`super::ServiceKey4`] -> [`super::Service`].
    pub const SERVICES4: &str = "SERVICES4";
    /// Hash [`super::ServiceKey6`] -> [`super::Service`].
    pub const SERVICES6: &str = "SERVICES6";
    /// Hash of the address (4 bytes, network order) -> [`super::Vip`].
    pub const VIPS4: &str = "VIPS4";
    /// Hash of the address (16 bytes) -> [`super::Vip`].
    pub const VIPS6: &str = "VIPS6";
    /// Array of slot words, all rings one after another; mmap-able.
    pub const RINGS: &str = "RINGS";
    /// Array of [`super::Backend`], blocks of each pool one after another.
    pub const BACKENDS: &str = "BACKENDS";
    /// DEVMAP: egress slot -> ifindex.
    pub const EGRESS: &str = "EGRESS";
    /// Per-CPU array of [`super::Traffic`], by service index.
    pub const SERVICE_STATS: &str = "SERVICE_STATS";
    /// Per-CPU array of [`super::Traffic`], by backend index.
    pub const BACKEND_STATS: &str = "BACKEND_STATS";
    /// Per-CPU array of `[u64; counters::VIP_COUNTERS]`, by VIP index.
    pub const VIP_STATS: &str = "VIP_STATS";
    /// Per-CPU array of `[u64; counters::IFACE_COUNTERS]`, by ingress slot.
    pub const IFACE_STATS: &str = "IFACE_STATS";
    /// Array of token buckets (`u64`, see [`crate::limit`]) for ICMP errors that the program makes, by VIP index.
    pub const ICMP_LIMIT: &str = "ICMP_LIMIT";
    /// Hash of a tunnel address of this real server (4 bytes, network order) -> `u32`, any value.
    pub const DECAP_LOCAL4: &str = "DECAP_LOCAL4";
    /// Hash of a tunnel address (16 bytes) -> `u32`, any value.
    pub const DECAP_LOCAL6: &str = "DECAP_LOCAL6";
    /// LPM trie of outer sources that are decapsulated (4 bytes, network order) -> `u32`, any value.
    pub const DECAP_SOURCES4: &str = "DECAP_SOURCES4";
    /// LPM trie of outer sources (16 bytes) -> `u32`, any value.
    pub const DECAP_SOURCES6: &str = "DECAP_SOURCES6";
    /// Per-CPU array of one `[u64; counters::DECAP_COUNTERS]`.
    pub const DECAP_STATS: &str = "DECAP_STATS";
}

/// Names of the programs and of the load-time constant, as in the object file `vipcast-xdp`.
pub mod program {
    /// Forwards the traffic of VIPs. One load for each ingress interface, with its own [`IFACE_SLOT`].
    pub const INGRESS: &str = "vipcast_ingress";
    /// Passes every frame: lets a veth receive what is redirected to its peer.
    pub const PASS: &str = "vipcast_pass";
    /// Real server side: strips the outer header of IP-in-IP packets.
    pub const DECAP: &str = "vipcast_decap";
    /// Global `u32`: index of the interface in IFACES and IFACE_STATS.
    pub const IFACE_SLOT: &str = "IFACE_SLOT";
}

/// Index values that mean "none".
pub const NONE_U32: u32 = u32::MAX;

/// Settings of the whole node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The fleet's hash key, the same on every node.
    pub seed: [u64; 2],
    /// ICMP errors that the program may make, per second and VIP.
    pub icmp_errors_per_second: u32,
    /// [`ABI_VERSION`] of the writer.
    pub abi_version: u32,
}

/// One ingress interface. The program that is attached to it knows its own slot as a load-time constant.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Iface {
    pub ifindex: u32,
    /// Frames to any other address are not ours and are passed to the kernel.
    pub mac: [u8; 6],
    /// `iface_flag::*`.
    pub flags: u8,
    pub pad: u8,
}

pub mod iface_flag {
    /// The driver returns frames with XDP_TX: replies leave that way. Without it they are redirected to the interface
    /// itself. Never set for veth: XDP_TX loses frames there without a trace when the peer has no XDP program.
    pub const TX: u8 = 1;
}

/// TCP or UDP service on an IPv4 VIP. `port` 0: every port that has no entry of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey4 {
    pub addr: [u8; 4],
    /// Network order.
    pub port: [u8; 2],
    pub proto: u8,
    pub pad: u8,
}

/// As [`ServiceKey4`], for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey6 {
    pub addr: [u8; 16],
    /// Network order.
    pub port: [u8; 2],
    pub proto: u8,
    pub pad: u8,
}

/// Where the traffic of one service goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Index into SERVICE_STATS.
    pub index: u32,
    /// Index into VIP_STATS.
    pub vip_index: u32,
    /// First slot of the pool's ring in RINGS.
    pub ring_base: u32,
    /// First record of the pool's block in BACKENDS.
    pub backend_base: u32,
    /// The ring has `1 << ring_bits` slots; slot = hash >> (64 - ring_bits). 0: no ring, all traffic is dropped as
    /// `NoBackend`.
    pub ring_bits: u8,
    /// `service_flag::*`.
    pub flags: u8,
    pub pad: [u8; 6],
}

pub mod service_flag {
    /// The slot comes from the source address alone.
    pub const HASH_SOURCE: u8 = 1;
}

/// What happens to traffic to a VIP that no exact service takes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vip {
    /// Index into VIP_STATS.
    pub index: u32,
    /// `vip_flag::*`.
    pub flags: u32,
}

pub mod vip_flag {
    /// Answer ICMP echo requests.
    pub const ECHO: u32 = 1;
    /// Undefined traffic goes to the kernel instead of being dropped.
    pub const PASS_UNDEFINED: u32 = 2;
    /// There is an any-port TCP service: worth a second lookup with port 0.
    pub const ANY_PORT_TCP: u32 = 4;
    /// There is an any-port UDP service.
    pub const ANY_PORT_UDP: u32 = 8;
}

/// One real server as the datapath sees it: one cache line.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// `forward::*`.
    pub kind: u8,
    /// `backend_flag::*`.
    pub flags: u8,
    /// Counts reuses of this index.
    pub generation: u8,
    /// TTL / hop limit of the outer header.
    pub outer_ttl: u8,
    /// Largest *inner* IP packet that fits, bytes.
    pub mtu: u16,
    /// [`crate::outer::ipv4_csum_base`] of this record's outer addresses and TTL; 0 for kinds without an IPv4 outer
    /// header.
    pub csum_base: u16,
    /// Index into EGRESS.
    pub egress: u32,
    /// Destination MAC of the next hop.
    pub dst_mac: [u8; 6],
    /// MAC of the egress interface.
    pub src_mac: [u8; 6],
    /// Outer source, IPv4 in the first four bytes.
    pub outer_src: [u8; 16],
    /// Outer destination, IPv4 in the first four bytes.
    pub outer_dst: [u8; 16],
    pub pad: [u8; 8],
}

/// Forwarding kinds: values of [`Backend::kind`].
pub mod forward {
    /// Unused or unresolved record: traffic is dropped as `BackendUnusable`.
    pub const NONE: u8 = 0;
    /// MAC rewrite only.
    pub const L2: u8 = 1;
    /// IP-in-IP with an IPv4 outer header (4in4, 6in4).
    pub const IPIP_OUTER4: u8 = 2;
    /// IP-in-IP with an IPv6 outer header (4in6, 6in6).
    pub const IPIP_OUTER6: u8 = 3;
}

pub mod backend_flag {
    /// The egress is the interface that the packet came in on *and* its driver returns frames with XDP_TX. Never set for veth.
    pub const TX: u8 = 1;
}

/// Packets and bytes (IP total length) of a service or backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
}

/// A ring slot: pool-local backend indices of the current and the last stable generation, and two flags.
/// Layout of the word: bits 0-14 current, 15-29 previous, 30 in transition, 31 has exceptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot(pub u32);

impl Slot {
    /// Highest pool-local index that fits.
    pub const MAX_INDEX: u16 = (1 << 15) - 2;
    /// Pool-local index that means "no backend".
    pub const EMPTY: u16 = (1 << 15) - 1;

    /// A stable slot: both generations agree.
    pub const fn stable(index: u16) -> Self {
        let index = (index & 0x7fff) as u32;
        Slot(index | index << 15)
    }

    pub const fn current(self) -> u16 {
        (self.0 & 0x7fff) as u16
    }

    pub const fn previous(self) -> u16 {
        (self.0 >> 15 & 0x7fff) as u16
    }
}

const _: () = {
    assert!(size_of::<Config>() == 24);
    assert!(size_of::<Iface>() == 12);
    assert!(size_of::<ServiceKey4>() == 8);
    assert!(size_of::<ServiceKey6>() == 20);
    assert!(size_of::<Service>() == 24);
    assert!(size_of::<Vip>() == 8);
    assert!(size_of::<Backend>() == 64);
    assert!(size_of::<Traffic>() == 16);
};

#[cfg(feature = "aya")]
mod pod {
    #![allow(unsafe_code)]
    use super::*;
    macro_rules! pod {
        ($($value:ty),*) => {
            $(
                // SAFETY: repr(C), Copy, without padding (sizes asserted above), and every bit pattern is valid.
                unsafe impl aya::Pod for $value {}
            )*
        };
    }
    pod!(Config, Iface, ServiceKey4, ServiceKey6, Service, Vip, Backend, Traffic);
}
