//! Quality of the flow hash: every node must agree on it for ever (known answers, computed by an independent
//! implementation), every input bit must reach every output bit, and flows that differ little must spread evenly.

use std::net::{Ipv4Addr, Ipv6Addr};

use datapath_common::hash::{Ports, flow4, flow6, slot, source4, source6};
use datapath_common::outer::flow_label;

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
const VIP4: [u8; 4] = [20, 20, 20, 1];
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x33, 0, 0, 0, 0, 0x21);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1);

fn ports(src: u16, dst: u16, proto: u8) -> Ports {
    Ports { src: src.to_be_bytes(), dst: dst.to_be_bytes(), proto }
}

/// A generator that is good enough to draw inputs from (splitmix64), so that a failure repeats.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

#[test]
fn known_answers() {
    let (client, zero) = ([192, 0, 2, 33], [0; 2]);
    let (web, tls) = (ports(4321, 80, 6), ports(4321, 443, 6));
    assert_eq!(flow4(SEED, client, VIP4, web), 0x09e6_bae3_c4ed_bcd9);
    assert_eq!(flow4(SEED, [255; 4], [0; 4], ports(65535, 0, 17)), 0x3780_175c_99d3_a8b1);
    assert_eq!(flow4(zero, client, VIP4, web), 0x1a5d_75ce_d2bf_9b7d);
    assert_eq!(flow6(SEED, CLIENT6.octets(), VIP6.octets(), tls), 0x50b7_82f9_c341_9c49);
    assert_eq!(flow6(SEED, [0; 16], [0; 16], ports(0, 0, 0)), 0x3534_cb27_ddf7_a2f7);
    assert_eq!(flow6(zero, CLIENT6.octets(), VIP6.octets(), tls), 0x90dd_142b_9c22_0451);
    assert_eq!(source4(SEED, client), 0x6d6d_b0c4_b6d8_9d98);
    assert_eq!(source6(SEED, CLIENT6.octets()), 0x087b_06b8_b321_68f4);
}

#[test]
fn the_slot_is_the_top_of_the_hash() {
    assert_eq!(slot(u64::MAX, 14), (1 << 14) - 1);
    assert_eq!(slot(1 << 63, 1), 1);
    assert_eq!(slot(0x0123_4567_89ab_cdef, 24), 0x01_2345);
}

/// Flips each of `bits` input bits of random inputs: each output bit must change in about half of the cases. With 2048
/// cases the deviation of a fair coin is 1.1 %; 7 % is more than six of them.
fn avalanche<const N: usize>(bits: usize, hash: impl Fn(&[u8; N]) -> u64) {
    const CASES: u32 = 2048;
    let mut draw = Draw(1);
    for bit in 0..bits {
        let mut changed = [0u32; 64];
        for _ in 0..CASES {
            let mut input = draw.bytes::<N>();
            let before = hash(&input);
            input[bit / 8] ^= 1 << (bit % 8);
            let difference = before ^ hash(&input);
            for (out, count) in changed.iter_mut().enumerate() {
                *count += (difference >> out & 1) as u32;
            }
        }
        for (out, count) in changed.into_iter().enumerate() {
            let share = f64::from(count) / f64::from(CASES);
            assert!((0.43..0.57).contains(&share), "input bit {bit}: output bit {out} changes in {share}");
        }
    }
}

#[test]
fn every_bit_of_an_ipv4_flow_reaches_every_output_bit() {
    avalanche::<13>(13 * 8, |b| {
        let [src, dst] = [0, 4].map(|at| [b[at], b[at + 1], b[at + 2], b[at + 3]]);
        flow4(SEED, src, dst, Ports { src: [b[8], b[9]], dst: [b[10], b[11]], proto: b[12] })
    });
}

#[test]
fn every_bit_of_an_ipv6_flow_reaches_every_output_bit() {
    avalanche::<37>(37 * 8, |b| {
        let [src, dst] = [0, 16].map(|at| std::array::from_fn(|i| b[at + i]));
        flow6(SEED, src, dst, Ports { src: [b[32], b[33]], dst: [b[34], b[35]], proto: b[36] })
    });
}

#[test]
fn every_bit_of_a_source_reaches_every_output_bit() {
    avalanche::<4>(32, |b| source4(SEED, *b));
    avalanche::<16>(128, |b| source6(SEED, *b));
}

