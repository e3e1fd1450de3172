//! Maglev rings (Eisenbud et al., NSDI 2016) with a power-of-two size and an odd skip, so that every permutation is
//! full without a prime. A pure function of (seed, sorted identities and weights, size): no order of changes can matter.
//!
//! One thing differs from the paper. There a member whose turn it is walks on until it finds a free slot; here it looks
//! at one slot and takes it if it is free. A slot so belongs to the member that has it earliest in its permutation,
//! whatever the others do, and when a member leaves the survivors keep what they have. The paper's walk gives exact
//! shares and pays with moves among survivors (twice to six times the slots of the member that left); here shares are
//! kept within 1 % or one slot of the weight's by two bounds, and only slots that a bound forbids move.
//!
//! A change of anything that [`build`] returns is a change of [`RING_VERSION`]: the known-answer test guards it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;

use crate::BackendId;

/// Version of the algorithm: part of what nodes compare, so that a rolling upgrade cannot split flows.
pub const RING_VERSION: u32 = 1;

/// Ring size of a pool that says nothing else: 16384 slots.
pub const DEFAULT_RING_BITS: u8 = 14;
/// Largest ring: 1,048,576 slots.
pub const MAX_RING_BITS: u8 = 20;
/// Slots that a ring has at least for each backend it may hold.
pub const SLOTS_PER_BACKEND: u32 = 100;

/// Ring size of a pool that may grow to `max_backends`: the smallest power of two with at least
/// [`SLOTS_PER_BACKEND`] slots for each, never below [`DEFAULT_RING_BITS`] nor above [`MAX_RING_BITS`].
pub fn ring_bits_for(max_backends: u32) -> u8 {
    let slots = (u64::from(max_backends) * u64::from(SLOTS_PER_BACKEND)).next_power_of_two();
    (slots.trailing_zeros() as u8).clamp(DEFAULT_RING_BITS, MAX_RING_BITS)
}

/// Builds a ring of `1 << bits` slots over `members` (identity, weight ≥ 1), which must be sorted by identity and free
/// of duplicates. Each slot holds a position in `members`. Empty when there are no members.
pub fn build(seed: [u64; 2], bits: u8, members: &[(BackendId, u16)]) -> Vec<u16> {
    debug_assert!(members.is_sorted_by(|a, b| a.0 < b.0), "members sorted, no duplicates");
    debug_assert!(bits <= 24 && members.len() < usize::from(FREE));
    let total: u64 = members.iter().map(|m| u64::from(m.1)).sum();
    let mut classes: BTreeMap<u16, Vec<Walk>> = BTreeMap::new();
    for (position, (id, weight)) in (0u16..).zip(members).filter(|(_, (_, weight))| *weight > 0) {
        classes.entry(*weight).or_default().push(Walk::new(seed, bits, total, position, (*id, *weight)));
    }
    let Some(heaviest) = classes.last_key_value().map(|(weight, _)| *weight) else { return Vec::new() };
    // When a class looks next: its n-th look is due at round `ceil(n * heaviest / weight)`, the heavier first.
    let mut turns: BinaryHeap<Reverse<(u64, Reverse<u16>, u64)>> =
        classes.keys().map(|&weight| Reverse((due(1, weight, heaviest), Reverse(weight), 1))).collect();

    let mut filling = Filling {
        ring: vec![FREE; 1 << bits],
        free: 1 << bits,
        reserved: classes.values().flatten().map(|walk| walk.at_least).sum(),
    };
    while let Some(Reverse((_, Reverse(weight), look))) = turns.pop() {
        let Some(walks) = classes.get_mut(&weight) else { continue };
        walks.retain_mut(|walk| filling.visit(walk));
        if !walks.is_empty() {
            turns.push(Reverse((due(look + 1, weight, heaviest), Reverse(weight), look + 1)));
        }
    }
    filling.ring
}

/// Digest of a ring in terms of identities, slot by slot, so that it is the same on every node whatever positions the
/// node's tables use. `None` is a slot without a backend.
pub fn digest(slots: impl IntoIterator<Item = Option<BackendId>>) -> u64 {
    slots.into_iter().fold(mix(u64::from(RING_VERSION)), |sum, slot| {
        let word = slot.map_or(0, |id| identity_hash([0, 0], Domain::Digest, id));
        mix(sum.rotate_left(5) ^ word)
    })
}

/// Marks a free slot while a ring is being filled.
const FREE: u16 = u16::MAX;

fn due(look: u64, weight: u16, heaviest: u16) -> u64 {
    (look * u64::from(heaviest)).div_ceil(u64::from(weight))
}

