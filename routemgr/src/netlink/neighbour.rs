//! Neighbour entries (ARP, ND), and how to make the kernel keep them fresh without sending a packet of our own.
//!
//! Two requests cover all states, for IPv4 and IPv6 alike (net/core/neighbour.c, `neigh_add`):
//! - no entry, or FAILED: RTM_NEWNEIGH with NTF_USE. The kernel acts as if a packet wanted out: it makes the entry and
//!   sends a broadcast (multicast) solicitation at once.
//! - REACHABLE, STALE, DELAY: RTM_NEWNEIGH with state PROBE and no address. The kernel keeps the known address in use and
//!   sends unicast solicitations, one a second. A dead next hop is FAILED three seconds later; waiting for the kernel's own
//!   ageing takes up to a minute. The answer also keeps switches from forgetting a server that never sends on its own.
//!
//! INCOMPLETE and PROBE are under way already. PERMANENT and NOARP belong to somebody who set them: NTF_USE would strip
//! PERMANENT from an entry.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

/// Interface index and address.
pub(crate) type NeighbourKey = (u32, IpAddr);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// The address is known and may be used. `renewable`: the kernel would let us ask for a fresh confirmation now.
    Usable { mac: [u8; 6], renewable: bool },
    /// The question is out for the first time.
    Asked,
    /// No answer, or no entry.
    Failed,
    /// Entry without an Ethernet address (multicast, loopback, NOARP interfaces).
    NoAddress,
}

pub(crate) fn dump() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default())
}

/// `None` for bridge forwarding entries and proxies.
pub(crate) fn decode(message: &NeighbourMessage) -> Option<(NeighbourKey, Neighbour)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut address = None;
    let mut mac: Option<[u8; 6]> = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    use NeighbourState as S;
    let neighbour = match (message.header.state, mac) {
        (S::Reachable | S::Stale | S::Delay, Some(mac)) => Neighbour::Usable { mac, renewable: true },
        (S::Probe | S::Permanent, Some(mac)) => Neighbour::Usable { mac, renewable: false },
        (S::Incomplete, _) => Neighbour::Asked,
        (S::Failed | S::None, _) => Neighbour::Failed,
        _ => Neighbour::NoAddress,
    };
    Some(((message.header.ifindex, address?), neighbour))
}

/// The request, with its flags, that keeps this neighbour fresh; `None` when there is nothing to do.
pub(crate) fn refresh(key: NeighbourKey, now: Option<Neighbour>) -> Option<(RouteNetlinkMessage, u16)> {
    let mut message = NeighbourMessage::default();
    message.header.family = match key.1 {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = key.0;
    message.attributes = vec![NeighbourAttribute::Destination(key.1.into())];
    let flags = match now {
        None | Some(Neighbour::Failed) => {
            message.header.flags = NeighbourFlags::Use;
            NLM_F_CREATE
        }
        Some(Neighbour::Usable { renewable: true, .. }) => {
            message.header.state = NeighbourState::Probe;
            NLM_F_REPLACE
        }
        Some(_) => return None,
    };
    Some((RouteNetlinkMessage::NewNeighbour(message), flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: NeighbourState, mac: Option<[u8; 6]>) -> Option<Neighbour> {
        let mut m = NeighbourMessage::default();
        m.header.family = AddressFamily::Inet;
        m.header.ifindex = 3;
        m.header.state = state;
        m.attributes.push(NeighbourAttribute::Destination(IpAddr::from([10, 0, 0, 2]).into()));
        m.attributes.extend(mac.map(|m| NeighbourAttribute::LinkLayerAddress(m.to_vec())));
        decode(&m).map(|(key, n)| {
            assert_eq!(key, (3, IpAddr::from([10, 0, 0, 2])));
            n
        })
    }

    #[test]
    fn a_known_address_counts_while_it_is_being_confirmed() {
        let mac = [2, 0, 0, 0, 0, 1];
        for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay] {
            assert_eq!(entry(state, Some(mac)), Some(Neighbour::Usable { mac, renewable: true }));
        }
        assert_eq!(
            entry(NeighbourState::Probe, Some(mac)),
            Some(Neighbour::Usable { mac, renewable: false })
        );
        assert_eq!(entry(NeighbourState::Incomplete, None), Some(Neighbour::Asked));
        // The kernel still names the old address of an entry that failed.
        assert_eq!(entry(NeighbourState::Failed, Some(mac)), Some(Neighbour::Failed));
    }

    #[test]
    fn permanent_entries_and_open_questions_are_left_alone() {
        let mac = [2, 0, 0, 0, 0, 1];
        let key = (3, IpAddr::from([10, 0, 0, 2]));
        assert_eq!(refresh(key, entry(NeighbourState::Permanent, Some(mac))), None);
        assert_eq!(refresh(key, entry(NeighbourState::Probe, Some(mac))), None);
        assert_eq!(refresh(key, entry(NeighbourState::Incomplete, None)), None);
        assert_eq!(refresh(key, entry(NeighbourState::Noarp, Some(mac))), None);
        assert!(refresh(key, None).is_some());
        assert!(refresh(key, entry(NeighbourState::Failed, None)).is_some());
        assert!(refresh(key, entry(NeighbourState::Stale, Some(mac))).is_some());
    }
}
