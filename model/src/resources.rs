//! The resources. Fields are what the rest of vipcast works with: parsed, defaulted, legal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::{Illegal, scalar};

/// Name of a resource: up to 63 of `[a-z0-9.-]`, beginning and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub(crate) String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Illegal;

    fn from_str(text: &str) -> Result<Self, Illegal> {
        scalar::name(text)
    }
}

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    pub labels: Labels,
    pub address: IpAddr,
    /// What is announced: the host route, or a covering prefix.
    pub prefix: IpNet,
    pub undefined: UndefinedPolicy,
    pub echo: EchoPolicy,
    pub host_address: HostAddress,
    pub announce: AnnouncePolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UndefinedPolicy {
    #[default]
    Drop,
    Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EchoPolicy {
    #[default]
    Healthy,
    Always,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostAddress {
    #[default]
    None,
    Loopback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Require {
    #[default]
    Any,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnnouncePolicy {
    pub require: Require,
    /// RFC 1997 communities.
    pub communities: BTreeSet<u32>,
    /// RFC 8092 large communities.
    pub large_communities: BTreeSet<(u32, u32, u32)>,
    pub med: Option<u32>,
    pub prepend: u8,
    pub peer_selector: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub labels: Labels,
    /// By identity.
    pub backends: BTreeMap<IpAddr, Backend>,
    /// `None`: backends are taken for healthy when they are resolved.
    pub health_check: Option<HealthCheck>,
    pub min_healthy: u32,
    pub max_backends: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub weight: u16,
    pub admin_state: AdminState,
    pub tunnel_mtu: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    #[default]
    Ready,
    Drain,
    Disabled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub probe: Probe,
    pub interval: Duration,
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    Tcp {
        port: u16,
    },
    Http {
        port: u16,
        path: String,
        host: Option<String>,
        expect_status: Vec<(u16, u16)>,
        expect_body: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub labels: Labels,
    pub vip: Name,
    pub protocol: Protocol,
    pub port: ServicePort,
    pub pool: Name,
    pub forwarding: Forwarding,
    pub hashing: Hashing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServicePort {
    Exact(std::num::NonZeroU16),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forwarding {
    L2,
    IpIp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hashing {
    #[default]
    FiveTuple,
    SourceIp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub labels: Labels,
    pub node_selector: Labels,
    pub address: IpAddr,
    pub port: u16,
    pub remote_asn: u32,
    pub local_address: Option<IpAddr>,
    pub ipv4_unicast: bool,
    pub ipv6_unicast: bool,
    pub next_hop_v4: Option<Ipv4Addr>,
    pub next_hop_v6: Option<Ipv6Addr>,
    pub hold: Duration,
    pub keepalive: Duration,
    pub connect_retry: Duration,
    pub passive: bool,
    pub multihop: Option<u8>,
    pub ttl_security: bool,
    pub md5_key: Option<String>,
    pub shutdown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRoute {
    pub labels: Labels,
    pub node_selector: Labels,
    pub prefix: IpNet,
    pub next_hops: BTreeSet<NextHop>,
    pub table: u32,
    pub metric: u32,
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    pub via: Option<IpAddr>,
    pub device: Option<String>,
    pub onlink: bool,
    pub weight: u16,
}
