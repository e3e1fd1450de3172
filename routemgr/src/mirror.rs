//! What the kernel has told us: links, addresses and neighbours, kept by dumps and announcements. Pure.
//!
//! Routes are not mirrored: the kernel drops IPv4 routes without a word when an interface goes down or an address is
//! removed. An announcement only says what has to be read again ([`Dirty`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;

use crate::netlink::address::{self, Address};
use crate::netlink::link::{self, Link};
use crate::netlink::neighbour::{self, Neighbour, NeighbourKey};
use crate::netlink::route;
use crate::{RouteKey, diff};

/// The message of this kind, or out of the closure.
macro_rules! of {
    ($message:expr, $kind:ident) => {
        match $message {
            RouteNetlinkMessage::$kind(inner) => inner,
            _ => return None,
        }
    };
}

#[derive(Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) addresses: BTreeMap<(u32, IpAddr), Address>,
    pub(crate) neighbours: BTreeMap<NeighbourKey, Neighbour>,
}

/// What has to be read again, or worked out again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// Links, addresses and neighbours: announcements were lost.
    pub(crate) everything: bool,
    /// Our routes.
    pub(crate) routes: bool,
    /// Foreign routes with our keys.
    pub(crate) foreign: bool,
    pub(crate) host_addresses: bool,
    pub(crate) sysctls: bool,
    /// Ways of all addresses.
    pub(crate) all_ways: bool,
    /// Ways of these.
    pub(crate) ways: BTreeSet<IpAddr>,
    /// Next hops that just stopped answering: another question is due now.
    pub(crate) lost_hops: BTreeSet<NeighbourKey>,
    /// Links or neighbours changed: the outcome may, too.
    pub(crate) outcome: bool,
}

impl Dirty {
    pub(crate) fn all() -> Self {
        Self {
            everything: true,
            routes: true,
            foreign: false,
            host_addresses: true,
            sysctls: true,
            all_ways: true,
            outcome: true,
            ..Self::default()
        }
    }

    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The ways of all wanted addresses in the prefix.
    pub(crate) fn prefix(&mut self, prefix: IpNet, resolve: &BTreeSet<IpAddr>) {
        self.ways.extend(resolve.range(prefix.network()..=prefix.broadcast()));
    }
}

/// What of the announcements concerns the wanted set.
pub(crate) struct Interest<'a> {
    pub(crate) keys: &'a BTreeSet<RouteKey>,
    pub(crate) resolve: &'a BTreeSet<IpAddr>,
    /// Netlink port of our own changes.
    pub(crate) port: u32,
}

impl Mirror {
    pub(crate) fn index(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, _)| *index)
    }

    pub(crate) fn name(&self, index: u32) -> Option<String> {
        self.links.get(&index).map(|link| link.name.clone())
    }

    /// Takes one announcement made through netlink port `port`.
    pub(crate) fn absorb(
        &mut self,
        message: &RouteNetlinkMessage,
        port: u32,
        interest: &Interest,
        dirty: &mut Dirty,
    ) {
        use RouteNetlinkMessage as M;
        match message {
            M::NewLink(m) => {
                if let Some((index, link)) = link::decode(m)
                    && self.links.get(&index) != Some(&link)
                {
                    self.links.insert(index, link);
                    dirty.links();
                }
            }
            M::DelLink(m) => {
                if let Some((index, _)) = link::decode(m) {
                    self.forget_link(index);
                    dirty.links();
                }
            }
            M::NewAddress(m) | M::DelAddress(m) => self.absorb_address(message, m, dirty),
            M::NewNeighbour(m) => {
                if let Some((key, neighbour)) = neighbour::decode(m) {
                    self.set_neighbour(key, Some(neighbour), dirty);
                }
            }
            M::DelNeighbour(m) => {
                if let Some((key, _)) = neighbour::decode(m) {
                    self.set_neighbour(key, None, dirty);
                }
            }
            M::NewRoute(m) | M::DelRoute(m) => {
                if port != interest.port
                    && let Some(found) = route::decode(m, |_| None)
                {
                    let wanted = interest.keys.contains(&diff::canonical(&found.key));
                    dirty.routes |= wanted || route::is_ours(m);
                    dirty.foreign |= wanted && !route::is_ours(m);
                    dirty.prefix(found.key.prefix, interest.resolve);
                }
            }
            M::NewRule(_) | M::DelRule(_) => dirty.all_ways = true,
            _ => {}
        }
    }

    /// Takes the answer to a dump in place of all of its kind.
    pub(crate) fn replace_links(&mut self, dump: &[RouteNetlinkMessage]) {
        self.links = dump.iter().filter_map(|m| link::decode(of!(m, NewLink))).collect();
    }

    pub(crate) fn replace_addresses(&mut self, dump: &[RouteNetlinkMessage]) {
        self.addresses = dump.iter().filter_map(|m| address::decode(of!(m, NewAddress))).collect();
    }

    pub(crate) fn replace_neighbours(&mut self, dump: &[RouteNetlinkMessage]) {
        self.neighbours = dump.iter().filter_map(|m| neighbour::decode(of!(m, NewNeighbour))).collect();
    }

    fn absorb_address(
        &mut self,
        message: &RouteNetlinkMessage,
        inner: &netlink_packet_route::address::AddressMessage,
        dirty: &mut Dirty,
    ) {
        let Some((key, address)) = address::decode(inner) else { return };
        let changed = match message {
            RouteNetlinkMessage::NewAddress(_) => {
                self.addresses.insert(key, address.clone()) != Some(address)
            }
            _ => self.addresses.remove(&key).is_some(),
        };
        if changed {
            dirty.routes = true;
            dirty.host_addresses = true;
            dirty.all_ways = true;
        }
    }

    fn set_neighbour(&mut self, key: NeighbourKey, new: Option<Neighbour>, dirty: &mut Dirty) {
        let old = match new {
            Some(new) => self.neighbours.insert(key, new),
            None => self.neighbours.remove(&key),
        };
        // Whether it is being confirmed just now makes no difference to anybody.
        let outcome = |n: Option<Neighbour>| match n {
            Some(Neighbour::Usable { mac, .. }) => Some(Neighbour::Usable { mac, renewable: true }),
            other => other,
        };
        dirty.outcome |= outcome(old) != outcome(new);
        if matches!(old, Some(Neighbour::Usable { .. })) && !matches!(new, Some(Neighbour::Usable { .. })) {
            dirty.lost_hops.insert(key);
        }
    }

    fn forget_link(&mut self, index: u32) {
        self.links.remove(&index);
        self.addresses.retain(|(of, _), _| *of != index);
        self.neighbours.retain(|(of, _), _| *of != index);
    }
}

impl Dirty {
    fn links(&mut self) {
        self.routes = true;
        self.host_addresses = true;
        self.sysctls = true;
        self.all_ways = true;
        self.outcome = true;
    }
}
