//! IPv4 packets: header (RFC 791), ports, service, and what becomes of a packet to a VIP that no service takes.

use datapath_common::abi::{Service, ServiceKey4, Vip, service_flag, vip_flag};
use datapath_common::checksum;
use datapath_common::counters::DropReason;
use datapath_common::hash::{self, Ports};
use datapath_common::wire::{IPV4_FRAGMENT, IPV4_LEN, TCP_LEN, UDP_LEN, proto};

use crate::forward::{Node, Packet, V4, forward};
use crate::frame::{Frame, Window};
use crate::icmp4;
use crate::maps::{SERVICES4, VIPS4};
use crate::verdict::{Done, Exit, Heard, refused};

/// The flow of a packet in the direction from client to VIP. Addresses and ports in memory order.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) client: u32,
    pub(crate) vip: u32,
    pub(crate) client_port: u16,
    pub(crate) vip_port: u16,
    pub(crate) proto: u8,
}

/// Where a packet lies in the frame, and its header fields. Addresses in memory order.
struct Header {
    l4: usize,
    /// Length of what follows the IP header.
    payload: usize,
    total: u16,
    src: u32,
    dst: u32,
    proto: u8,
}

#[inline(always)]
pub(crate) fn handle(frame: &mut Frame, node: &Node, l3: usize) -> Result<Done, Exit> {
    let ip = frame.window::<IPV4_LEN>(l3).ok_or(Exit::Pass)?;
    let dst = ip.get::<u32, 16>();
    let header = match header(ip, l3, frame.len()) {
        Ok(header) => header,
        Err(reason) => return Err(dismiss(dst, reason)),
    };
    let Header { l4, payload, src, .. } = header;
    let message = icmp4::Message { l3, l4, payload, src, dst };
    let read = match header.proto {
        proto::TCP => flow(frame, &header, TCP_LEN).map(Heard::Flow),
        proto::UDP => flow(frame, &header, UDP_LEN).map(Heard::Flow),
        proto::ICMP => icmp4::read(frame, &message),
        _ => Err(DropReason::Undefined),
    };
    let (flow, is_error) = match read {
        Ok(Heard::Flow(flow)) => (flow, false),
        Ok(Heard::Error(flow)) => (flow, true),
        Ok(Heard::Echo) => return icmp4::echo(frame, node, &message),
        Err(reason) => return Err(dismiss(dst, reason)),
    };
    let service = match find(&flow) {
        Some(service) => service,
        None => any_port(&flow, is_error)?,
    };
    let (hash, slot_hash) = hashes(node, service, &flow);
    let packet = Packet { l3, total: header.total, is_error, hash, slot_hash };
    forward::<V4>(frame, node, service, packet)
}

#[inline(always)]
fn header(ip: Window<'_, IPV4_LEN>, l3: usize, frame_len: usize) -> Result<Header, DropReason> {
    let (first, total, fragment) = (ip.u8::<0>(), ip.be16::<2>(), ip.be16::<6>());
    let length = usize::from(first & 0x0f) * 4;
    let end = usize::from(total);
    if first >> 4 != 4 || length < IPV4_LEN || end < length || l3 + end > frame_len {
        return Err(DropReason::Malformed);
    }
    if fragment & IPV4_FRAGMENT != 0 {
        return Err(DropReason::Fragment);
    }
    Ok(Header {
        l4: l3 + length,
        payload: end - length,
        total,
        src: ip.get::<u32, 12>(),
        dst: ip.get::<u32, 16>(),
        proto: ip.u8::<9>(),
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
    let client = flow.client.to_ne_bytes();
    let ports =
        Ports { src: flow.client_port.to_ne_bytes(), dst: flow.vip_port.to_ne_bytes(), proto: flow.proto };
    let hash = hash::flow4(seed, client, flow.vip.to_ne_bytes(), ports);
    let by_source = service.flags & service_flag::HASH_SOURCE != 0;
    let slot_hash = if by_source { hash::source4(seed, client) } else { hash };
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
    let key =
        ServiceKey4 { addr: flow.vip.to_ne_bytes(), port: port.to_ne_bytes(), proto: flow.proto, pad: 0 };
    // SAFETY: only the host replaces entries, and as a whole; a value that is recycled while it is read names another
    // valid service for one packet.
    unsafe { SERVICES4.get(key) }
}

#[inline(always)]
pub(crate) fn vip(addr: u32) -> Option<&'static Vip> {
    // SAFETY: as in `lookup`.
    unsafe { VIPS4.get(addr.to_ne_bytes()) }
}

/// What becomes of a packet that cannot be forwarded.
#[inline(always)]
fn dismiss(dst: u32, reason: DropReason) -> Exit {
    match vip(dst) {
        Some(vip) => refused(vip, reason),
        None => Exit::Pass,
    }
}

/// Lowers the TTL by one (RFC 1812 section 5.3.1) and returns DSCP and ECN.
#[inline(always)]
pub(crate) fn hop(frame: &Frame, l3: usize) -> Result<u8, DropReason> {
    let ip = frame.window::<IPV4_LEN>(l3).ok_or(DropReason::Internal)?;
    let ttl = ip.u8::<8>();
    if ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    ip.put::<u8, 8>(ttl - 1);
    ip.put::<u16, 10>(checksum::lower_ttl(ip.get::<u16, 10>()));
    Ok(ip.u8::<1>())
}
