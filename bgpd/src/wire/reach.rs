//! MP_REACH_NLRI (RFC 4760 3) and its next hops: 16 or 32 octets for IPv6 (RFC 2545 3), 4 for IPv4, or an IPv6 next
//! hop for IPv4 (RFC 8950, which is not negotiated yet but must not be misread).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::family::{AfiSafi, Family};
use super::prefix::Prefixes;
use super::reader::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach<'a> {
    pub next_hop: NextHop,
    pub prefixes: Prefixes<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    /// A global and a link-local address.
    V6LinkLocal(Ipv6Addr, Ipv6Addr),
}

/// AFI and SAFI at the front of both attributes.
pub(super) fn family(reader: &mut Reader<'_>) -> Option<AfiSafi> {
    Some(AfiSafi { afi: reader.u16()?, safi: reader.u8()? })
}

impl<'a> Reach<'a> {
    /// Reads what follows AFI and SAFI.
    pub(super) fn parse(family: Family, mut reader: Reader<'a>) -> Option<Self> {
        let mut next_hop = Reader::new(reader.counted_u8()?);
        let next_hop = match (family, next_hop.len()) {
            (Family::Ipv4Unicast, 4) => NextHop::V4(next_hop.array::<4>()?.into()),
            (_, 16) => NextHop::V6(next_hop.array::<16>()?.into()),
            (_, 32) => NextHop::V6LinkLocal(next_hop.array::<16>()?.into(), next_hop.array::<16>()?.into()),
            _ => return None,
        };
        let _reserved = reader.u8()?;
        Some(Self { next_hop, prefixes: Prefixes::parse(family, reader.rest())? })
    }
}
