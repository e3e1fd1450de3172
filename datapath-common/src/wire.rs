//! Numbers of the headers that the datapath reads and writes (IANA registries; RFC 791, 792, 4443, 8200).

pub const ETH_LEN: usize = 14;
pub const ETHERTYPE_IPV4: u16 = 0x0800;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Length of the fixed IPv6 header.
pub const IPV6_LEN: usize = 40;
/// Length of an ICMP or ICMPv6 header up to the quoted packet.
pub const ICMP_LEN: usize = 8;
/// Length of a TCP header without options.
pub const TCP_LEN: usize = 20;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
/// What an ICMP error quotes at least beyond the IP header (RFC 792).
pub const QUOTED_MIN: usize = 8;

/// "Don't fragment", in the flags and offset word.
pub const IPV4_DF: u16 = 0x4000;
/// "More fragments" and the offset: any of them set makes the packet a fragment.
pub const IPV4_FRAGMENT: u16 = 0x3fff;
/// Fragment offset alone.
pub const IPV4_OFFSET: u16 = 0x1fff;
/// "More fragments" and the offset in the IPv6 fragment header. None set: an atomic fragment (RFC 6946).
pub const IPV6_FRAGMENT: u16 = 0xfff9;
/// Fragment offset alone in the IPv6 fragment header.
pub const IPV6_OFFSET: u16 = 0xfff8;

pub mod proto {
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ICMPV6: u8 = 58;
}

/// IPv6 extension headers that are stepped over.
pub mod ext {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const DESTINATION: u8 = 60;
    /// How many are stepped over at most.
    pub const MAX: usize = 4;
}

pub mod icmp4 {
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const SOURCE_QUENCH: u8 = 4;
    pub const ECHO: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Code of [`UNREACHABLE`]: fragmentation needed and DF set (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Longest IP packet that carries an error (RFC 1812 section 4.3.2.3).
    pub const ERROR_MAX: usize = 576;

    /// Errors that quote a packet and belong to its sender.
    #[inline(always)]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }
}

pub mod icmp6 {
    pub const UNREACHABLE: u8 = 1;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    /// Longest IP packet that carries an error: the minimum MTU of IPv6 (RFC 4443 section 2.4 c).
    pub const ERROR_MAX: usize = 1280;

    /// Errors that quote a packet and belong to its sender.
    #[inline(always)]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | PACKET_TOO_BIG | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }
}

/// Smallest MTU of an IPv6 link (RFC 8200 section 5).
pub const IPV6_MIN_MTU: u16 = 1280;
/// TTL / hop limit of packets that the datapath makes itself.
pub const FRESH_TTL: u8 = 64;
/// DSCP of ICMP errors over IPv4: internetwork control (RFC 1812 section 4.3.2.5).
pub const ERROR_TOS: u8 = 0xc0;
