//! Packing prefixes greedily into UPDATEs: one [`Packer`] is one message, appended to an output buffer.
//!
//! IPv4 goes classic (NLRI and withdrawn routes of RFC 4271), IPv6 in MP_REACH_NLRI and MP_UNREACH_NLRI, which come
//! first among the attributes (RFC 7606 5.1).

use ipnet::IpNet;

use super::attribute::{EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL};
use super::family::Family;
use super::{HEADER, MAX_MESSAGE, MessageType, TooLong, prefix};

/// An UPDATE under construction at the end of `out`.
#[derive(Debug)]
pub struct Packer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    family: Family,
    /// What follows the prefixes.
    trailer: &'a [u8],
    /// Length fields to fill in at the end: where they are, and where the bytes that they count end.
    lengths: [Option<(usize, Until)>; 2],
    used: usize,
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Prefixes,
    Message,
}

impl<'a> Packer<'a> {
    /// An UPDATE that withdraws. Without any prefix pushed it is the End-of-RIB of its family (RFC 4724 2).
    pub fn withdraw(out: &'a mut Vec<u8>, family: Family) -> Self {
        let start = open_message(out);
        let lengths = match family {
            Family::Ipv4Unicast => [length_here(out, Until::Prefixes), None],
            Family::Ipv6Unicast => {
                out.extend_from_slice(&[0, 0]);
                let section = length_here(out, Until::Message);
                out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, MP_UNREACH_NLRI]);
                let attribute = length_here(out, Until::Prefixes);
                write_family(out, family);
                [section, attribute]
            }
        };
        let trailer: &[u8] = if family == Family::Ipv4Unicast { &[0, 0] } else { &[] };
        Self::new(out, start, family, trailer, lengths)
    }

    /// An UPDATE that announces with these attributes. `attributes` is a section without MP_REACH_NLRI and, for IPv4,
    /// with NEXT_HOP; `next_hop` is the next hop field of MP_REACH_NLRI, unused for IPv4.
    ///
    /// # Errors
    /// When no prefix fits beside the attributes; nothing was written then.
    pub fn announce(
        out: &'a mut Vec<u8>,
        family: Family,
        attributes: &'a [u8],
        next_hop: &[u8],
    ) -> Result<Self, TooLong> {
        let start = open_message(out);
        out.extend_from_slice(&[0, 0]);
        let packer = match family {
            Family::Ipv4Unicast => {
                let length = u16::try_from(attributes.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(attributes);
                Self::new(out, start, family, &[], [None, None])
            }
            Family::Ipv6Unicast => {
                let section = length_here(out, Until::Message);
                out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, MP_REACH_NLRI]);
                let attribute = length_here(out, Until::Prefixes);
                write_family(out, family);
                out.push(u8::try_from(next_hop.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(next_hop);
                out.push(0);
                Self::new(out, start, family, attributes, [section, attribute])
            }
        };
        // The longest prefix must fit, or some prefixes could never be sent.
        let longest = usize::from(family.bits() / 8).saturating_add(1);
        if packer.used.saturating_add(longest) > MAX_MESSAGE {
            packer.out.truncate(start);
            return Err(TooLong);
        }
        Ok(packer)
    }

    fn new(
        out: &'a mut Vec<u8>,
        start: usize,
        family: Family,
        trailer: &'a [u8],
        lengths: [Option<(usize, Until)>; 2],
    ) -> Self {
        let used = out.len().saturating_sub(start).saturating_add(trailer.len());
        Self { out, start, family, trailer, lengths, used }
    }

    /// Adds a prefix of the packer's family; `false` when the message is full.
    pub fn push(&mut self, prefix: &IpNet) -> bool {
        debug_assert_eq!(Family::of(prefix), self.family);
        let used = self.used.saturating_add(prefix::encoded_len(prefix));
        if used > MAX_MESSAGE {
            return false;
        }
        self.used = used;
        prefix::write(prefix, self.out);
        true
    }

    /// Fills the length fields in.
    pub fn finish(self) {
        let prefixes_end = self.out.len();
        self.out.extend_from_slice(self.trailer);
        let message_end = self.out.len();
        for (at, until) in self.lengths.into_iter().flatten() {
            let end = match until {
                Until::Prefixes => prefixes_end,
                Until::Message => message_end,
            };
            fill_length(self.out, at, end);
        }
        let length = u16::try_from(message_end.saturating_sub(self.start)).unwrap_or(u16::MAX);
        fill(self.out, self.start.saturating_add(16), length);
    }
}

fn open_message(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; HEADER - 3]);
    out.extend_from_slice(&[0, 0, MessageType::Update as u8]);
    start
}

fn write_family(out: &mut Vec<u8>, family: Family) {
    let wire = family.wire();
    out.extend_from_slice(&wire.afi.to_be_bytes());
    out.push(wire.safi);
}

/// Reserves a two-octet length field.
fn length_here(out: &mut Vec<u8>, until: Until) -> Option<(usize, Until)> {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    Some((at, until))
}

/// Writes into the field at `at` how many bytes lie between it and `end`.
fn fill_length(out: &mut [u8], at: usize, end: usize) {
    let length = end.saturating_sub(at).saturating_sub(2);
    fill(out, at, u16::try_from(length).unwrap_or(u16::MAX));
}

fn fill(out: &mut [u8], at: usize, value: u16) {
    for (to, from) in out.iter_mut().skip(at).zip(value.to_be_bytes()) {
        *to = from;
    }
}
