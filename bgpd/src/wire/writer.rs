//! Writing path attributes, in the order of the calls.

use std::net::Ipv4Addr;

use super::attribute::{self as code, EXTENDED_LENGTH, OPTIONAL, TRANSITIVE};
use super::path::AS_SEQUENCE;
use super::{AS_TRANS, Open};

/// The attributes, or a message around them, do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("does not fit into one BGP message")]
pub struct TooLong;

/// An attribute section in the making.
#[derive(Debug, Default)]
pub struct AttributeWriter {
    bytes: Vec<u8>,
    too_long: bool,
}

impl AttributeWriter {
    /// 0 IGP, 1 EGP, 2 INCOMPLETE.
    pub fn origin(&mut self, origin: u8) -> &mut Self {
        self.raw(TRANSITIVE, code::ORIGIN, &[origin])
    }

    /// One AS_SEQUENCE (several of 255 when longer), or an empty path. Towards a peer without four-octet ASNs the long
    /// ones become AS_TRANS, and AS4_PATH must follow (RFC 6793 4.2.2).
    pub fn as_path(&mut self, asns: &[u32], four_octet: bool) -> &mut Self {
        let value = as_path(asns, four_octet);
        self.raw(TRANSITIVE, code::AS_PATH, &value)
    }

    /// The true path beside an AS_PATH that had to say AS_TRANS.
    pub fn as4_path(&mut self, asns: &[u32]) -> &mut Self {
        let value = as_path(asns, true);
        self.raw(OPTIONAL | TRANSITIVE, code::AS4_PATH, &value)
    }

    pub fn next_hop(&mut self, address: Ipv4Addr) -> &mut Self {
        self.raw(TRANSITIVE, code::NEXT_HOP, &address.octets())
    }

    pub fn med(&mut self, med: u32) -> &mut Self {
        self.raw(OPTIONAL, code::MULTI_EXIT_DISC, &med.to_be_bytes())
    }

    pub fn local_pref(&mut self, preference: u32) -> &mut Self {
        self.raw(TRANSITIVE, code::LOCAL_PREF, &preference.to_be_bytes())
    }

    /// Nothing when empty, as for the other kinds of communities.
    pub fn communities(&mut self, communities: impl IntoIterator<Item = u32>) -> &mut Self {
        let value: Vec<u8> = communities.into_iter().flat_map(u32::to_be_bytes).collect();
        self.unless_empty(code::COMMUNITIES, &value)
    }

    pub fn extended_communities(&mut self, communities: impl IntoIterator<Item = [u8; 8]>) -> &mut Self {
        let value: Vec<u8> = communities.into_iter().flatten().collect();
        self.unless_empty(code::EXTENDED_COMMUNITIES, &value)
    }

    pub fn large_communities(&mut self, communities: impl IntoIterator<Item = [u32; 3]>) -> &mut Self {
        let value: Vec<u8> = communities.into_iter().flatten().flat_map(u32::to_be_bytes).collect();
        self.unless_empty(code::LARGE_COMMUNITIES, &value)
    }

    /// Any attribute. The extended-length flag is set as the value needs it.
    pub fn raw(&mut self, flags: u8, code: u8, value: &[u8]) -> &mut Self {
        match (u8::try_from(value.len()), u16::try_from(value.len())) {
            (Ok(length), _) => self.bytes.extend_from_slice(&[flags & !EXTENDED_LENGTH, code, length]),
            (_, Ok(length)) => {
                self.bytes.extend_from_slice(&[flags | EXTENDED_LENGTH, code]);
                self.bytes.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                self.too_long = true;
                return self;
            }
        }
        self.bytes.extend_from_slice(value);
        self
    }

    /// The section.
    ///
    /// # Errors
    /// When one attribute was longer than 65535 octets. Whether the section fits beside its NLRI is for the
    /// [`Packer`](super::Packer) to say.
    pub fn finish(self) -> Result<Vec<u8>, TooLong> {
        if self.too_long { Err(TooLong) } else { Ok(self.bytes) }
    }

    fn unless_empty(&mut self, code: u8, value: &[u8]) -> &mut Self {
        if value.is_empty() { self } else { self.raw(OPTIONAL | TRANSITIVE, code, value) }
    }
}

fn as_path(asns: &[u32], four_octet: bool) -> Vec<u8> {
    let mut value = Vec::new();
    for segment in asns.chunks(255) {
        value.push(AS_SEQUENCE);
        value.push(u8::try_from(segment.len()).unwrap_or(u8::MAX));
        for &asn in segment {
            if four_octet {
                value.extend_from_slice(&asn.to_be_bytes());
            } else {
                value.extend_from_slice(&Open::short_asn(asn).to_be_bytes());
            }
        }
    }
    value
}

/// Whether a two-octet AS_PATH of these loses something.
pub fn needs_as4_path(asns: &[u32]) -> bool {
    asns.iter().any(|&asn| asn > u32::from(u16::MAX) || asn == u32::from(AS_TRANS))
}
