//! Maglev rings (Eisenbud et al., NSDI 2016) with a power-of-two size and an odd skip, so that every permutation is
//! full without a prime. A pure function of (seed, sorted identities and weights, size): no order of changes can matter.

use crate::BackendId;

/// Version of the algorithm: part of what nodes compare, so that a rolling upgrade cannot split flows.
pub const RING_VERSION: u32 = 1;

/// Builds a ring of `1 << bits` slots over `members` (identity, weight ≥ 1), which must be sorted by identity and free
/// of duplicates. Each slot holds a position in `members`. Empty when there are no members.
pub fn build(_seed: [u64; 2], _bits: u8, _members: &[(BackendId, u16)]) -> Vec<u16> {
    Vec::new()
}
