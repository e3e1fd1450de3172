//! Contents that both ends can compute: a pseudo-random byte for every (seed, offset), so that a byte that was lost,
//! repeated, moved or taken from another connection is seen.

/// Fills `buffer` with the bytes that stand at `offset` of the stream of this seed.
pub(super) fn fill(seed: u64, offset: u64, buffer: &mut [u8]) {
    for (index, byte) in (offset..).zip(buffer.iter_mut()) {
        *byte = word(seed, index / 8).to_le_bytes()[(index % 8) as usize];
    }
}

/// Offset of the first wrong byte.
pub(super) fn check(seed: u64, offset: u64, bytes: &[u8]) -> Option<u64> {
    let right =
        |(index, byte): &(u64, &u8)| word(seed, index / 8).to_le_bytes()[(index % 8) as usize] == **byte;
    (offset..).zip(bytes).find(|pair| !right(pair)).map(|(index, _)| index)
}

/// SplitMix64 at a position.
fn word(seed: u64, index: u64) -> u64 {
    let x = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_and_any_wrong_byte_is_found() {
        let mut whole = [0; 100];
        fill(7, 0, &mut whole);
        let mut part = [0; 37];
        fill(7, 13, &mut part);
        assert_eq!(whole[13..50], part);
        assert_eq!(check(7, 13, &part), None);
        part[30] ^= 1;
        assert_eq!(check(7, 13, &part), Some(43));
        assert_eq!(check(8, 0, &whole), Some(0));
    }
}
