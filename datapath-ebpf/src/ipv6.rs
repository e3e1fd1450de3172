//! IPv6 packets (RFC 8200): extension headers, ports, service, and what becomes of a packet that no service takes.

use datapath_common::abi::{Service, ServiceKey6, Vip, service_flag, vip_flag};
use datapath_common::counters::DropReason;
use datapath_common::hash::{self, Ports};
use datapath_common::wire::{IPV6_FRAGMENT, IPV6_LEN, TCP_LEN, UDP_LEN, proto};

use crate::extension::upper_layer;
use crate::forward::{Node, Packet, V6, forward};
use crate::frame::Frame;
use crate::icmp6::{self, Heard};
use crate::maps::{SERVICES6, VIPS6};
use crate::verdict::{Done, Exit};

/// An address as two halves in memory order.
pub(crate) type Addr = [u64; 2];

/// The flow of a packet in the direction from client to VIP. Addresses and ports in memory order.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) client: Addr,
    pub(crate) vip: Addr,
    pub(crate) client_port: u16,
    pub(crate) vip_port: u16,
    pub(crate) proto: u8,
}

#[inline(always)]
pub(crate) fn handle(frame: &mut Frame, node: &Node, l3: usize) -> Result<Done, Exit> {
    let ip = frame.window::<IPV6_LEN>(l3).ok_or(Exit::Pass)?;
    let (first, length, next) = (ip.u8::<0>(), ip.be16::<4>(), ip.u8::<6>());
    let (src, dst) = (ip.addr6::<8, 16>(), ip.addr6::<24, 32>());
    let end = l3 + IPV6_LEN + usize::from(length);
    // The total must fit the 16 bits that the outer header and the records count in.
    let Some(total) = length.checked_add(IPV6_LEN as u16) else {
        return Err(refuse(dst, DropReason::Malformed));
    };
    if first >> 4 != 6 || end > frame.len() {
        return Err(refuse(dst, DropReason::Malformed));
    }
    let upper = match upper_layer(frame, next, l3 + IPV6_LEN, IPV6_FRAGMENT) {
        Ok(upper) if upper.offset <= end => upper,
        Ok(_) => return Err(refuse(dst, DropReason::Malformed)),
        Err(reason) => return Err(refuse(dst, reason)),
    };
    let (l4, payload) = (upper.offset, end - upper.offset);
    let ends = Ends { l4, payload, src, dst, proto: upper.proto };
    let (flow, is_error) = match upper.proto {
        proto::TCP => (ends.flow(frame, TCP_LEN)?, false),
        proto::UDP => (ends.flow(frame, UDP_LEN)?, false),
        proto::ICMPV6 => match icmp6::handle(frame, node, icmp6::Message { l3, l4, payload, src, dst })? {
            Heard::Error(flow) => (flow, true),
            Heard::Answered(done) => return Ok(done),
        },
        _ => return Err(undefined(dst)),
    };
    let service = match find(&flow) {
        Some(service) => service,
        None if is_error => any_port(&flow, DropReason::IcmpNoService)?,
        None => any_port(&flow, DropReason::Undefined)?,
    };
    let dont_fragment = true;
    let (hash, slot_hash) = hashes(node, service, &flow);
    let packet = Packet { l3, total, is_error, dont_fragment, hash, slot_hash };
    forward::<V6>(frame, node, service, &packet)
}

/// A packet of a protocol with ports.
struct Ends {
    l4: usize,
    /// Length of the transport header and what follows.
    payload: usize,
    src: Addr,
    dst: Addr,
    proto: u8,
}

impl Ends {
    /// Its flow, if the packet has at least the `header` bytes of its protocol.
    #[inline(always)]
    fn flow(&self, frame: &Frame, header: usize) -> Result<Flow, Exit> {
        let ports = frame.window::<UDP_LEN>(self.l4).filter(|_| self.payload >= header);
        let Some(ports) = ports else {
            return Err(refuse(self.dst, DropReason::Malformed));
        };
        Ok(Flow {
            client: self.src,
            vip: self.dst,
            client_port: ports.get::<u16, 0>(),
            vip_port: ports.get::<u16, 2>(),
            proto: self.proto,
        })
    }
}