/// One member's way through its permutation of the slots.
struct Walk {
    at: u32,
    skip: u32,
    taken: u32,
    /// Bounds on `taken`: 1 % around the weight's share, rounded away from it.
    at_least: u32,
    at_most: u32,
    position: u16,
}

impl Walk {
    fn new(seed: [u64; 2], bits: u8, total: u64, position: u16, (id, weight): (BackendId, u16)) -> Self {
        let share = u64::from(weight) << bits;
        Self {
            at: identity_hash(seed, Domain::Offset, id) as u32,
            // Odd: coprime to the size, so that the walk meets every slot once.
            skip: identity_hash(seed, Domain::Skip, id) as u32 | 1,
            taken: 0,
            at_least: (share * 99 / (total * 100)) as u32,
            at_most: (share * 101).div_ceil(total * 100) as u32,
            position,
        }
    }
}

/// A ring on its way to being full.
struct Filling {
    ring: Vec<u16>,
    free: u32,
    /// Slots that members still need to reach their lower bounds: always at least as many are free.
    reserved: u32,
}

impl Filling {
    /// Lets a member look at its next slot; false when it may take none any more. The upper bounds sum up to the size
    /// or more and the lower to no more, so somebody may go on as long as a slot is free, and finds it.
    fn visit(&mut self, walk: &mut Walk) -> bool {
        let short = walk.taken < walk.at_least;
        if self.free == 0 || walk.taken == walk.at_most || (!short && self.free == self.reserved) {
            return false;
        }
        let slot = walk.at as usize & (self.ring.len() - 1);
        walk.at = walk.at.wrapping_add(walk.skip);
        if self.ring[slot] == FREE {
            self.ring[slot] = walk.position;
            walk.taken += 1;
            self.free -= 1;
            self.reserved -= u32::from(short);
        }
        true
    }
}

/// Keeps the hashes of one identity independent of each other.
#[derive(Clone, Copy)]
enum Domain {
    Offset = 1,
    Skip = 2,
    Digest = 3,
}

