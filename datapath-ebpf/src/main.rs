//! The XDP programs of vipcast.
//!
//! `vipcast_ingress` takes the frames of an interface that VIP traffic comes in on and sends them to real servers;
//! `vipcast_decap` opens them there; `vipcast_pass` lets a veth receive what is redirected to its peer. One file for each
//! path of a packet; the maps and all that the host must predict are in `datapath-common`.
//!
//! Every function is inlined unless it is rare: the hot path has one hash lookup, no clock, no FIB and no tail call.
#![no_std]
#![no_main]
// Stable enough: the BPF crate that this one stands on needs it too.
#![feature(asm_experimental_arch)]

mod decap;
mod extension;
mod forward;
mod frame;
mod icmp4;
mod icmp6;
mod ipv4;
mod ipv6;
mod link;
mod maps;
mod stats;
mod too_big;
mod verdict;

use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use datapath_common::counters::{
    DecapCounter, DropReason, IfaceCounter, VIP_ECHO_REPLIED, VIP_TOO_BIG_SENT, VIP_UNDEFINED_PASSED,
};
use datapath_common::wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

use crate::forward::Node;
use crate::frame::Frame;
use crate::maps::{CONFIG, IFACES};
use crate::stats::{IfaceStats, count_decap, count_vip, count_vip_drop};
use crate::verdict::{Done, Exit};

/// Slot of the ingress interface in IFACES and IFACE_STATS; set by the loader, once per interface.
#[unsafe(no_mangle)]
static IFACE_SLOT: Global<u32> = Global::new(0);

#[xdp]
fn vipcast_ingress(ctx: XdpContext) -> u32 {
    let slot = IFACE_SLOT.load();
    let Some(stats) = IfaceStats::of(slot) else {
        return XDP_PASS;
    };
    stats.count(IfaceCounter::Received);
    match ingress(&mut Frame::new(ctx.ctx), slot) {
        Ok(Done::Forwarded(action)) => {
            stats.count(IfaceCounter::Forwarded);
            action
        }
        Ok(Done::ErrorForwarded(action)) => {
            stats.count(IfaceCounter::IcmpErrorForwarded);
            action
        }
        Ok(Done::EchoReplied(action, vip)) => {
            stats.count(IfaceCounter::EchoReplied);
            count_vip(vip, VIP_ECHO_REPLIED);
            action
        }
        Ok(Done::TooBigSent(action, vip)) => {
            stats.count(IfaceCounter::TooBigSent);
            stats.count_drop(DropReason::TooBig);
            count_vip(vip, VIP_TOO_BIG_SENT);
            count_vip_drop(vip, DropReason::TooBig);
            action
        }
        Err(Exit::Pass) => {
            stats.count(IfaceCounter::Passed);
            XDP_PASS
        }
        Err(Exit::PassUndefined(vip)) => {
            stats.count(IfaceCounter::Passed);
            count_vip(vip, VIP_UNDEFINED_PASSED);
            XDP_PASS
        }
        Err(Exit::Drop(reason, vip)) => {
            stats.count_drop(reason);
            count_vip_drop(vip, reason);
            XDP_DROP
        }
    }
}

#[inline(always)]
fn ingress(frame: &mut Frame, slot: u32) -> Result<Done, Exit> {
    let node = Node { iface: IFACES.get(slot).ok_or(Exit::Pass)?, config: CONFIG.get(0).ok_or(Exit::Pass)? };
    let link = link::parse(frame, node.iface)?;
    match link.ethertype {
        ETHERTYPE_IPV4 => ipv4::handle(frame, &node, link.l3),
        ETHERTYPE_IPV6 => ipv6::handle(frame, &node, link.l3),
        _ => Err(Exit::Pass),
    }
}

#[xdp]
fn vipcast_pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

#[xdp]
fn vipcast_decap(ctx: XdpContext) -> u32 {
    let outcome = decap::open(&mut Frame::new(ctx.ctx));
    let (counter, action) = match outcome {
        Ok(()) => (DecapCounter::Decapsulated, XDP_PASS),
        Err(DecapCounter::Passed) => (DecapCounter::Passed, XDP_PASS),
        Err(dropped) => (dropped, XDP_DROP),
    };
    count_decap(DecapCounter::Received);
    count_decap(counter);
    action
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a reachable infinite loop, so no path of a loaded program ends here.
    loop {}
}
