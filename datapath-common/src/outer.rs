//! The outer headers of IP-in-IP: RFC 2003 (4in4), RFC 4213 (6in4), RFC 2473 (4in6, 6in6).
//!
//! The outer IPv4 header has DF set and id 0. With DF the underlay reports a path that is too narrow instead of
//! fragmenting, and fragments would miss the real server's flow steering and double its loss; id 0 is legal because a
//! datagram that cannot be fragmented needs none (RFC 6864 section 4.1). DSCP and ECN are copied from the inner header
//! (RFC 6040 normal mode).

use crate::checksum;
use crate::wire::IPV4_DF;

/// Length of the outer IPv4 header.
pub const IPV4_LEN: usize = 20;
/// Length of the outer IPv6 header.
pub const IPV6_LEN: usize = 40;

/// One's complement sum of what is constant in the outer IPv4 header of a backend: all but protocol, DSCP/ECN and
/// total length.
pub const fn ipv4_csum_base(src: [u8; 4], dst: [u8; 4], ttl: u8) -> u16 {
    let fixed = 0x4500 + IPV4_DF as u32 + ((ttl as u32) << 8);
    checksum::fold(
        fixed
            + u16::from_be_bytes([src[0], src[1]]) as u32
            + u16::from_be_bytes([src[2], src[3]]) as u32
            + u16::from_be_bytes([dst[0], dst[1]]) as u32
            + u16::from_be_bytes([dst[2], dst[3]]) as u32,
    )
}

/// Checksum of the outer IPv4 header from its base and the fields that differ from packet to packet.
#[inline(always)]
pub const fn ipv4_checksum(base: u16, protocol: u8, tos: u8, total_len: u16) -> u16 {
    checksum::finish(base as u32 + protocol as u32 + tos as u32 + total_len as u32)
}

/// Flow label of the outer IPv6 header: the low bits of the flow hash (RFC 6438). The high bits choose the ring slot,
/// so the label is independent of the backend.
#[inline(always)]
pub const fn flow_label(hash: u64) -> u32 {
    hash as u32 & 0x000f_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_completes_to_a_valid_header() {
        for (tos, protocol, total) in [(0, 4, 40u16), (0xff, 41, 1500), (0xb8, 4, 65535)] {
            let (src, dst, ttl) = ([192, 0, 2, 1], [255, 255, 255, 254], 64);
            let [high, low] = total.to_be_bytes();
            let mut header =
                [0x45, tos, high, low, 0, 0, 0x40, 0, ttl, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            header[12..16].copy_from_slice(&src);
            header[16..20].copy_from_slice(&dst);
            let wanted = checksum::finish(checksum::sum(&header));
            assert_eq!(ipv4_checksum(ipv4_csum_base(src, dst, ttl), protocol, tos, total), wanted);
        }
    }

    #[test]
    fn the_flow_label_has_twenty_bits() {
        assert_eq!(flow_label(u64::MAX), 0xf_ffff);
        assert_eq!(flow_label(0xffff_ffff_fff0_0000), 0);
    }
}
