//! Prefixes as NLRI (RFC 4271 4.3, RFC 4760 5): one octet of length in bits, then as many octets as needed.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::family::Family;
use super::reader::Reader;

/// A checked run of prefixes of one family, still in the bytes of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes<'a> {
    family: Family,
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Prefixes<'a> {
    /// Checks the whole run: every length is at most the family's, and the last prefix ends where the run ends
    /// (RFC 7606 5.3).
    pub fn parse(family: Family, bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut count = 0usize;
        while let Some(bits) = reader.u8() {
            if bits > family.bits() {
                return None;
            }
            reader.take(octets(bits))?;
            count = count.saturating_add(1);
        }
        Some(Self { family, bytes, count })
    }

    pub fn empty(family: Family) -> Self {
        Self { family, bytes: &[], count: 0 }
    }

    pub fn family(&self) -> Family {
        self.family
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The prefixes, bits behind the length cleared (they have no meaning, RFC 4271 4.3).
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let family = self.family;
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || read(family, &mut reader))
    }
}

fn octets(bits: u8) -> usize {
    usize::from(bits.div_ceil(8))
}

fn read(family: Family, reader: &mut Reader<'_>) -> Option<IpNet> {
    let bits = reader.u8()?;
    let bytes = reader.take(octets(bits))?;
    match family {
        Family::Ipv4Unicast => {
            let address = Ipv4Addr::from(padded::<4>(bytes));
            Ipv4Net::new(address, bits).ok().map(|net| net.trunc().into())
        }
        Family::Ipv6Unicast => {
            let address = Ipv6Addr::from(padded::<16>(bytes));
            Ipv6Net::new(address, bits).ok().map(|net| net.trunc().into())
        }
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

/// Octets that a prefix takes on the wire.
pub(super) fn encoded_len(prefix: &IpNet) -> usize {
    octets(prefix.prefix_len()).saturating_add(1)
}

/// Appends a prefix.
pub(super) fn write(prefix: &IpNet, out: &mut Vec<u8>) {
    let bits = prefix.prefix_len();
    out.push(bits);
    match prefix {
        IpNet::V4(net) => out.extend(net.network().octets().iter().take(octets(bits))),
        IpNet::V6(net) => out.extend(net.network().octets().iter().take(octets(bits))),
    }
}
