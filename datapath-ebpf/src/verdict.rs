//! How the ingress program is done with a frame: every way out has a name, and the entry point maps each to an XDP
//! action and its counters.

use datapath_common::counters::DropReason;

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
