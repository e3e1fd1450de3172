//! Interfaces of the calling thread's network namespace, as the kernel tells them (rtnetlink RTM_GETLINK).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{recv, sendto, socket};

use super::Mode;

/// Largest message of a dump: the kernel fills buffers of at most 32 KiB.
const BUFFER: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Netdev {
    pub(crate) ifindex: u32,
    /// `None` where the link layer has no 6-byte address.
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) is_veth: bool,
    pub(crate) xdp: Option<Xdp>,
}

/// An attached XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Xdp {
    pub(crate) mode: Mode,
    pub(crate) program_id: u32,
}

/// All interfaces by name.
pub(crate) fn all() -> io::Result<BTreeMap<String, Netdev>> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(request));
    request.finalize();
    let mut out = vec![0; request.buffer_len()];
    request.serialize(&mut out);
    sendto(socket.as_raw_fd(), &out, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;

    let mut links = BTreeMap::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if !take(buffer.get(..len).unwrap_or_default(), &mut links)? {
            return Ok(links);
        }
    }
}

/// Reads the messages of one datagram; false after the last of the dump.
fn take(mut bytes: &[u8], links: &mut BTreeMap<String, Netdev>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(io::Error::other)?;
        let used = (message.header.length as usize).next_multiple_of(4).max(16);
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(false),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => links.extend(netdev(link)),
            _ => {}
        }
        bytes = bytes.get(used..).unwrap_or_default();
    }
    Ok(true)
}

fn netdev(link: LinkMessage) -> Option<(String, Netdev)> {
    let mut name = None;
    let mut dev = Netdev { ifindex: link.header.index, mac: None, is_veth: false, xdp: None };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(is) => name = Some(is),
            LinkAttribute::Address(address) => {
                dev.mac = <[u8; 6]>::try_from(address.as_slice()).ok();
            }
            LinkAttribute::LinkInfo(info) => {
                dev.is_veth = info.iter().any(|i| matches!(i, LinkInfo::Kind(InfoKind::Veth)));
            }
            LinkAttribute::Xdp(xdp) => dev.xdp = attached(&xdp),
            _ => {}
        }
    }
    Some((name?, dev))
}

fn attached(attributes: &[LinkXdp]) -> Option<Xdp> {
    let mut mode = None;
    let mut program_id = 0;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::None) => return None,
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(Mode::Generic),
            // Hardware offload and several at once are never ours; what matters is that something is there.
            LinkXdp::Attached(_) => mode = Some(Mode::Native),
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
                program_id = *id;
            }
            _ => {}
        }
    }
    mode.map(|mode| Xdp { mode, program_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there() {
        let links = all().expect("dump");
        let lo = links.get("lo").expect("every namespace has it");
        assert_eq!((lo.ifindex, lo.mac, lo.is_veth, lo.xdp), (1, Some([0; 6]), false, None));
    }

    #[test]
    fn attachments_are_told_apart() {
        let native = [LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7)];
        assert_eq!(attached(&native), Some(Xdp { mode: Mode::Native, program_id: 7 }));
        let generic = [LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::SkbProgId(8)];
        assert_eq!(attached(&generic), Some(Xdp { mode: Mode::Generic, program_id: 8 }));
        assert_eq!(attached(&[LinkXdp::Attached(XdpAttached::None)]), None);
    }
}
