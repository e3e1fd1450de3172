//! What a peer gets: which of the wanted routes, and how their attributes look in this session.
//!
//! ORIGIN is always IGP. Towards another AS (eBGP) AS_PATH is our ASN `1 + prepend` times and LOCAL_PREF never goes out
//! (RFC 4271 5.1.5); inside our AS (iBGP) the path is empty and LOCAL_PREF always there. Nothing that was learned from
//! a peer can come out here: the only source is the caller's wanted set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{PeerConfig, RouteAttributes, Wanted, WantedRoute};
use crate::wire::{AttributeWriter, Family, writer};

/// LOCAL_PREF of a route that does not say, the default of every router.
const LOCAL_PREF: u32 = 100;

/// How attributes are written in one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoder {
    pub local_asn: u32,
    /// The peer is in our own AS.
    pub internal: bool,
    pub four_octet_asn: bool,
    pub next_hop_v4: Option<Ipv4Addr>,
    pub next_hop_v6: Option<Ipv6Addr>,
}

/// Why a route cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSendable {
    #[error("no next hop of its family")]
    NoNextHop,
    #[error("its attributes do not fit into one BGP message")]
    TooLong,
}

impl Encoder {
    /// The attribute section without MP_REACH_NLRI, and the next hop field for it (empty for IPv4).
    pub(crate) fn encode(
        &self,
        family: Family,
        attributes: &RouteAttributes,
    ) -> Result<(Vec<u8>, Vec<u8>), NotSendable> {
        let mut next_hop = Vec::new();
        let mut writer = AttributeWriter::default();
        let path = self.path(attributes);
        writer.origin(0).as_path(&path, self.four_octet_asn);
        match family {
            Family::Ipv4Unicast => {
                writer.next_hop(self.next_hop_v4.ok_or(NotSendable::NoNextHop)?);
            }
            Family::Ipv6Unicast => {
                let address = self.next_hop_v6.ok_or(NotSendable::NoNextHop)?;
                next_hop.extend_from_slice(&address.octets());
            }
        }
        if let Some(med) = attributes.med {
            writer.med(med);
        }
        if self.internal {
            writer.local_pref(attributes.local_pref.unwrap_or(LOCAL_PREF));
        }
        writer.communities(attributes.communities.iter().map(|community| community.0));
        if !self.four_octet_asn && writer::needs_as4_path(&path) {
            writer.as4_path(&path);
        }
        let large = attributes.large_communities.iter();
        writer.large_communities(large.map(|community| [community.0, community.1, community.2]));
        Ok((writer.finish().map_err(|_| NotSendable::TooLong)?, next_hop))
    }

    fn path(&self, attributes: &RouteAttributes) -> Vec<u32> {
        if self.internal { Vec::new() } else { vec![self.local_asn; 1 + usize::from(attributes.prepend)] }
    }
}

/// The next hops of a session: those of the configuration, or the session's own address.
pub fn next_hops(peer: &PeerConfig, local: IpAddr) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let (own_v4, own_v6) = match local.to_canonical() {
        IpAddr::V4(address) => (Some(address), None),
        IpAddr::V6(address) => (None, Some(address)),
    };
    (peer.next_hop_v4.or(own_v4), peer.next_hop_v6.or(own_v6))
}

/// Families worth offering: enabled, and with a next hop. (IPv4 routes over an IPv6 session need a configured one.)
pub fn families(peer: &PeerConfig) -> Vec<Family> {
    let over_v4 = peer.address.to_canonical().is_ipv4();
    let v4 = peer.ipv4_unicast && (over_v4 || peer.next_hop_v4.is_some());
    let v6 = peer.ipv6_unicast && (!over_v4 || peer.next_hop_v6.is_some());
    let offered = [(v4, Family::Ipv4Unicast), (v6, Family::Ipv6Unicast)];
    offered.into_iter().filter(|(offer, _)| *offer).map(|(_, family)| family).collect()
}

/// The wanted routes with attribute sets that are equal stored once: what sessions read.
#[derive(Debug, Clone, Default)]
pub struct Table {
    routes: BTreeMap<IpNet, TableRoute>,
}

#[derive(Debug, Clone)]
struct TableRoute {
    attributes: Arc<RouteAttributes>,
    peers: Option<Arc<BTreeSet<String>>>,
}

impl Table {
    /// The table for another wanted set, and the prefixes whose route differs, in order.
    pub fn next(&self, wanted: &Wanted) -> (Self, Vec<IpNet>) {
        let mut interned: BTreeSet<Arc<RouteAttributes>> = BTreeSet::new();
        let mut routes = BTreeMap::new();
        let mut changed = Vec::new();
        for (prefix, route) in &wanted.routes {
            let prefix = prefix.trunc();
            let same = self.routes.get(&prefix).filter(|known| known.says(route));
            let entry = match same {
                Some(known) => known.clone(),
                None => {
                    changed.push(prefix);
                    let attributes = interned.get(&route.attributes).cloned();
                    TableRoute {
                        attributes: attributes.unwrap_or_else(|| Arc::new(route.attributes.clone())),
                        peers: route.peers.clone().map(Arc::new),
                    }
                }
            };
            if !interned.contains(&entry.attributes) {
                interned.insert(entry.attributes.clone());
            }
            routes.insert(prefix, entry);
        }
        changed.extend(self.routes.keys().filter(|prefix| !routes.contains_key(prefix)));
        changed.sort_unstable();
        (Self { routes }, changed)
    }

    /// What the peer called `name` shall have for `prefix`.
    pub fn for_peer(&self, prefix: &IpNet, name: &str) -> Option<Arc<RouteAttributes>> {
        self.routes.get(prefix).filter(|route| route.is_for(name)).map(|route| route.attributes.clone())
    }

    /// Everything that the peer called `name` shall have.
    pub fn all_for_peer(&self, name: &str) -> impl Iterator<Item = (IpNet, Arc<RouteAttributes>)> {
        let routes = self.routes.iter().filter(move |(_, route)| route.is_for(name));
        routes.map(|(prefix, route)| (*prefix, route.attributes.clone()))
    }
}

impl TableRoute {
    fn says(&self, route: &WantedRoute) -> bool {
        *self.attributes == route.attributes && self.peers.as_deref() == route.peers.as_ref()
    }

    fn is_for(&self, name: &str) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.contains(name))
    }
}
