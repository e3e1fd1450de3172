//! Real server side: strips the outer header of IP-in-IP packets, so that no tunnel interface is needed.
//!
//! Only packets whose outer destination is ours are looked at, and of those only the ones from an allowed node are
//! opened: anyone else could inject packets with any inner source.

use aya_ebpf::btf_maps::lpm_trie::Key;
use datapath_common::checksum;
use datapath_common::counters::DecapCounter;
use datapath_common::counters::DropReason;
use datapath_common::ecn;
use datapath_common::wire::{
    ETH_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_FRAGMENT, IPV4_LEN, IPV6_FRAGMENT, IPV6_LEN, proto,
};

use crate::extension::upper_layer;
use crate::frame::Frame;
use crate::link::Macs;
use crate::maps::{DECAP_LOCAL4, DECAP_LOCAL6, DECAP_SOURCES4, DECAP_SOURCES6};

/// The outer header of a packet that may be opened.
struct Outer {
    /// Protocol of the inner packet.
    inner: u8,
    /// Where the inner packet starts.
    offset: usize,
    /// How many bytes of it the outer header claims, all inside the frame.
    length: usize,
    /// DSCP and ECN of the outer header.
    tos: u8,
}

/// Opens the frame, or says what else became of it: `Passed` leaves it alone, the rest drop it.
#[inline(always)]
pub(crate) fn open(frame: &mut Frame) -> Result<(), DecapCounter> {
    let eth = frame.window::<ETH_LEN>(0).ok_or(DecapCounter::Passed)?;
    let macs = Macs::read(eth);
    let outer = match eth.be16::<12>() {
        ETHERTYPE_IPV4 => outer4(frame)?,
        ETHERTYPE_IPV6 => outer6(frame)?,
        _ => return Err(DecapCounter::Passed),
    };
    let ethertype = match outer.inner {
        proto::IPIP => inner4(frame, &outer)?,
        _ => inner6(frame, &outer)?,
    };
    frame.move_head((outer.offset - ETH_LEN) as i32).map_err(|_| DecapCounter::DropInternal)?;
    let eth = frame.window::<ETH_LEN>(0).ok_or(DecapCounter::DropInternal)?;
    macs.write(eth);
    eth.put_be16::<12>(ethertype);
    Ok(())
}

#[inline(always)]
fn outer4(frame: &Frame) -> Result<Outer, DecapCounter> {
    let ip = frame.window::<IPV4_LEN>(ETH_LEN).ok_or(DecapCounter::Passed)?;
    let inner = ip.u8::<9>();
    if !matches!(inner, proto::IPIP | proto::IPV6) {
        return Err(DecapCounter::Passed);
    }
    let (src, dst) = (ip.get::<[u8; 4], 12>(), ip.get::<[u8; 4], 16>());
    // SAFETY: only the value's presence counts.
    if unsafe { DECAP_LOCAL4.get(dst) }.is_none() {
        return Err(DecapCounter::Passed);
    }
    if DECAP_SOURCES4.get(&Key::new(32, src)).is_none() {
        return Err(DecapCounter::DropSource);
    }
    let (header, total) = (usize::from(ip.u8::<0>() & 0x0f) * 4, usize::from(ip.be16::<2>()));
    let fits = header >= IPV4_LEN && total >= header && ETH_LEN + total <= frame.len();
    if ip.u8::<0>() >> 4 != 4 || !fits {
        return Err(DecapCounter::DropMalformed);
    }
    if ip.be16::<6>() & IPV4_FRAGMENT != 0 {
        return Err(DecapCounter::DropFragment);
    }
    Ok(Outer { inner, offset: ETH_LEN + header, length: total - header, tos: ip.u8::<1>() })
}

#[inline(always)]
fn outer6(frame: &Frame) -> Result<Outer, DecapCounter> {
    let ip = frame.window::<IPV6_LEN>(ETH_LEN).ok_or(DecapCounter::Passed)?;
    let (src, dst) = (ip.get::<[u8; 16], 8>(), ip.get::<[u8; 16], 24>());
    // SAFETY: only the value's presence counts.
    if unsafe { DECAP_LOCAL6.get(dst) }.is_none() {
        return Err(DecapCounter::Passed);
    }
    let start = ETH_LEN + IPV6_LEN;
    let end = start + usize::from(ip.be16::<4>());
    // Other tunnels (and everything else) to this address are the kernel's, readable or not.
    let upper = upper_layer(frame, ip.u8::<6>(), start, 0).map_err(|_| DecapCounter::Passed)?;
    if !matches!(upper.proto, proto::IPIP | proto::IPV6) {
        return Err(DecapCounter::Passed);
    }
    if DECAP_SOURCES6.get(&Key::new(128, src)).is_none() {
        return Err(DecapCounter::DropSource);
    }
    if ip.u8::<0>() >> 4 != 6 || end > frame.len() || upper.offset > end {
        return Err(DecapCounter::DropMalformed);
    }
    match upper_layer(frame, ip.u8::<6>(), start, IPV6_FRAGMENT) {
        Ok(_) => {}
        Err(DropReason::Fragment) => return Err(DecapCounter::DropFragment),
        Err(_) => return Err(DecapCounter::DropMalformed),
    }
    let tos = (ip.be16::<0>() >> 4) as u8;
    Ok(Outer { inner: upper.proto, offset: upper.offset, length: end - upper.offset, tos })
}

/// Checks an inner IPv4 packet and gives it the outer header's congestion mark.
#[inline(always)]
fn inner4(frame: &Frame, outer: &Outer) -> Result<u16, DecapCounter> {
    let ip = frame.window::<IPV4_LEN>(outer.offset).ok_or(DecapCounter::DropMalformed)?;
    let (header, total) = (usize::from(ip.u8::<0>() & 0x0f) * 4, usize::from(ip.be16::<2>()));
    if ip.u8::<0>() >> 4 != 4 || header < IPV4_LEN || total < header || total > outer.length {
        return Err(DecapCounter::DropMalformed);
    }
    let word = ip.be16::<0>();
    let tos = ecn::decapsulate(ip.u8::<1>(), outer.tos).ok_or(DecapCounter::DropEcn)?;
    if tos != ip.u8::<1>() {
        ip.put::<u8, 1>(tos);
        ip.put_be16::<10>(checksum::replace(ip.be16::<10>(), word, ip.be16::<0>()));
    }
    Ok(ETHERTYPE_IPV4)
}

/// As [`inner4`], for IPv6.
#[inline(always)]
fn inner6(frame: &Frame, outer: &Outer) -> Result<u16, DecapCounter> {
    let ip = frame.window::<IPV6_LEN>(outer.offset).ok_or(DecapCounter::DropMalformed)?;
    let total = IPV6_LEN + usize::from(ip.be16::<4>());
    if ip.u8::<0>() >> 4 != 6 || total > outer.length {
        return Err(DecapCounter::DropMalformed);
    }
    let word = ip.be16::<0>();
    let tos = ecn::decapsulate((word >> 4) as u8, outer.tos).ok_or(DecapCounter::DropEcn)?;
    ip.put_be16::<0>(word & 0xf00f | u16::from(tos) << 4);
    Ok(ETHERTYPE_IPV6)
}
