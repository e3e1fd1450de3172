//! IPv6 packets (RFC 8200): extension headers, ports, service, and what becomes of a packet that no service takes.

use datapath_common::abi::{Service, ServiceKey6, Vip, service_flag, vip_flag};
use datapath_common::counters::DropReason;
use datapath_common::hash::{self, Ports};
use datapath_common::wire::{IPV6_FRAGMENT, IPV6_LEN, TCP_LEN, UDP_LEN, proto};

use crate::extension::upper_layer;
use crate::forward::{Node, Packet, V6, forward};
use crate::frame::{Frame, Window};
use crate::icmp6;
use crate::maps::{SERVICES6, VIPS6};
use crate::verdict::{Done, Exit, Heard, refused};

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

/// Where a packet lies in the frame, and its header fields.
struct Header {
    l4: usize,
    /// Length of the upper-layer header and what follows.
    payload: usize,
    total: u16,
    src: Addr,
    dst: Addr,
    proto: u8,
}

#[inline(always)]
pub(crate) fn handle(frame: &mut Frame, node: &Node, l3: usize) -> Result<Done, Exit> {
    let ip = frame.window::<IPV6_LEN>(l3).ok_or(Exit::Pass)?;
    let dst = ip.addr6::<24, 32>();
    let header = match header(frame, ip, l3) {
        Ok(header) => header,
        Err(reason) => return Err(dismiss(dst, reason)),
    };
    let Header { l4, payload, src, .. } = header;
    let message = icmp6::Message { l3, l4, payload, src, dst };
    let read = match header.proto {
        proto::TCP => flow(frame, &header, TCP_LEN).map(Heard::Flow),
        proto::UDP => flow(frame, &header, UDP_LEN).map(Heard::Flow),
        proto::ICMPV6 => icmp6::read(frame, &message),
        _ => Err(DropReason::Undefined),
    };
    let (flow, is_error) = match read {
        Ok(Heard::Flow(flow)) => (flow, false),
        Ok(Heard::Error(flow)) => (flow, true),
        Ok(Heard::Echo) => return icmp6::echo(frame, node, &message),
        Err(reason) => return Err(dismiss(dst, reason)),
    };
    let service = match find(&flow) {
        Some(service) => service,
        None => any_port(&flow, is_error)?,
    };
    let (hash, slot_hash) = hashes(node, service, &flow);
    let packet = Packet { l3, total: header.total, is_error, hash, slot_hash };
    forward::<V6>(frame, node, service, packet)
}

#[inline(always)]
fn header(frame: &Frame, ip: Window<'_, IPV6_LEN>, l3: usize) -> Result<Header, DropReason> {
    let length = ip.be16::<4>();
    let end = l3 + IPV6_LEN + usize::from(length);
    // The total must fit the 16 bits that outer headers and records count in.
    let total = length.checked_add(IPV6_LEN as u16).ok_or(DropReason::Malformed)?;
    if ip.u8::<0>() >> 4 != 6 || end > frame.len() {
        return Err(DropReason::Malformed);
    }
    let upper = upper_layer(frame, ip.u8::<6>(), l3 + IPV6_LEN, IPV6_FRAGMENT)?;
    if upper.offset > end {
        return Err(DropReason::Malformed);
    }
    Ok(Header {
        l4: upper.offset,
        payload: end - upper.offset,
        total,
        src: ip.addr6::<8, 16>(),
        dst: ip.addr6::<24, 32>(),
        proto: upper.proto,
    })
}

/// The flow of a packet that has at least the `length` bytes of its protocol's header.
#[inline(always)]
fn flow(frame: &Frame, header: &Header, length: usize) -> Result<Flow, DropReason> {
    let ports = frame.window::<UDP_LEN>(header.l4).ok_or(DropReason::Malformed)?;
    if header.payload < length {
        return Err(DropReason::Malformed);
    }
    Ok(Flow {
        client: header.src,
        vip: header.dst,
        client_port: ports.get::<u16, 0>(),
        vip_port: ports.get::<u16, 2>(),
        proto: header.proto,
    })
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

/// The any-port service of the VIP, when no exact one was found.
#[inline(always)]
fn any_port(flow: &Flow, is_error: bool) -> Result<&'static Service, Exit> {
    let vip = vip(flow.vip).ok_or(Exit::Pass)?;
    let flag = if flow.proto == proto::TCP { vip_flag::ANY_PORT_TCP } else { vip_flag::ANY_PORT_UDP };
    if vip.flags & flag != 0
        && let Some(service) = lookup(flow, 0)
    {
        return Ok(service);
    }
    Err(refused(vip, if is_error { DropReason::IcmpNoService } else { DropReason::Undefined }))
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
    // SAFETY: both are 16 bytes, and every bit pattern is an array of bytes. Taking the halves apart byte by byte would
    // be written so by the compiler, too.
    unsafe { core::mem::transmute(addr) }
}

/// What becomes of a packet that cannot be forwarded.
#[inline(always)]
fn dismiss(dst: Addr, reason: DropReason) -> Exit {
    match vip(dst) {
        Some(vip) => refused(vip, reason),
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
