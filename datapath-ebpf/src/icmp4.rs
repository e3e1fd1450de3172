//! ICMP to an IPv4 VIP (RFC 792): echo is answered, errors of the network follow the packet that they quote.

use datapath_common::abi::vip_flag;
use datapath_common::checksum;
use datapath_common::counters::DropReason;
use datapath_common::wire::{ETH_LEN, FRESH_TTL, ICMP_LEN, IPV4_LEN, IPV4_OFFSET, QUOTED_MIN, icmp4, proto};

use crate::forward::Node;
use crate::frame::Frame;
use crate::ipv4::{self, Flow};
use crate::link::{Macs, send_back};
use crate::verdict::{Done, Exit, Heard};

/// Where an ICMP message lies, and the header fields that are needed with it.
pub(crate) struct Message {
    pub(crate) l3: usize,
    pub(crate) l4: usize,
    /// Length of the ICMP message.
    pub(crate) payload: usize,
    pub(crate) src: u32,
    pub(crate) dst: u32,
}

/// Reads a message; for all that cannot be steered, why it is dropped if it was for a VIP.
#[inline(always)]
pub(crate) fn read(frame: &Frame, message: &Message) -> Result<Heard<Flow>, DropReason> {
    let icmp = frame.window::<ICMP_LEN>(message.l4).ok_or(DropReason::Malformed)?;
    if message.payload < ICMP_LEN {
        return Err(DropReason::Malformed);
    }
    match icmp.u8::<0>() {
        icmp4::ECHO => Ok(Heard::Echo),
        kind if icmp4::is_error(kind) => quoted(frame, message).map(Heard::Error),
        _ => Err(DropReason::IcmpUnhandled),
    }
}

/// The flow that an error is about: the quoted packet went from VIP to client. Its IP header and 8 bytes suffice.
#[inline(always)]
fn quoted(frame: &Frame, message: &Message) -> Result<Flow, DropReason> {
    let start = message.l4 + ICMP_LEN;
    let ip = frame.window::<IPV4_LEN>(start).ok_or(DropReason::Malformed)?;
    let header = usize::from(ip.u8::<0>() & 0x0f) * 4;
    if ip.u8::<0>() >> 4 != 4 || header < IPV4_LEN || message.payload < ICMP_LEN + header + QUOTED_MIN {
        return Err(DropReason::Malformed);
    }
    let proto = ip.u8::<9>();
    let has_ports = matches!(proto, proto::TCP | proto::UDP) && ip.be16::<6>() & IPV4_OFFSET == 0;
    if !has_ports || ip.get::<u32, 12>() != message.dst {
        return Err(DropReason::IcmpNoService);
    }
    let ports = frame.window::<QUOTED_MIN>(start + header).ok_or(DropReason::Malformed)?;
    Ok(Flow {
        client: ip.get::<u32, 16>(),
        vip: message.dst,
        client_port: ports.get::<u16, 2>(),
        vip_port: ports.get::<u16, 0>(),
        proto,
    })
}

/// Turns a request into its reply. Identification, options and payload stay; the checksums are updated, so that a
/// request that was damaged on the way does not come back as a valid reply. Only VIPs that say so answer.
#[inline(always)]
pub(crate) fn echo(frame: &Frame, node: &Node, message: &Message) -> Result<Done, Exit> {
    let vip = ipv4::vip(message.dst).ok_or(Exit::Pass)?;
    if vip.flags & vip_flag::ECHO == 0 {
        return Err(Exit::Drop(DropReason::EchoOff, vip.index));
    }
    let internal = Exit::Drop(DropReason::Internal, vip.index);
    let eth = frame.window::<ETH_LEN>(0).ok_or(internal)?;
    let ip = frame.window::<IPV4_LEN>(message.l3).ok_or(internal)?;
    let icmp = frame.window::<ICMP_LEN>(message.l4).ok_or(internal)?;
    Macs::read(eth).swapped().write(eth);
    // Exchanging the addresses leaves the sum as it is.
    let word = ip.be16::<8>();
    ip.put::<u8, 8>(FRESH_TTL);
    ip.put_be16::<10>(checksum::replace(ip.be16::<10>(), word, ip.be16::<8>()));
    ip.put::<u32, 12>(message.dst);
    ip.put::<u32, 16>(message.src);
    let word = icmp.be16::<0>();
    icmp.put::<u8, 0>(icmp4::ECHO_REPLY);
    icmp.put_be16::<2>(checksum::replace(icmp.be16::<2>(), word, icmp.be16::<0>()));
    Ok(Done::EchoReplied(send_back(frame, node.iface), vip.index))
}
