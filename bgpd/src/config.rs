//! What the caller wants of the speaker: who we are, whom we talk to, what we announce.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

/// Facts of this node that do not change while the speaker runs.
#[derive(Debug, Clone)]
pub struct SpeakerConfig {
    /// Our autonomous system number, the same on all nodes of the fleet.
    pub asn: u32,
    /// BGP identifier (RFC 4271 4.2, RFC 6286): unique in the AS, not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// Addresses to accept sessions on. Empty: only outgoing sessions.
    pub listen: Vec<SocketAddr>,
    /// Restart time that we announce for graceful restart (RFC 4724), whole seconds; `None`: no graceful restart.
    pub restart_time: Option<Duration>,
    /// True when this start follows a run whose datapath still forwards: sets the R-bit and F-bit (RFC 4724 3)
    /// until End-of-RIB was sent. Never true after a host boot.
    pub restarting: bool,
    /// Longest time that a restarting speaker waits for a complete wanted set before it sends End-of-RIB.
    pub restart_defer: Duration,
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    pub address: IpAddr,
    /// Destination port for outgoing sessions; 179 unless said.
    pub port: u16,
    pub remote_asn: u32,
    /// Source address of outgoing sessions.
    pub local_address: Option<IpAddr>,
    pub ipv4_unicast: bool,
    pub ipv6_unicast: bool,
    /// Next hop for IPv4 NLRI; `None`: the session's local address when it is IPv4.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop for IPv6 NLRI; `None`: the session's local address when it is IPv6.
    pub next_hop_v6: Option<Ipv6Addr>,
    pub timers: Timers,
    /// Never dial, only accept.
    pub passive: bool,
    /// Hops to the neighbour; `None`: directly connected, TTL 255 sent (RFC 5082).
    pub multihop: Option<u8>,
    /// Drop packets of this session that arrive with a TTL below 255 (single hop) or 256 - hops (multihop).
    pub ttl_security: bool,
    /// TCP MD5 key (RFC 2385).
    pub md5_key: Option<Vec<u8>>,
    /// Operator's switch: false keeps the session down (Cease/2).
    pub enabled: bool,
}

/// Session timers, RFC 4271 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Proposed hold time: 0 or at least 3 s, whole seconds.
    pub hold: Duration,
    /// Keepalive interval when the negotiated hold time equals ours; otherwise a third of the negotiated.
    pub keepalive: Duration,
    /// Upper bound of the jittered exponential connect retry.
    pub connect_retry: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(9),
            keepalive: Duration::from_secs(3),
            connect_retry: Duration::from_secs(5),
        }
    }
}

/// RFC 1997 community, `asn:value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

/// RFC 8092 large community.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

/// What every node of the fleet says alike about one prefix, so that routers see equal paths.
/// ORIGIN is always IGP; AS_PATH is our ASN (eBGP) repeated `1 + prepend` times, or empty (iBGP).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteAttributes {
    pub communities: BTreeSet<Community>,
    pub large_communities: BTreeSet<LargeCommunity>,
    pub med: Option<u32>,
    pub prepend: u8,
    /// iBGP only; default 100 there.
    pub local_pref: Option<u32>,
}

/// The whole wanted state. Handing over the same value twice does nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Neighbours by their unique name.
    pub peers: BTreeMap<String, PeerConfig>,
    /// Prefixes to announce, and to which peers (`None`: all of the right family).
    pub routes: BTreeMap<IpNet, WantedRoute>,
    /// False while the caller still gathers facts after a restart: no End-of-RIB yet (bounded by `restart_defer`).
    pub complete: bool,
}

/// One prefix to announce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedRoute {
    pub attributes: RouteAttributes,
    /// Names of peers that get it; `None`: all.
    pub peers: Option<BTreeSet<String>>,
}
