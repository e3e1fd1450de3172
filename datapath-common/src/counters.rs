//! Counter ids. Each has a name that the command line and the metrics show; names never change their meaning.
//!
//! Every frame that an ingress interface received is counted as exactly one of passed, forwarded, echo-replied,
//! icmp-error-forwarded or a drop; too-big-sent comes in addition to the drop of the packet that was too big.

/// Counters of an ingress interface: verdicts first, then every reason for a drop.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IfaceCounter {
    /// Frames seen.
    Received,
    /// Passed to the kernel: not ours.
    Passed,
    /// Sent towards a backend (redirect or TX asked for; delivery shows in the device's own counters).
    Forwarded,
    /// ICMP echo answered.
    EchoReplied,
    /// ICMP too-big / fragmentation-needed sent to a client.
    TooBigSent,
    /// ICMP error from the network, steered to a backend by its quoted header.
    IcmpErrorForwarded,
    /// First drop reason; the others follow in the order of [`DropReason`].
    FirstDrop,
}

impl IfaceCounter {
    /// The counters before the drops, in order.
    pub const VERDICTS: [IfaceCounter; Self::FirstDrop as usize] = [
        Self::Received,
        Self::Passed,
        Self::Forwarded,
        Self::EchoReplied,
        Self::TooBigSent,
        Self::IcmpErrorForwarded,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Passed => "passed",
            Self::Forwarded => "forwarded",
            Self::EchoReplied => "echo-replied",
            Self::TooBigSent => "too-big-sent",
            Self::IcmpErrorForwarded => "icmp-error-forwarded",
            Self::FirstDrop => "drop",
        }
    }
}

/// Why a packet to a VIP was dropped.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Header or length fields contradict the frame.
    Malformed,
    /// Fragment of a packet to a VIP.
    Fragment,
    /// No service on that port or protocol (policy drop).
    Undefined,
    /// The pool has no usable backend.
    NoBackend,
    /// The backend's record is not resolved.
    BackendUnusable,
    /// TTL or hop limit would become zero.
    TtlExpired,
    /// Too large for the tunnel, and the ICMP error was sent instead.
    TooBig,
    /// Too large for the tunnel, and no ICMP error could or may be sent (rate limit, no DF).
    TooBigSilent,
    /// Echo request to a VIP that does not answer.
    EchoOff,
    /// ICMP to a VIP that is neither echo nor an error we can steer.
    IcmpUnhandled,
    /// ICMP error whose quoted packet belongs to no service.
    IcmpNoService,
    /// The kernel refused to grow or move the frame.
    Internal,
    /// More IPv6 extension headers than are parsed, or a routing header that has segments left.
    HeaderChain,
}

impl DropReason {
    pub const ALL: [DropReason; 13] = [
        Self::Malformed,
        Self::Fragment,
        Self::Undefined,
        Self::NoBackend,
        Self::BackendUnusable,
        Self::TtlExpired,
        Self::TooBig,
        Self::TooBigSilent,
        Self::EchoOff,
        Self::IcmpUnhandled,
        Self::IcmpNoService,
        Self::Internal,
        Self::HeaderChain,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::Undefined => "undefined",
            Self::NoBackend => "no-backend",
            Self::BackendUnusable => "backend-unusable",
            Self::TtlExpired => "ttl-expired",
            Self::TooBig => "too-big",
            Self::TooBigSilent => "too-big-silent",
            Self::EchoOff => "echo-off",
            Self::IcmpUnhandled => "icmp-unhandled",
            Self::IcmpNoService => "icmp-no-service",
            Self::Internal => "internal",
            Self::HeaderChain => "header-chain",
        }
    }
}

/// Length of an IFACE_STATS value.
pub const IFACE_COUNTERS: usize = IfaceCounter::FirstDrop as usize + DropReason::ALL.len();
/// Length of a VIP_STATS value: the drop reasons, then [`VIP_EXTRA_NAMES`].
pub const VIP_COUNTERS: usize = DropReason::ALL.len() + VIP_EXTRA_NAMES.len();
/// Index of echo replies in a VIP_STATS value.
pub const VIP_ECHO_REPLIED: usize = DropReason::ALL.len();
/// Index of too-big messages in a VIP_STATS value.
pub const VIP_TOO_BIG_SENT: usize = DropReason::ALL.len() + 1;
/// Index of undefined packets that the VIP's policy gave to the kernel.
pub const VIP_UNDEFINED_PASSED: usize = DropReason::ALL.len() + 2;
/// Names of what follows the drop reasons in a VIP_STATS value.
pub const VIP_EXTRA_NAMES: [&str; 3] = ["echo-replied", "too-big-sent", "undefined-passed"];

/// Counters of the decapsulation program: each received frame is counted as exactly one of the others.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecapCounter {
    /// Frames seen.
    Received,
    /// No tunnel packet to us: left alone.
    Passed,
    /// Outer header stripped, inner packet given to the kernel.
    Decapsulated,
    /// The outer source is no node of ours.
    DropSource,
    /// Fragment of a tunnel packet.
    DropFragment,
    /// Inner and outer lengths or versions contradict each other or the frame.
    DropMalformed,
    /// Congestion was marked on a packet that cannot carry the mark (RFC 6040 section 4.2).
    DropEcn,
    /// The kernel refused to shrink the frame.
    DropInternal,
}

impl DecapCounter {
    pub const ALL: [DecapCounter; 8] = [
        Self::Received,
        Self::Passed,
        Self::Decapsulated,
        Self::DropSource,
        Self::DropFragment,
        Self::DropMalformed,
        Self::DropEcn,
        Self::DropInternal,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Passed => "passed",
            Self::Decapsulated => "decapsulated",
            Self::DropSource => "drop-source",
            Self::DropFragment => "drop-fragment",
            Self::DropMalformed => "drop-malformed",
            Self::DropEcn => "drop-ecn",
            Self::DropInternal => "drop-internal",
        }
    }
}

/// Length of the DECAP_STATS value.
pub const DECAP_COUNTERS: usize = DecapCounter::ALL.len();
