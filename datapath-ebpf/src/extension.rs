//! IPv6 extension headers (RFC 8200 section 4): up to four are stepped over on the way to the upper layer.

use datapath_common::counters::DropReason;
use datapath_common::wire::{ext, proto};

use crate::frame::Frame;

/// The upper-layer header of a packet.
pub(crate) struct Upper {
    pub(crate) proto: u8,
    pub(crate) offset: usize,
}

/// Finds the upper layer of a packet whose first next-header value is `next`, with that header at `offset`. A fragment
/// header with any bit of `fragment` set ends the search; an atomic one (RFC 6946) is stepped over.
#[inline(always)]
pub(crate) fn upper_layer(
    frame: &Frame,
    next: u8,
    offset: usize,
    fragment: u16,
) -> Result<Upper, DropReason> {
    if matches!(next, proto::TCP | proto::UDP) {
        return Ok(Upper { proto: next, offset });
    }
    let (mut next, mut offset) = (next, offset);
    for _ in 0..ext::MAX {
        if !matches!(next, ext::HOP_BY_HOP | ext::ROUTING | ext::FRAGMENT | ext::DESTINATION) {
            return Ok(Upper { proto: next, offset });
        }
        let header = frame.window::<8>(offset).ok_or(DropReason::Malformed)?;
        let mut length = (usize::from(header.u8::<1>()) + 1) * 8;
        if next == ext::FRAGMENT {
            if header.be16::<2>() & fragment != 0 {
                return Err(DropReason::Fragment);
            }
            length = 8;
        }
        // The packet is still on its way to somewhere else; type 0 is forbidden anyway (RFC 5095).
        if next == ext::ROUTING && header.u8::<3>() != 0 {
            return Err(DropReason::HeaderChain);
        }
        next = header.u8::<0>();
        offset += length;
    }
    match next {
        ext::HOP_BY_HOP | ext::ROUTING | ext::FRAGMENT | ext::DESTINATION => Err(DropReason::HeaderChain),
        proto => Ok(Upper { proto, offset }),
    }
}
