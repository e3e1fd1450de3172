//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are of 16-bit words read in network order. All arithmetic is one's complement with the end-around carry:
//! patching a checksum by plain addition is wrong for one packet in some thousands.

/// Folds the carries of a sum of up to 2^16 words into 16 bits.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The checksum field for a sum of all other words.
#[inline(always)]
pub const fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// The checksum after one of the covered words changed from `old` to `new` (RFC 1624 equation 3).
#[inline(always)]
pub const fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    !fold((!checksum) as u32 + (!old) as u32 + new as u32)
}

/// The checksum field of an IPv4 header after its TTL went down by one. Takes and returns the field as it lies in
/// memory: one's complement arithmetic does not care for byte order, only the constant does. (Equation 3 of RFC 1624;
/// the old and the new word cancel but for the difference of one TTL.)
#[inline(always)]
pub const fn lower_ttl(field: u16) -> u16 {
    let sum = (!field) as u32 + 0xfeff_u16.to_be() as u32;
    !((sum + (sum >> 16)) as u16)
}

/// Sum of bytes as words in network order; an odd last byte counts as the high half of a word.
pub fn sum(bytes: &[u8]) -> u32 {
    let mut total = 0;
    for pair in bytes.chunks(2) {
        let low = if pair.len() == 2 { pair[1] } else { 0 };
        total = fold(total + u16::from_be_bytes([pair[0], low]) as u32) as u32;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_a_known_header() {
        // The example of RFC 1071 section 3: words 0001 f203 f4f5 f6f7 sum to ddf2.
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(finish(0xddf2), 0x220d);
        assert_eq!(sum(&[0xab]), 0xab00);
    }

    #[test]
    fn update_passes_the_corner_case_of_rfc1624() {
        // RFC 1624 section 4: 0xdd2f, word 0x5555 -> 0x3285 must give 0x0000, not 0xffff.
        assert_eq!(replace(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn ttl_update_is_the_general_one_for_every_checksum() {
        for word in [0x0206u16, 0x4011, 0xff06] {
            for checksum in 0..=u16::MAX {
                let wanted = replace(checksum, word, word - 0x0100);
                assert_eq!(u16::from_be(lower_ttl(checksum.to_be())), wanted, "{word:#x} {checksum:#x}");
            }
        }
    }

    #[test]
    fn update_agrees_with_summing_again_for_every_word() {
        let mut header =
            [0x45u8, 0, 0, 60, 0x1c, 0x46, 0x40, 0, 64, 6, 0, 0, 172, 16, 10, 99, 172, 16, 10, 12];
        let before = finish(sum(&header));
        let old = u16::from_be_bytes([header[8], header[9]]);
        for new in 0..=u16::MAX {
            [header[8], header[9]] = new.to_be_bytes();
            assert_eq!(replace(before, old, new), finish(sum(&header)), "word {new:#x}");
        }
    }
}