#[test]
fn every_bit_of_the_seed_reaches_every_output_bit() {
    avalanche::<16>(128, |b| {
        let [low, high] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|i| b[at + i])));
        flow4([low, high], [192, 0, 2, 33], VIP4, ports(4321, 80, 6))
    });
}

/// Chi-square of the slots against a uniform spread: for many buckets it is normal with mean `n` and variance `2n`.
fn balanced(what: &str, bits: u8, hashes: impl Iterator<Item = u64>) {
    let mut counts = vec![0u32; 1 << bits];
    let mut total = 0u32;
    for hash in hashes {
        counts[slot(hash, bits) as usize] += 1;
        total += 1;
    }
    let expected = f64::from(total) / counts.len() as f64;
    let square: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    let freedom = (counts.len() - 1) as f64;
    let sigmas = (square - freedom) / (2.0 * freedom).sqrt();
    assert!(sigmas.abs() < 5.0, "{what}, {bits} bits: {sigmas:.1} deviations from uniform");
}

#[test]
fn flows_that_differ_little_spread_evenly() {
    for seed in [SEED, [0, 0], [1, 0], [0, 1], [u64::MAX, u64::MAX]] {
        for bits in [8, 10, 12] {
            let client = [192, 0, 2, 33];
            let by_port = (0..=u16::MAX).map(|port| flow4(seed, client, VIP4, ports(port, 80, 6)));
            balanced("sequential source ports", bits, by_port);
            let even = (0..=u16::MAX).step_by(2).map(|port| flow4(seed, client, VIP4, ports(port, 80, 6)));
            balanced("even source ports, as Linux draws them", bits, even);
            let by_host = (0..1u32 << 16).map(|host| {
                flow4(seed, Ipv4Addr::from(0x0a00_0000 + host).octets(), VIP4, ports(1024, 80, 6))
            });
            balanced("sequential clients", bits, by_host);
            let by_net =
                (0..1u32 << 16).map(|net| flow4(seed, (net << 16).to_be_bytes(), VIP4, ports(1024, 80, 6)));
            balanced("clients that differ in their upper half", bits, by_net);
            let by_service = (0..1u32 << 16).map(|i| {
                let vip = Ipv4Addr::from(0x1414_1400 + (i >> 8)).octets();
                flow4(seed, client, vip, ports(1024, i as u16 & 0xff, 6))
            });
            balanced("one client, many VIPs and ports", bits, by_service);
            let by_source = (0..1u32 << 16).map(|host| source4(seed, (0x0a00_0000 + host).to_be_bytes()));
            balanced("sources", bits, by_source);
            let by_interface = (0..1u128 << 16).map(|i| {
                let client = (u128::from(CLIENT6) + i).to_be_bytes();
                flow6(seed, client, VIP6.octets(), ports(1024, 443, 6))
            });
            balanced("sequential IPv6 clients", bits, by_interface);
            let by_prefix = (0..1u128 << 16).map(|i| {
                let client = (u128::from(CLIENT6) + (i << 64)).to_be_bytes();
                flow6(seed, client, VIP6.octets(), ports(1024, 443, 6))
            });
            balanced("IPv6 clients of many prefixes", bits, by_prefix);
            let by_port =
                (0..=u16::MAX).map(|port| flow6(seed, CLIENT6.octets(), VIP6.octets(), ports(port, 443, 17)));
            balanced("sequential source ports over IPv6", bits, by_port);
        }
    }
}

/// The label of the outer header must say nothing about the slot: else routers that hash on it would send one backend's
/// traffic over one path.
#[test]
fn the_flow_label_is_independent_of_the_slot() {
    let hashes = (0..=u16::MAX).map(|port| flow4(SEED, [192, 0, 2, 33], VIP4, ports(port, 80, 6)));
    let joint = hashes.map(|hash| u64::from(slot(hash, 6)) << 58 | u64::from(flow_label(hash) >> 14) << 52);
    balanced("slot and label together", 12, joint);
}

#[test]
fn no_collisions_among_a_million_flows() {
    let mut hashes: Vec<u64> = (0..1u32 << 20)
        .map(|i| flow4(SEED, (0x0a00_0000 + (i >> 6)).to_be_bytes(), VIP4, ports(i as u16 & 63, 80, 6)))
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 1 << 20);
}
