//! The flow hash: keyed, 64 bits, the same on every node and on the host. It depends on nothing but the fleet's seed
//! and the packet's addresses, ports and protocol.

/// Version of the algorithm: part of what nodes compare.
pub const HASH_VERSION: u32 = 1;

const P1: u64 = 0x9e37_79b9_7f4a_7c15;
const P2: u64 = 0xbf58_476d_1ce4_e5b9;
const P3: u64 = 0x94d0_49bb_1331_11eb;

/// What the hash covers. Ports and protocol are zero in the source-only hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Network order.
    pub src: [u8; 2],
    /// Network order.
    pub dst: [u8; 2],
    pub proto: u8,
}

impl Ports {
    const fn word(self) -> u64 {
        (u16::from_be_bytes(self.src) as u64) << 32
            | (u16::from_be_bytes(self.dst) as u64) << 16
            | self.proto as u64
    }
}

/// Absorbs a word. Two multiplications: with one, the high bits of two words could cancel for every seed.
#[inline(always)]
const fn mix(state: u64, word: u64) -> u64 {
    let x = (state ^ word).wrapping_mul(P1);
    (x ^ x >> 32).wrapping_mul(P2)
}

/// Absorbs the last word and spreads every bit over all others (the finaliser of splitmix64).
#[inline(always)]
const fn finish(state: u64, word: u64) -> u64 {
    let x = state ^ word;
    let x = (x ^ x >> 30).wrapping_mul(P2);
    let x = (x ^ x >> 27).wrapping_mul(P3);
    x ^ x >> 31
}

/// Hash of an IPv4 flow from client to VIP.
#[inline(always)]
pub const fn flow4(seed: [u64; 2], src: [u8; 4], dst: [u8; 4], ports: Ports) -> u64 {
    let addrs = (u32::from_be_bytes(src) as u64) << 32 | u32::from_be_bytes(dst) as u64;
    finish(mix(seed[0], addrs), seed[1] ^ ports.word())
}

/// Hash of an IPv6 flow from client to VIP.
#[inline(always)]
pub const fn flow6(seed: [u64; 2], src: [u8; 16], dst: [u8; 16], ports: Ports) -> u64 {
    let x = mix(seed[0], high(src));
    let x = mix(x, low(src));
    let x = mix(x, high(dst));
    let x = mix(x, low(dst));
    finish(x, seed[1] ^ ports.word())
}

/// Hash of an IPv4 source alone, for services that hash by source.
#[inline(always)]
pub const fn source4(seed: [u64; 2], src: [u8; 4]) -> u64 {
    finish(mix(seed[0], u32::from_be_bytes(src) as u64), seed[1])
}

/// Hash of an IPv6 source alone.
#[inline(always)]
pub const fn source6(seed: [u64; 2], src: [u8; 16]) -> u64 {
    finish(mix(mix(seed[0], high(src)), low(src)), seed[1])
}

/// Ring slot of a hash; `bits` is 1..=24.
#[inline(always)]
pub const fn slot(hash: u64, bits: u8) -> u32 {
    (hash >> (64 - bits as u32)) as u32
}

const fn high(a: [u8; 16]) -> u64 {
    u64::from_be_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]])
}

const fn low(a: [u8; 16]) -> u64 {
    u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]])
}