fn identity_hash(seed: [u64; 2], domain: Domain, id: BackendId) -> u64 {
    let (family, bits) = match id.0 {
        IpAddr::V4(v4) => (4, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (6, v6.to_bits()),
    };
    [domain as u64 | family << 8, (bits >> 64) as u64, bits as u64, seed[1]]
        .into_iter()
        .fold(mix(seed[0]), |x, word| mix(x.rotate_left(23) ^ word))
}

/// Finaliser of SplitMix64: a bijection in which every input bit reaches every output bit.
fn mix(word: u64) -> u64 {
    let x = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

    fn v4(n: u32) -> BackendId {
        BackendId(IpAddr::V4(0x0a00_0000_u32.wrapping_add(n).into()))
    }

    fn equal(ids: impl IntoIterator<Item = u32>) -> Vec<(BackendId, u16)> {
        ids.into_iter().map(|n| (v4(n), 1)).collect()
    }

    fn shares(ring: &[u16], members: usize) -> Vec<usize> {
        let mut shares = vec![0; members];
        ring.iter().for_each(|&p| shares[usize::from(p)] += 1);
        shares
    }

    /// Slots whose backend differs, per slot of the backend that went away.
    fn movement(seed: [u64; 2], bits: u8, members: &[(BackendId, u16)], gone: usize) -> f64 {
        let mut rest = members.to_vec();
        let gone = rest.remove(gone).0;
        let (before, after) = (build(seed, bits, members), build(seed, bits, &rest));
        let pairs =
            || before.iter().zip(&after).map(|(&b, &a)| (members[usize::from(b)].0, rest[usize::from(a)].0));
        let own = pairs().filter(|(b, _)| *b == gone).count();
        pairs().filter(|(b, a)| b != a).count() as f64 / own as f64
    }

    #[test]
    fn known_answers() {
        let v6 = |s: &str| BackendId(s.parse().expect("address"));
        let members = [(v4(1), 1), (v4(2), 2), (v4(3), 1), (v6("2001:db8::1"), 3), (v6("::10.0.0.1"), 1)];
        let mut members = members.to_vec();
        members.sort();
        let ring = build(SEED, 5, &members);
        let text: Vec<String> = ring.iter().map(u16::to_string).collect();
        assert_eq!(text.join(" "), KNOWN_32);
        let big = build(SEED, 14, &equal(1..=10));
        assert_eq!(digest(big.iter().map(|&p| Some(v4(1 + u32::from(p))))), KNOWN_16384);
    }
    const KNOWN_32: &str = "4 4 2 0 4 2 3 4 4 1 1 4 0 1 4 4 0 3 4 1 3 4 1 4 1 1 2 1 4 4 0 0";
    const KNOWN_16384: u64 = 4_601_673_743_221_460_211;

    #[test]
    fn balance_of_equal_weights() {
        for (n, bits) in [(1, 4), (3, 12), (7, 12), (10, 14), (100, 14), (1000, 16)] {
            let ideal = f64::from(1 << bits) / f64::from(n);
            for share in shares(&build(SEED, bits, &equal(0..n)), n as usize) {
                let off = (share as f64 - ideal).abs();
                assert!(off <= f64::max(1.0, ideal * 0.01 + 1.0), "{n} backends, {bits} bits: {share}");
            }
        }
    }

    #[test]
    fn no_members_no_slots() {
        assert_eq!(build(SEED, 12, &[]), []);
    }

    #[test]
    fn families_are_distinct() {
        let v6 = BackendId(IpAddr::V6(0x0a00_0001u128.into()));
        assert_ne!(identity_hash(SEED, Domain::Offset, v4(1)), identity_hash(SEED, Domain::Offset, v6));
    }

    #[test]
    fn movement_with_ten_backends() {
        for bits in [12, 14] {
            let mean = (0..100u32)
                .map(|set| {
                    movement(SEED, bits, &equal((0..10).map(|n| set * 1000 + n * 7)), set as usize % 10)
                })
                .sum::<f64>()
                / 100.0;
            assert!((1.0..=1.10).contains(&mean), "{bits} bits: {mean}");
        }
    }

    #[test]
    fn movement_with_a_hundred_backends() {
        let mean = (0..10u32)
            .map(|set| movement(SEED, 14, &equal((0..100).map(|n| set * 1000 + n)), set as usize * 9))
            .sum::<f64>()
            / 10.0;
        assert!((1.0..=1.75).contains(&mean), "{mean}");
    }

    /// `seed` of the node configurations in `labs/tcp-l3dsr-ha`.
    const LAB_SEED: [u64; 2] = [0x0011_2233_4455_6677, 0x8899_aabb_ccdd_eeff];

    /// The lab asserts that connections to the other servers outlive the loss of any one.
    #[test]
    fn the_labs_identities_have_no_survivor_moves() {
        for servers in [
            ["56.56.56.1", "57.57.57.1", "58.58.58.1"],
            ["2001:db8:56::1", "2001:db8:57::1", "2001:db8:58::1"],
        ] {
            let members = servers.map(|a| (BackendId(a.parse().expect("address")), 1));
            for (gone, server) in servers.into_iter().enumerate() {
                assert_eq!(movement(LAB_SEED, DEFAULT_RING_BITS, &members, gone), 1.0, "without {server}");
            }
        }
    }

    #[test]
    fn another_seed_is_another_ring() {
        let (a, b) = (build([1, 2], 12, &equal(0..4)), build([1, 3], 12, &equal(0..4)));
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        assert!((800..1250).contains(&same), "{same} of 4096 agree, chance is 1024");
    }

    #[test]
    fn sizes_for_pools() {
        assert_eq!([0, 1, 163].map(ring_bits_for), [14; 3]);
        assert_eq!([164, 327, 328, 4096].map(ring_bits_for), [15, 15, 16, 19]);
        assert_eq!(ring_bits_for(u32::MAX), MAX_RING_BITS);
    }

    #[test]
    fn digest_sees_every_slot() {
        let slots = [Some(v4(1)), Some(v4(2)), None];
        let swapped = [Some(v4(2)), Some(v4(1)), None];
        assert_ne!(digest(slots), digest(swapped));
        assert_ne!(digest(slots), digest([Some(v4(1)), Some(v4(2))]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Within one slot of the weight's share, or 1 % of it.
        #[test]
        fn weights_share_the_slots(weights in prop::collection::vec(1u16..=100, 1..40), seed: [u64; 2]) {
            let members: Vec<_> = (0u32..).zip(&weights).map(|(n, w)| (v4(n), *w)).collect();
            let ring = build(seed, 14, &members);
            let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            for (share, weight) in shares(&ring, members.len()).into_iter().zip(&weights) {
                let ideal = 16384.0 * f64::from(*weight) / total;
                let off = (share as f64 - ideal).abs();
                prop_assert!(off <= 1.0 + ideal * 0.01, "weight {weight}: {share} instead of {ideal}");
            }
        }

        /// The way by which a set came about leaves no trace: every slot is filled, from the sorted set alone.
        #[test]
        fn every_slot_is_filled(ids in prop::collection::btree_set(any::<u32>(), 1..60), bits in 6u8..13, seed: [u64; 2]) {
            let mut members = equal(ids);
            members.sort();
            let ring = build(seed, bits, &members);
            prop_assert_eq!(ring.len(), 1 << bits);
            prop_assert!(ring.iter().all(|p| usize::from(*p) < members.len()));
            prop_assert_eq!(&ring, &build(seed, bits, &members));
        }
    }
}
