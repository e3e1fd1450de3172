//! What the speaker says of itself: a plain value, published whole after each change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

/// RFC 4271 8.2.2 states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    pub address: IpAddr,
    pub state: PeerState,
    pub since: SystemTime,
    /// Times that the session left Established.
    pub flaps: u64,
    /// Why the last session ended or the last attempt failed, in an operator's words.
    pub last_error: Option<String>,
    pub remote_router_id: Option<Ipv4Addr>,
    pub hold_time: Option<Duration>,
    /// Families negotiated, graceful restart of the peer, and so on, as short names ("ipv4-unicast", "route-refresh", …).
    pub capabilities: Vec<String>,
    pub messages_received: u64,
    pub messages_sent: u64,
    /// Adj-RIB-out: what this peer was sent and has not been withdrawn.
    pub advertised: BTreeMap<IpNet, RouteStatus>,
    /// Routes received, all rejected by the closed import policy (RFC 8212), counted only.
    pub received_prefixes: u64,
    /// End-of-RIB was sent for every negotiated family.
    pub end_of_rib_sent: bool,
}

/// One entry of an adj-RIB-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteStatus {
    /// When the kernel accepted the last byte of the UPDATE.
    pub sent_at: SystemTime,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpeakerStatus {
    pub peers: BTreeMap<String, PeerStatus>,
    /// When the kernel had accepted the last byte of the last withdraw of each prefix, over all peers. (Announces:
    /// [`RouteStatus::sent_at`].) The newest 65536 are kept.
    pub last_withdrawn: BTreeMap<IpNet, SystemTime>,
    /// Connections refused because they came from no configured peer, or too fast.
    pub rejected_connections: u64,
}
