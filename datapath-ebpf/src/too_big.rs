//! Packets that do not fit the tunnel: the VIP answers with ICMP fragmentation-needed (RFC 1191) or packet-too-big
//! (RFC 4443 section 3.2), so that path MTU discovery of the client works through it.
//!
//! The frame is reused: its head grows by the new headers, whose last byte then meets the quoted packet, and its tail
//! is cut to what an error may quote.
//!
//! The answers are functions of their own (not inlined), for their loops; such a function must return a scalar, for the
//! verifier takes what is left in the return register of any other for a leaked stack pointer.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use datapath_common::checksum;
use datapath_common::counters::DropReason;
use datapath_common::limit;
use datapath_common::wire::{
    ERROR_TOS, ETH_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRESH_TTL, ICMP_LEN, IPV4_DF, IPV4_LEN, IPV6_LEN,
    IPV6_MIN_MTU, icmp4, icmp6, proto,
};

use crate::forward::{Narrow, Node, Packet};
use crate::frame::Frame;
use crate::link::Macs;
use crate::maps::ICMP_LIMIT;

const LEN4: usize = ETH_LEN + IPV4_LEN + ICMP_LEN;
const QUOTE4: usize = icmp4::ERROR_MAX - IPV4_LEN - ICMP_LEN;
const LEN6: usize = ETH_LEN + IPV6_LEN + ICMP_LEN;
const QUOTE6: usize = icmp6::ERROR_MAX - IPV6_LEN - ICMP_LEN;

/// Answers an IPv4 packet that is longer than `mtu`.
#[cold]
#[inline(never)]
pub(crate) fn answer4(
    frame: &mut Frame,
    node: &Node,
    packet: &Packet,
    narrow: &Narrow,
) -> Result<(), DropReason> {
    let Narrow { mtu, vip } = *narrow;
    let internal = DropReason::Internal;
    let ip = frame.window::<IPV4_LEN>(packet.l3).ok_or(internal)?;
    let (client, own) = (ip.get::<u32, 12>(), ip.get::<u32, 16>());
    let [first, ..] = client.to_ne_bytes();
    // No error to a source that is no single host (RFC 1812 section 4.3.2.7).
    let silent = packet.is_error || ip.be16::<6>() & IPV4_DF == 0 || matches!(first, 0 | 127 | 224..=255);
    if silent || !admitted(node, vip) {
        return Err(DropReason::TooBigSilent);
    }
    let back = Macs::read(frame.window::<ETH_LEN>(0).ok_or(internal)?).swapped();
    let quote = usize::from(packet.total).min(QUOTE4);
    make_room::<LEN4>(frame, packet.l3, quote).ok_or(internal)?;

    let total = (IPV4_LEN + ICMP_LEN + quote) as u16;
    let icmp_sum = sum(frame, LEN4, quote)
        + u32::from(icmp4::UNREACHABLE) * 0x100
        + u32::from(icmp4::FRAGMENTATION_NEEDED)
        + u32::from(mtu);
    let (src, dst) = (u32::from_be(own), u32::from_be(client));
    let ip_sum = 0x4500
        + u32::from(ERROR_TOS)
        + u32::from(total)
        + u32::from(IPV4_DF)
        + u32::from(FRESH_TTL) * 0x100
        + u32::from(proto::ICMP)
        + (src >> 16)
        + (src & 0xffff)
        + (dst >> 16)
        + (dst & 0xffff);
    let out = frame.window::<LEN4>(0).ok_or(internal)?;
    back.write(out);
    out.put_be16::<12>(ETHERTYPE_IPV4);
    out.put_be16::<14>(0x4500 | u16::from(ERROR_TOS));
    out.put_be16::<16>(total);
    out.put_be16::<18>(0);
    out.put_be16::<20>(IPV4_DF);
    out.put::<u8, 22>(FRESH_TTL);
    out.put::<u8, 23>(proto::ICMP);
    out.put_be16::<24>(checksum::finish(ip_sum));
    out.put::<u32, 26>(own);
    out.put::<u32, 30>(client);
    out.put::<u8, 34>(icmp4::UNREACHABLE);
    out.put::<u8, 35>(icmp4::FRAGMENTATION_NEEDED);
    out.put_be16::<36>(checksum::finish(icmp_sum));
    out.put_be16::<38>(0);
    out.put_be16::<40>(mtu);
    Ok(())
}

