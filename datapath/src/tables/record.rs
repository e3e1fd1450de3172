//! From a resolved backend to its 64-byte record.

use std::net::IpAddr;

use datapath_common::abi::{self, backend_flag, forward};
use datapath_common::outer;

use crate::{Egress, Forwarding};

/// TTL and hop limit of outer headers (RFC 2003 section 3.1: enough to reach the far end).
const OUTER_TTL: u8 = 64;

/// The record of a backend behind `egress`, whose interface is in `slot` of the egress map. `bounce`: the interface may
/// send with XDP_TX. `None` when source and destination of the tunnel are of different families.
pub(super) fn record(egress: &Egress, slot: u32, bounce: bool) -> Option<abi::Backend> {
    let base = abi::Backend {
        flags: if bounce { backend_flag::TX } else { 0 },
        egress: slot,
        src_mac: egress.src_mac,
        dst_mac: egress.dst_mac,
        mtu: egress.mtu,
        ..abi::Backend::default()
    };
    match egress.forwarding {
        Forwarding::L2 => Some(abi::Backend { kind: forward::L2, ..base }),
        Forwarding::IpIp { source: IpAddr::V4(src), destination: IpAddr::V4(dst) } => Some(abi::Backend {
            kind: forward::IPIP_OUTER4,
            mtu: egress.mtu.saturating_sub(outer::IPV4_LEN as u16),
            outer_ttl: OUTER_TTL,
            csum_base: outer::ipv4_csum_base(src.octets(), dst.octets(), OUTER_TTL),
            outer_src: padded(src.octets()),
            outer_dst: padded(dst.octets()),
            ..base
        }),
        Forwarding::IpIp { source: IpAddr::V6(src), destination: IpAddr::V6(dst) } => Some(abi::Backend {
            kind: forward::IPIP_OUTER6,
            mtu: egress.mtu.saturating_sub(outer::IPV6_LEN as u16),
            outer_ttl: OUTER_TTL,
            outer_src: src.octets(),
            outer_dst: dst.octets(),
            ..base
        }),
        Forwarding::IpIp { .. } => None,
    }
}

fn padded(addr: [u8; 4]) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&addr);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(forwarding: Forwarding) -> Egress {
        Egress { forwarding, ifindex: 7, src_mac: [2, 0, 0, 0, 0, 1], dst_mac: [2, 0, 0, 0, 0, 2], mtu: 1500 }
    }

    fn ipip(source: &str, destination: &str) -> Forwarding {
        let parse = |s: &str| s.parse().expect("address");
        Forwarding::IpIp { source: parse(source), destination: parse(destination) }
    }

    #[test]
    fn mac_rewrite_keeps_the_whole_mtu() {
        let record = record(&egress(Forwarding::L2), 3, false).expect("legal");
        assert_eq!((record.kind, record.mtu, record.egress, record.flags), (forward::L2, 1500, 3, 0));
        assert_eq!((record.src_mac, record.dst_mac), ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn tunnels_leave_room_for_their_header() {
        let four = record(&egress(ipip("10.0.0.1", "56.56.56.1")), 0, true).expect("legal");
        assert_eq!((four.kind, four.mtu, four.flags), (forward::IPIP_OUTER4, 1480, backend_flag::TX));
        assert_eq!(four.outer_dst[..5], [56, 56, 56, 1, 0]);
        assert_eq!(four.csum_base, outer::ipv4_csum_base([10, 0, 0, 1], [56, 56, 56, 1], four.outer_ttl));
        let six = record(&egress(ipip("fd00::1", "fd00::2")), 0, false).expect("legal");
        assert_eq!((six.kind, six.mtu, six.csum_base), (forward::IPIP_OUTER6, 1460, 0));
        assert_eq!(six.outer_dst[15], 2);
    }

    #[test]
    fn mixed_families_have_no_record() {
        assert_eq!(record(&egress(ipip("10.0.0.1", "fd00::2")), 0, false), None);
    }
}