/// Hash of the flow, and the one that chooses the ring slot.
#[inline(always)]
fn hashes(node: &Node, service: &Service, flow: &Flow) -> (u64, u64) {
    let seed = node.config.seed;
    let client = bytes(flow.client);
    let ports =
        Ports { src: flow.client_port.to_ne_bytes(), dst: flow.vip_port.to_ne_bytes(), proto: flow.proto };
    let hash = hash::flow6(seed, client, bytes(flow.vip), ports);
    let by_source = service.flags & service_flag::HASH_SOURCE != 0;
    let slot_hash = if by_source { hash::source6(seed, client) } else { hash };
    (hash, slot_hash)
}

/// The service of exactly this address, port and protocol.
#[inline(always)]
fn find(flow: &Flow) -> Option<&'static Service> {
    lookup(flow, flow.vip_port)
}

/// The any-port service of the VIP, when no exact one was found; else what the VIP's policy says, for `reason`.
#[inline(always)]
fn any_port(flow: &Flow, reason: DropReason) -> Result<&'static Service, Exit> {
    let vip = vip(flow.vip).ok_or(Exit::Pass)?;
    let flag = if flow.proto == proto::TCP { vip_flag::ANY_PORT_TCP } else { vip_flag::ANY_PORT_UDP };
    if vip.flags & flag != 0
        && let Some(service) = lookup(flow, 0)
    {
        return Ok(service);
    }
    Err(unwanted(vip, reason))
}

#[inline(always)]
fn lookup(flow: &Flow, port: u16) -> Option<&'static Service> {
    let key = ServiceKey6 { addr: bytes(flow.vip), port: port.to_ne_bytes(), proto: flow.proto, pad: 0 };
    // SAFETY: only the host replaces entries, and as a whole; a value that is recycled while it is read names another
    // valid service for one packet.
    unsafe { SERVICES6.get(key) }
}

#[inline(always)]
pub(crate) fn vip(addr: Addr) -> Option<&'static Vip> {
    // SAFETY: as in `lookup`.
    unsafe { VIPS6.get(bytes(addr)) }
}

#[inline(always)]
fn bytes(addr: Addr) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h] = addr[0].to_ne_bytes();
    let [i, j, k, l, m, n, o, p] = addr[1].to_ne_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// Traffic to a VIP that nothing is defined for: its policy.
#[inline(always)]
pub(crate) fn unwanted(vip: &Vip, reason: DropReason) -> Exit {
    crate::ipv4::unwanted(vip, reason)
}

/// A packet of another protocol.
#[cold]
#[inline(never)]
fn undefined(dst: Addr) -> Exit {
    match vip(dst) {
        Some(vip) => unwanted(vip, DropReason::Undefined),
        None => Exit::Pass,
    }
}

/// A packet that cannot be forwarded: dropped when it is for a VIP, else the kernel's.
#[cold]
#[inline(never)]
fn refuse(dst: Addr, reason: DropReason) -> Exit {
    match vip(dst) {
        Some(vip) => Exit::Drop(reason, vip.index),
        None => Exit::Pass,
    }
}

/// Lowers the hop limit by one and returns DSCP and ECN.
#[inline(always)]
pub(crate) fn hop(frame: &Frame, l3: usize) -> Result<u8, DropReason> {
    let ip = frame.window::<IPV6_LEN>(l3).ok_or(DropReason::Internal)?;
    let limit = ip.u8::<7>();
    if limit <= 1 {
        return Err(DropReason::TtlExpired);
    }
    ip.put::<u8, 7>(limit - 1);
    Ok((ip.be16::<0>() >> 4) as u8)
}
