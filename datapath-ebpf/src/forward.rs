//! From a service to a backend: ring slot, record, size, time to live, outer header, way out.

use aya_ebpf::bindings::xdp_action::XDP_TX;
use datapath_common::abi::{Backend, Config, Iface, Service, Slot, backend_flag, forward};
use datapath_common::counters::DropReason;
use datapath_common::hash;
use datapath_common::outer;
use datapath_common::wire::{ETH_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_DF, proto};

use crate::frame::Frame;
use crate::link::{Macs, send_back};
use crate::maps::{BACKENDS, EGRESS, RINGS};
use crate::stats::count_traffic;
use crate::verdict::{Done, Exit};

/// What the program knows of the node and the interface that it runs on.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) iface: &'static Iface,
    pub(crate) config: &'static Config,
}

/// A parsed packet for a service.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Where its IP header starts.
    pub(crate) l3: usize,
    /// Length of the IP packet, header included.
    pub(crate) total: u16,
    /// It is an ICMP error about a packet of the service: counted apart, and never answered with another error.
    pub(crate) is_error: bool,
    /// Hash of the flow.
    pub(crate) hash: u64,
    /// Hash that chooses the ring slot: of the flow, or of the source alone.
    pub(crate) slot_hash: u64,
}

/// Where a packet does not fit.
#[derive(Clone, Copy)]
pub(crate) struct Narrow {
    /// Largest IP packet that fits.
    pub(crate) mtu: u16,
    /// Index of the VIP that answers.
    pub(crate) vip: u32,
}

/// What differs between IPv4 and IPv6 for a packet on its way to a backend.
pub(crate) trait Family {
    /// Ethertype of the packet itself.
    const ETHERTYPE: u16;
    /// Protocol number of the packet inside an outer header.
    const TUNNELLED: u8;

    /// Lowers TTL or hop limit by one; returns DSCP and ECN.
    fn hop(frame: &Frame, l3: usize) -> Result<u8, DropReason>;

    /// Answers a packet that does not fit, or says why not.
    fn too_big(frame: &mut Frame, node: &Node, packet: &Packet, narrow: &Narrow) -> Result<(), DropReason>;
}

/// Sends the packet to the backend that its hash chooses.
#[inline(always)]
pub(crate) fn forward<F: Family>(
    frame: &mut Frame,
    node: &Node,
    service: &Service,
    packet: Packet,
) -> Result<Done, Exit> {
    let vip = service.vip_index;
    let dropped = |reason| Exit::Drop(reason, vip);
    let (index, backend) = choose(service, packet.slot_hash).map_err(dropped)?;
    if packet.total > backend.mtu {
        // Copies for the call, so that the rest of the path keeps its values in registers.
        let (node, packet, narrow) = (*node, packet, Narrow { mtu: backend.mtu, vip });
        let answered = match backend.kind {
            forward::NONE => Err(DropReason::BackendUnusable),
            _ => F::too_big(frame, &node, &packet, &narrow),
        };
        return match answered {
            Ok(()) => Ok(Done::TooBigSent(send_back(frame, node.iface), vip)),
            Err(reason) => Err(dropped(reason)),
        };
    }
    let tos = F::hop(frame, packet.l3).map_err(dropped)?;
    let written = match backend.kind {
        forward::IPIP_OUTER4 => outer4::<F>(frame, &packet, backend, tos),
        forward::IPIP_OUTER6 => outer6::<F>(frame, &packet, backend, tos),
        forward::L2 => l2::<F>(frame, &packet, backend),
        _ => Err(DropReason::BackendUnusable),
    };
    let action = written.and_then(|()| leave(backend)).map_err(dropped)?;
    count_traffic(service.index, index, packet.total.into());
    Ok(if packet.is_error { Done::ErrorForwarded(action) } else { Done::Forwarded(action) })
}

/// The record that a hash chooses, and its index.
#[inline(always)]
fn choose(service: &Service, slot_hash: u64) -> Result<(u32, &'static Backend), DropReason> {
    if service.ring_bits == 0 {
        return Err(DropReason::NoBackend);
    }
    let at = service.ring_base.wrapping_add(hash::slot(slot_hash, service.ring_bits));
    let slot = Slot(*RINGS.get(at).ok_or(DropReason::NoBackend)?);
    if slot.current() == Slot::EMPTY {
        return Err(DropReason::NoBackend);
    }
    let index = service.backend_base.wrapping_add(slot.current().into());
    Ok((index, BACKENDS.get(index).ok_or(DropReason::BackendUnusable)?))
}