/// Answers an IPv6 packet that is longer than `mtu`.
#[cold]
#[inline(never)]
pub(crate) fn answer6(
    frame: &mut Frame,
    node: &Node,
    packet: &Packet,
    narrow: &Narrow,
) -> Result<(), DropReason> {
    let Narrow { mtu, vip } = *narrow;
    let internal = DropReason::Internal;
    let ip = frame.window::<IPV6_LEN>(packet.l3).ok_or(internal)?;
    let (client, own) = (ip.addr6::<8, 16>(), ip.addr6::<24, 32>());
    // No error to a multicast or unspecified source (RFC 4443 section 2.4 e), and none that cannot help: no sender goes
    // below the minimum MTU (RFC 8201 section 4).
    let no_host = client == [0, 0] || client[0].to_ne_bytes()[0] == 0xff;
    let silent = packet.is_error || no_host || packet.total <= IPV6_MIN_MTU;
    if silent || !admitted(node, vip) {
        return Err(DropReason::TooBigSilent);
    }
    let back = Macs::read(frame.window::<ETH_LEN>(0).ok_or(internal)?).swapped();
    let quote = usize::from(packet.total).min(QUOTE6);
    make_room::<LEN6>(frame, packet.l3, quote).ok_or(internal)?;

    let mtu = mtu.max(IPV6_MIN_MTU);
    let length = (ICMP_LEN + quote) as u16;
    let icmp_sum = sum(frame, LEN6, quote)
        + u32::from(icmp6::PACKET_TOO_BIG) * 0x100
        + u32::from(mtu)
        + u32::from(length)
        + u32::from(proto::ICMPV6)
        + sum_addr(own)
        + sum_addr(client);
    let out = frame.window::<LEN6>(0).ok_or(internal)?;
    back.write(out);
    out.put_be16::<12>(ETHERTYPE_IPV6);
    out.put::<u32, 14>((6u32 << 28).to_be());
    out.put_be16::<18>(length);
    out.put::<u8, 20>(proto::ICMPV6);
    out.put::<u8, 21>(FRESH_TTL);
    out.put_addr6::<22, 30>(own);
    out.put_addr6::<38, 46>(client);
    out.put::<u8, 54>(icmp6::PACKET_TOO_BIG);
    out.put::<u8, 55>(0);
    out.put_be16::<56>(checksum::finish(icmp_sum));
    out.put::<u32, 58>(u32::from(mtu).to_be());
    Ok(())
}

/// Takes one of the VIP's tokens. Two CPUs may take the same one: see `limit`.
#[inline(always)]
fn admitted(node: &Node, vip: u32) -> bool {
    let Some(bucket) = ICMP_LIMIT.get_ptr_mut(vip) else {
        return false;
    };
    // SAFETY: a helper without arguments, and a map value that is read and written as one aligned word.
    unsafe {
        let now = bpf_ktime_get_ns();
        match limit::admit(bucket.read_volatile(), now, node.config.icmp_errors_per_second) {
            Some(spent) => {
                bucket.write_volatile(spent);
                true
            }
            None => false,
        }
    }
}

/// Leaves `LEN` bytes to be written in front of the packet and `quote` bytes of it.
#[inline(always)]
fn make_room<const LEN: usize>(frame: &mut Frame, l3: usize, quote: usize) -> Option<()> {
    // Opaque: the compiler would subtract the frame's pointers in 32 bits, which the verifier refuses.
    let length = core::hint::black_box(frame.len());
    let surplus = length as i32 - (l3 + quote) as i32;
    frame.move_tail(-surplus).ok()?;
    frame.move_head(l3 as i32 - LEN as i32).ok()
}

/// Bytes that one turn of the long loop sums: large, because the verifier follows every turn.
const BLOCK: usize = 32;

/// One's complement sum of `length` bytes from `from` on; at most [`QUOTE6`]. Summed in memory order, which gives the
/// same result with its bytes exchanged (RFC 1071 section 2 B).
#[inline(always)]
fn sum(frame: &Frame, from: usize, length: usize) -> u32 {
    // Opaque: knowing its range, the compiler would drop the loops' own bounds, which the verifier needs.
    let length = core::hint::black_box(length);
    let mut total = 0u64;
    let mut at = 0;
    for _ in 0..QUOTE6 / BLOCK {
        if at + BLOCK > length {
            break;
        }
        let Some(block) = frame.window::<BLOCK>(from + at) else {
            break;
        };
        total += halves(block.get::<u64, 0>()) + halves(block.get::<u64, 8>());
        total += halves(block.get::<u64, 16>()) + halves(block.get::<u64, 24>());
        at += BLOCK;
    }
    // Computed again rather than counted on: else the verifier would follow the second loop from every end of the first.
    let mut at = length - length % BLOCK;
    for _ in 0..BLOCK / 2 {
        if at + 2 > length {
            break;
        }
        let Some(word) = frame.window::<2>(from + at) else {
            break;
        };
        total += u64::from(word.get::<u16, 0>());
        at += 2;
    }
    if at < length
        && let Some(last) = frame.window::<1>(from + at)
    {
        total += u64::from(u16::from_ne_bytes([last.u8::<0>(), 0]));
    }
    let total = halves(halves(total));
    u16::from_be(checksum::fold(total as u32)).into()
}

/// Sum of both halves: congruent modulo 2^16 - 1, and short.
#[inline(always)]
fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

#[inline(always)]
fn sum_addr(addr: [u64; 2]) -> u32 {
    let mut total = 0;
    for half in addr.map(u64::from_be) {
        total += (half >> 48) as u32
            + (half >> 32 & 0xffff) as u32
            + (half >> 16 & 0xffff) as u32
            + (half & 0xffff) as u32;
    }
    total
}
