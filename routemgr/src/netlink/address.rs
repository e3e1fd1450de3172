//! Addresses of interfaces, and the marks by which ours on `lo` are known again: IFA_PROTO (Linux 5.18) with our number,
//! and for IPv4 the label `lo:vipcast` as well, which older kernels have.
//!
//! Ours never become the source of the node's own connections: scope host for IPv4, preferred lifetime 0 (deprecated) for
//! IPv6. Traffic to them and replies from them are as with any other address.

use std::net::IpAddr;

use netlink_packet_route::address::{
    AddressAttribute, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::ROUTE_PROTOCOL;

const LABEL: &str = "lo:vipcast";
/// Lifetime "for ever" (INFINITY_LIFE_TIME, net/addrconf.h).
const FOREVER: u32 = u32::MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) prefix_length: u8,
    /// Carries our mark.
    pub(crate) marked: bool,
}

pub(crate) fn dump() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

/// Interface index, address, and what is known of it.
pub(crate) fn decode(message: &AddressMessage) -> Option<((u32, IpAddr), Address)> {
    let (mut address, mut local, mut marked) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(a) => address = Some(*a),
            // The interface's own end of a point-to-point link.
            AddressAttribute::Local(a) => local = Some(*a),
            AddressAttribute::Protocol(p) => marked |= u8::from(*p) == ROUTE_PROTOCOL,
            AddressAttribute::Label(label) => marked |= label == LABEL,
            _ => {}
        }
    }
    let prefix_length = message.header.prefix_len;
    Some(((message.header.index, local.or(address)?), Address { prefix_length, marked }))
}

/// The host address on the interface with this index (`lo`), with our marks: for RTM_NEWADDR and RTM_DELADDR.
pub(crate) fn host(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Protocol(AddressProtocol::Other(ROUTE_PROTOCOL)),
    ];
    match address {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.header.prefix_len = 32;
            message.header.scope = AddressScope::Host;
            message.attributes.push(AddressAttribute::Label(LABEL.into()));
        }
        IpAddr::V6(_) => {
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_valid = FOREVER;
            lifetime.ifa_preferred = 0;
            message.header.family = AddressFamily::Inet6;
            message.header.prefix_len = 128;
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
    }
    message
}