#[inline(always)]
fn leave(backend: &Backend) -> Result<u32, DropReason> {
    if backend.flags & backend_flag::TX != 0 {
        return Ok(XDP_TX);
    }
    EGRESS.redirect(backend.egress, 0).map_err(|_| DropReason::BackendUnusable)
}

/// Puts a header of `LEN` bytes (Ethernet and outer IP) in place of the `l3` bytes in front of the packet.
#[inline(always)]
fn make_room<const LEN: usize>(frame: &mut Frame, l3: usize) -> Result<(), DropReason> {
    frame.move_head(l3 as i32 - LEN as i32).map_err(|_| DropReason::Internal)
}

#[inline(always)]
fn l2<F: Family>(frame: &mut Frame, packet: &Packet, backend: &Backend) -> Result<(), DropReason> {
    if packet.l3 != ETH_LEN {
        make_room::<ETH_LEN>(frame, packet.l3)?;
    }
    let out = frame.window::<ETH_LEN>(0).ok_or(DropReason::Internal)?;
    Macs::to_backend(backend).write(out);
    out.put_be16::<12>(F::ETHERTYPE);
    Ok(())
}

#[inline(always)]
fn outer4<F: Family>(
    frame: &mut Frame,
    packet: &Packet,
    backend: &Backend,
    tos: u8,
) -> Result<(), DropReason> {
    const LEN: usize = ETH_LEN + outer::IPV4_LEN;
    make_room::<LEN>(frame, packet.l3)?;
    let out = frame.window::<LEN>(0).ok_or(DropReason::Internal)?;
    // The record's MTU keeps the sum far below the limit of the field.
    let total = packet.total.wrapping_add(outer::IPV4_LEN as u16);
    Macs::to_backend(backend).write(out);
    out.put_be16::<12>(ETHERTYPE_IPV4);
    out.put_be16::<14>(0x4500 | u16::from(tos));
    out.put_be16::<16>(total);
    out.put_be16::<18>(0);
    out.put_be16::<20>(IPV4_DF);
    out.put::<u8, 22>(backend.outer_ttl);
    out.put::<u8, 23>(F::TUNNELLED);
    out.put_be16::<24>(outer::ipv4_checksum(backend.csum_base, F::TUNNELLED, tos, total));
    out.put::<u32, 26>(first4(backend.outer_src));
    out.put::<u32, 30>(first4(backend.outer_dst));
    Ok(())
}

#[inline(always)]
fn outer6<F: Family>(
    frame: &mut Frame,
    packet: &Packet,
    backend: &Backend,
    tos: u8,
) -> Result<(), DropReason> {
    const LEN: usize = ETH_LEN + outer::IPV6_LEN;
    make_room::<LEN>(frame, packet.l3)?;
    let out = frame.window::<LEN>(0).ok_or(DropReason::Internal)?;
    let first = 6 << 28 | u32::from(tos) << 20 | outer::flow_label(packet.hash);
    Macs::to_backend(backend).write(out);
    out.put_be16::<12>(ETHERTYPE_IPV6);
    out.put::<u32, 14>(first.to_be());
    out.put_be16::<18>(packet.total);
    out.put::<u8, 20>(F::TUNNELLED);
    out.put::<u8, 21>(backend.outer_ttl);
    out.put_addr6::<22, 30>(halves(backend.outer_src));
    out.put_addr6::<38, 46>(halves(backend.outer_dst));
    Ok(())
}

#[inline(always)]
fn first4(a: [u8; 16]) -> u32 {
    u32::from_ne_bytes([a[0], a[1], a[2], a[3]])
}

#[inline(always)]
fn halves(a: [u8; 16]) -> [u64; 2] {
    [
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}

/// IPv4 packets.
pub(crate) struct V4;
/// IPv6 packets.
pub(crate) struct V6;

impl Family for V4 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    const TUNNELLED: u8 = proto::IPIP;

    #[inline(always)]
    fn hop(frame: &Frame, l3: usize) -> Result<u8, DropReason> {
        crate::ipv4::hop(frame, l3)
    }

    #[inline(always)]
    fn too_big(frame: &mut Frame, node: &Node, packet: &Packet, narrow: &Narrow) -> Result<(), DropReason> {
        crate::too_big::answer4(frame, node, packet, narrow)
    }
}

impl Family for V6 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;
    const TUNNELLED: u8 = proto::IPV6;

    #[inline(always)]
    fn hop(frame: &Frame, l3: usize) -> Result<u8, DropReason> {
        crate::ipv6::hop(frame, l3)
    }

    #[inline(always)]
    fn too_big(frame: &mut Frame, node: &Node, packet: &Packet, narrow: &Narrow) -> Result<(), DropReason> {
        crate::too_big::answer6(frame, node, packet, narrow)
    }
}
