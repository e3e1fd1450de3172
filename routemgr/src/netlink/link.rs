//! Interfaces: RTM_NEWLINK to what the resolution needs of them.

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Switched on and with carrier (IFF_UP and IFF_LOWER_UP).
    pub(crate) running: bool,
    /// Hardware address of an Ethernet interface; `None` for all others and for loopback.
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: u32,
}

pub(crate) fn dump() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

/// Index and link; `None` for what bridges announce about their ports (AF_BRIDGE) in the same messages.
pub(crate) fn decode(message: &LinkMessage) -> Option<(u32, Link)> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let ethernet =
        message.header.link_layer_type == LinkLayerType::Ether && !flags.contains(LinkFlags::Noarp);
    let mut link = Link {
        name: String::new(),
        running: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mac: None,
        mtu: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) if ethernet => link.mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some((message.header.index, link))
}
