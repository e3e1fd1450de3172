//! What the caller wants of the kernel's routing state, and what is really there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// The whole wanted set of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub routes: BTreeMap<RouteKey, Route>,
    /// Host addresses on `lo` (`host_address = loopback`).
    pub host_addresses: BTreeSet<IpAddr>,
    /// Addresses whose way (interface, MACs, MTU) the datapath needs. Followed and kept fresh by probing.
    pub resolve: BTreeSet<IpAddr>,
    /// Interfaces that VIP traffic uses: their redirect and rp_filter sysctls are ours.
    pub interfaces: BTreeSet<String>,
    /// Sysctls wanted, `net/ipv4/conf/eth0/rp_filter` -> "0". Built by [`crate::Sysctl`] helpers.
    pub sysctls: BTreeMap<Sysctl, String>,
}

/// Path below /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    pub prefix: IpNet,
    /// Routing table, 254 = main.
    pub table: u32,
    /// Metric / priority.
    pub metric: u32,
}

impl fmt::Display for RouteKey {
    /// In the words of `ip route`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)?;
        if self.table != RouteKey::MAIN {
            write!(f, " table {}", self.table)?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        Ok(())
    }
}

impl RouteKey {
    /// RT_TABLE_MAIN.
    pub const MAIN: u32 = 254;
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub kind: RouteKind,
    /// MTU metric of the route.
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    Blackhole,
    /// One or several (ECMP) next hops, sorted.
    Unicast(BTreeSet<NextHop>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// Gateway; `None`: directly attached.
    pub via: Option<IpAddr>,
    pub device: Option<String>,
    pub onlink: bool,
    pub weight: u16,
}

/// What is really there, published whole after each change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Wanted routes that were read back from the kernel as wanted.
    pub routes_installed: BTreeSet<RouteKey>,
    pub host_addresses: BTreeSet<IpAddr>,
    /// Every address of `Wanted::resolve`.
    pub resolved: BTreeMap<IpAddr, Result<Resolution, ResolutionError>>,
    /// Interfaces by name: (ifindex, up with carrier).
    pub interfaces: BTreeMap<String, (u32, bool)>,
    pub conflicts: Vec<Conflict>,
    /// Times that foreign hands changed our objects and we repaired them.
    pub drift_repaired: u64,
}

/// The way to one address, as the kernel would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub ifindex: u32,
    pub device: String,
    /// Gateway or the address itself when on link.
    pub next_hop: IpAddr,
    /// The kernel's choice of source address for the way: the tunnel's outer source.
    pub source: IpAddr,
    pub src_mac: [u8; 6],
    pub dst_mac: [u8; 6],
    /// Path MTU by route and interface, bytes.
    pub mtu: u32,
    /// The address shares a segment with this node (no gateway): needed for `l2`.
    pub on_link: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolutionError {
    /// Not looked at yet.
    #[error("not resolved yet")]
    Pending,
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    #[error("the route to {address} is of type {kind}")]
    Unusable { address: IpAddr, kind: String },
    #[error("next hop {next_hop} on {device} does not answer ARP/ND")]
    NeighbourFailed { next_hop: IpAddr, device: String },
    #[error("next hop {next_hop} on {device}: waiting for ARP/ND")]
    NeighbourPending { next_hop: IpAddr, device: String },
    #[error("interface {0} is down")]
    InterfaceDown(String),
}

/// Something foreign stands where we want to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Conflict {
    /// `key` as the caller wrote it; `protocol` is rtm_protocol (linux/rtnetlink.h).
    #[error("route {key} exists with protocol {}: remove it or choose another metric", protocol_name(*protocol))]
    ForeignRoute { key: RouteKey, protocol: u8 },
    #[error("address {address} is already on {device}, not set by vipcast")]
    ForeignAddress { address: IpAddr, device: String },
    #[error("sysctl {path} cannot be set to {wanted}: {reason}")]
    Sysctl { path: String, wanted: String, reason: String },
    #[error("{what}: {reason}")]
    Kernel { what: String, reason: String },
}

/// RTPROT_* that operators meet, as iproute2 names them.
fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        other => return other.to_string(),
    };
    format!("{name} ({protocol})")
}
