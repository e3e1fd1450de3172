//! Counter ids. Each has a name that the command line and the metrics show; names never change their meaning.

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
}

impl DropReason {
    pub const ALL: [DropReason; 12] = [
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
        }
    }
}

/// Length of an IFACE_STATS value.
pub const IFACE_COUNTERS: usize = IfaceCounter::FirstDrop as usize + DropReason::ALL.len();
/// Length of a VIP_STATS value: the drop reasons, then echo replies and too-bigs.
pub const VIP_COUNTERS: usize = DropReason::ALL.len() + 2;
/// Index of echo replies in a VIP_STATS value.
pub const VIP_ECHO_REPLIED: usize = DropReason::ALL.len();
/// Index of too-big messages in a VIP_STATS value.
pub const VIP_TOO_BIG_SENT: usize = DropReason::ALL.len() + 1;
