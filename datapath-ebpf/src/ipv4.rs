//! IPv4 packets: header (RFC 791), ports, service, and what becomes of a packet to a VIP that no service takes.

use datapath_common::abi::{Service, ServiceKey4, Vip, service_flag, vip_flag};
use datapath_common::checksum;
use datapath_common::counters::DropReason;
use datapath_common::hash::{self, Ports};
use datapath_common::wire::{IPV4_DF, IPV4_FRAGMENT, IPV4_LEN, TCP_LEN, UDP_LEN, proto};

use crate::forward::{Node, Packet, V4, forward};
use crate::frame::Frame;
use crate::icmp4::{self, Heard};
use crate::maps::{SERVICES4, VIPS4};
use crate::verdict::{Done, Exit};

/// The flow of a packet in the direction from client to VIP. Addresses and ports in memory order.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) client: u32,
    pub(crate) vip: u32,
    pub(crate) client_port: u16,
    pub(crate) vip_port: u16,
    pub(crate) proto: u8,
}

#[inline(always)]
pub(crate) fn handle(frame: &mut Frame, node: &Node, l3: usize) -> Result<Done, Exit> {
    let ip = frame.window::<IPV4_LEN>(l3).ok_or(Exit::Pass)?;
    let (first, total, fragment, proto) = (ip.u8::<0>(), ip.be16::<2>(), ip.be16::<6>(), ip.u8::<9>());
    let (src, dst) = (ip.get::<u32, 12>(), ip.get::<u32, 16>());
    let header = usize::from(first & 0x0f) * 4;
    let end = usize::from(total);
    if first >> 4 != 4 || header < IPV4_LEN || end < header || l3 + end > frame.len() {
        return Err(refuse(dst, DropReason::Malformed));
    }
    if fragment & IPV4_FRAGMENT != 0 {
        return Err(refuse(dst, DropReason::Fragment));
    }
    let (l4, payload) = (l3 + header, end - header);
    let ends = Ends { l4, payload, src, dst, proto: proto };
    let (flow, is_error) = match proto {
        proto::TCP => (ends.flow(frame, TCP_LEN)?, false),
        proto::UDP => (ends.flow(frame, UDP_LEN)?, false),
        proto::ICMP => match icmp4::handle(frame, node, icmp4::Message { l3, l4, payload, src, dst })? {
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
    let dont_fragment = fragment & IPV4_DF != 0;
    let (hash, slot_hash) = hashes(node, service, &flow);
    let packet = Packet { l3, total, is_error, dont_fragment, hash, slot_hash };
    forward::<V4>(frame, node, service, &packet)
}

/// A packet of a protocol with ports.
struct Ends {
    l4: usize,
    /// Length of the transport header and what follows.
    payload: usize,
    src: u32,
    dst: u32,
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
    lookup(ServiceKey4 {
        addr: flow.vip.to_ne_bytes(),
        port: flow.vip_port.to_ne_bytes(),
        proto: flow.proto,
        pad: 0,
    })
}

/// The any-port service of the VIP, when no exact one was found; else what the VIP's policy says, for `reason`.
#[inline(always)]
fn any_port(flow: &Flow, reason: DropReason) -> Result<&'static Service, Exit> {
    let vip = vip(flow.vip).ok_or(Exit::Pass)?;
    let flag = if flow.proto == proto::TCP { vip_flag::ANY_PORT_TCP } else { vip_flag::ANY_PORT_UDP };
    if vip.flags & flag != 0 {
        let key = ServiceKey4 { addr: flow.vip.to_ne_bytes(), port: [0, 0], proto: flow.proto, pad: 0 };
        if let Some(service) = lookup(key) {
            return Ok(service);
        }
    }
    Err(unwanted(vip, reason))
}

#[inline(always)]
fn lookup(key: ServiceKey4) -> Option<&'static Service> {
    // SAFETY: only the host replaces entries, and as a whole; a value that is recycled while it is read names another
    // valid service for one packet.
    unsafe { SERVICES4.get(key) }
}

#[inline(always)]
pub(crate) fn vip(addr: u32) -> Option<&'static Vip> {
    // SAFETY: as in `lookup`.
    unsafe { VIPS4.get(addr.to_ne_bytes()) }
}

/// Traffic to a VIP that nothing is defined for: its policy.
#[inline(always)]
pub(crate) fn unwanted(vip: &Vip, reason: DropReason) -> Exit {
    if vip.flags & vip_flag::PASS_UNDEFINED != 0 {
        Exit::PassUndefined(vip.index)
    } else {
        Exit::Drop(reason, vip.index)
    }
}

/// A packet of another protocol.
#[cold]
#[inline(never)]
fn undefined(dst: u32) -> Exit {
    match vip(dst) {
        Some(vip) => unwanted(vip, DropReason::Undefined),
        None => Exit::Pass,
    }
}

/// A packet that cannot be forwarded: dropped when it is for a VIP, else the kernel's.
#[cold]
#[inline(never)]
fn refuse(dst: u32, reason: DropReason) -> Exit {
    match vip(dst) {
        Some(vip) => Exit::Drop(reason, vip.index),
        None => Exit::Pass,
    }
}

/// Lowers the TTL by one (RFC 1812 section 5.3.1) and returns DSCP and ECN.
#[inline(always)]
pub(crate) fn hop(frame: &Frame, l3: usize) -> Result<u8, DropReason> {
    let ip = frame.window::<IPV4_LEN>(l3).ok_or(DropReason::Internal)?;
    let (ttl, word) = (ip.u8::<8>(), ip.be16::<8>());
    if ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    ip.put::<u8, 8>(ttl - 1);
    ip.put_be16::<10>(checksum::replace(ip.be16::<10>(), word, word - 0x0100));
    Ok(ip.u8::<1>())
}
