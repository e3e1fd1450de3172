//! How the ingress program is done with a frame: every way out has a name, and the entry point maps each to an XDP
//! action and its counters.

use datapath_common::abi::{Vip, vip_flag};
use datapath_common::counters::DropReason;

/// What a packet is to the program, once it was read.
pub(crate) enum Heard<Flow> {
    /// A packet of this flow.
    Flow(Flow),
    /// An ICMP error about a packet of this flow: forwarded like the flow's own packets.
    Error(Flow),
    /// An echo request.
    Echo,
}

/// The frame leaves; the value is the XDP action that makes it.
#[derive(Clone, Copy)]
pub(crate) enum Done {
    /// To a backend.
    Forwarded(u32),
    /// ICMP error of the network, to the backend that its quoted packet came from.
    ErrorForwarded(u32),
    /// Turned into an echo reply of the VIP with this index.
    EchoReplied(u32, u32),
    /// Turned into an ICMP error of the VIP with this index: the packet was too big.
    TooBigSent(u32, u32),
}

/// The frame does not leave.
#[derive(Clone, Copy)]
pub(crate) enum Exit {
    /// Not ours: the kernel's.
    Pass,
    /// Undefined traffic to the VIP with this index, whose policy is to let the kernel have it.
    PassUndefined(u32),
    /// Dropped; it was for the VIP with this index.
    Drop(DropReason, u32),
}

/// What becomes of a packet to a VIP that was not taken for `reason`: traffic that nothing is defined for is the
/// kernel's when the VIP's policy says so.
#[inline(always)]
pub(crate) fn refused(vip: &Vip, reason: DropReason) -> Exit {
    let undefined =
        matches!(reason, DropReason::Undefined | DropReason::IcmpUnhandled | DropReason::IcmpNoService);
    if undefined && vip.flags & vip_flag::PASS_UNDEFINED != 0 {
        return Exit::PassUndefined(vip.index);
    }
    Exit::Drop(reason, vip.index)
}
