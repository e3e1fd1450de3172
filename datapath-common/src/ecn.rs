//! Explicit congestion notification across a tunnel: RFC 6040, normal mode at the ingress, section 4.2 at the egress.
//! The values are the two low bits of the IPv4 DSCP/ECN byte and of the IPv6 traffic class.

/// Mask of the ECN field.
pub const MASK: u8 = 0b11;
/// The transport does not understand congestion marks.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable transport, codepoint 1.
pub const ECT1: u8 = 0b01;
/// ECN-capable transport, codepoint 0.
pub const ECT0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// The inner DSCP/ECN byte after decapsulation, or `None` when the packet must be dropped: congestion was marked on
/// the outside, and the inner transport could not learn of it (RFC 6040 figure 4).
#[inline(always)]
pub const fn decapsulate(inner: u8, outer: u8) -> Option<u8> {
    let ecn = match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (ECT0, ECT1) => ECT1,
        (unchanged, _) => unchanged,
    };
    Some(inner & !MASK | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decapsulation_is_the_table_of_rfc6040() {
        let outer = [NOT_ECT, ECT0, ECT1, CE];
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT0, [Some(ECT0), Some(ECT0), Some(ECT1), Some(CE)]),
            (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in table {
            for (outer, wanted) in outer.into_iter().zip(row) {
                let dscp = 0b1011_1000;
                assert_eq!(decapsulate(dscp | inner, outer), wanted.map(|ecn| dscp | ecn));
            }
        }
    }
}
