//! ICMPv6 to an IPv6 VIP (RFC 4443): echo is answered, errors of the network follow the packet that they quote.
//! Neighbour discovery is not for VIPs: they are on no interface.

use datapath_common::abi::vip_flag;
use datapath_common::checksum;
use datapath_common::counters::DropReason;
use datapath_common::wire::{ETH_LEN, FRESH_TTL, ICMP_LEN, IPV6_LEN, IPV6_OFFSET, QUOTED_MIN, icmp6, proto};

use crate::extension::upper_layer;
use crate::forward::Node;
use crate::frame::Frame;
use crate::ipv6::{self, Addr, Flow};
use crate::link::{Macs, send_back};
use crate::verdict::{Done, Exit, Heard};

/// Where an ICMPv6 message lies, and the header fields that are needed with it.
pub(crate) struct Message {
    pub(crate) l3: usize,
    pub(crate) l4: usize,
    /// Length of the ICMPv6 message.
    pub(crate) payload: usize,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
}

/// Reads a message; for all that cannot be steered, why it is dropped if it was for a VIP.
#[inline(always)]
pub(crate) fn read(frame: &Frame, message: &Message) -> Result<Heard<Flow>, DropReason> {
    let icmp = frame.window::<ICMP_LEN>(message.l4).ok_or(DropReason::Malformed)?;
    if message.payload < ICMP_LEN {
        return Err(DropReason::Malformed);
    }
    match icmp.u8::<0>() {
        icmp6::ECHO => Ok(Heard::Echo),
        kind if icmp6::is_error(kind) => quoted(frame, message).map(Heard::Error),
        _ => Err(DropReason::IcmpUnhandled),
    }
}

/// The flow that an error is about: the quoted packet went from VIP to client. Its headers and 8 bytes suffice.
#[inline(always)]
fn quoted(frame: &Frame, message: &Message) -> Result<Flow, DropReason> {
    let start = message.l4 + ICMP_LEN;
    let end = message.l4 + message.payload;
    let ip = frame.window::<IPV6_LEN>(start).ok_or(DropReason::Malformed)?;
    if ip.u8::<0>() >> 4 != 6 {
        return Err(DropReason::Malformed);
    }
    if ip.addr6::<8, 16>() != message.dst {
        return Err(DropReason::IcmpNoService);
    }
    // Only a later fragment has no ports.
    let upper = match upper_layer(frame, ip.u8::<6>(), start + IPV6_LEN, IPV6_OFFSET) {
        Ok(upper) => upper,
        Err(DropReason::Malformed) => return Err(DropReason::Malformed),
        Err(_) => return Err(DropReason::IcmpNoService),
    };
    if !matches!(upper.proto, proto::TCP | proto::UDP) {
        return Err(DropReason::IcmpNoService);
    }
    let ports = frame.window::<QUOTED_MIN>(upper.offset).ok_or(DropReason::Malformed)?;
    if upper.offset + QUOTED_MIN > end {
        return Err(DropReason::Malformed);
    }
    Ok(Flow {
        client: ip.addr6::<24, 32>(),
        vip: message.dst,
        client_port: ports.get::<u16, 2>(),
        vip_port: ports.get::<u16, 0>(),
        proto: upper.proto,
    })
}

/// Turns a request into its reply, as for IPv4.
#[inline(always)]
pub(crate) fn echo(frame: &Frame, node: &Node, message: &Message) -> Result<Done, Exit> {
    let vip = ipv6::vip(message.dst).ok_or(Exit::Pass)?;
    if vip.flags & vip_flag::ECHO == 0 {
        return Err(Exit::Drop(DropReason::EchoOff, vip.index));
    }
    let internal = Exit::Drop(DropReason::Internal, vip.index);
    let eth = frame.window::<ETH_LEN>(0).ok_or(internal)?;
    let ip = frame.window::<IPV6_LEN>(message.l3).ok_or(internal)?;
    let icmp = frame.window::<ICMP_LEN>(message.l4).ok_or(internal)?;
    Macs::read(eth).swapped().write(eth);
    ip.put::<u8, 7>(FRESH_TTL);
    ip.put_addr6::<8, 16>(message.dst);
    ip.put_addr6::<24, 32>(message.src);
    let word = icmp.be16::<0>();
    icmp.put::<u8, 0>(icmp6::ECHO_REPLY);
    // The pseudo-header's sum is the same in both directions.
    icmp.put_be16::<2>(checksum::replace(icmp.be16::<2>(), word, icmp.be16::<0>()));
    Ok(Done::EchoReplied(send_back(frame, node.iface), vip.index))
}
