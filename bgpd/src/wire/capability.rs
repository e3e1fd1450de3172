//! Capabilities that an OPEN advertises (RFC 5492): multiprotocol (4760), route refresh (2918), graceful restart (4724),
//! four-octet ASN (6793). Others are kept as they came and mean nothing.

use super::family::AfiSafi;
use super::reader::Reader;

const MULTI_PROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_ASN: u8 = 65;

/// Flags of the graceful restart capability and of each of its families.
const RESTARTING: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const TIME: u16 = 0x0fff;
const FORWARDING: u8 = 0x80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    MultiProtocol(AfiSafi),
    RouteRefresh,
    GracefulRestart(GracefulRestart),
    FourOctetAsn(u32),
    /// Unknown, or known with a length that it cannot have. `value` has at most 255 octets.
    Other {
        code: u8,
        value: Vec<u8>,
    },
}

/// RFC 4724 3, with the N-bit of RFC 8538.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R-bit: the sender has restarted and has not sent its End-of-RIB yet.
    pub restarting: bool,
    /// N-bit: graceful restart also after NOTIFICATION and hold timer expiry.
    pub notification: bool,
    /// Restart time, seconds, 12 bits.
    pub time: u16,
    /// Families, and whether forwarding state survived the restart (F-bit). At most 63.
    pub families: Vec<(AfiSafi, bool)>,
}

impl Capability {
    /// Reads one capability.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let code = reader.u8()?;
        let value = reader.counted_u8()?;
        let known = match code {
            MULTI_PROTOCOL => multi_protocol(value),
            ROUTE_REFRESH if value.is_empty() => Some(Self::RouteRefresh),
            GRACEFUL_RESTART => graceful_restart(value).map(Self::GracefulRestart),
            FOUR_OCTET_ASN => value.try_into().ok().map(|asn| Self::FourOctetAsn(u32::from_be_bytes(asn))),
            _ => None,
        };
        Some(known.unwrap_or_else(|| Self::Other { code, value: value.to_vec() }))
    }

    /// Code and value; a value longer than 255 octets is cut.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        let code = match self {
            Self::MultiProtocol(family) => {
                value.extend_from_slice(&family.afi.to_be_bytes());
                value.extend_from_slice(&[0, family.safi]);
                MULTI_PROTOCOL
            }
            Self::RouteRefresh => ROUTE_REFRESH,
            Self::GracefulRestart(restart) => {
                restart.encode(&mut value);
                GRACEFUL_RESTART
            }
            Self::FourOctetAsn(asn) => {
                value.extend_from_slice(&asn.to_be_bytes());
                FOUR_OCTET_ASN
            }
            Self::Other { code, value: raw } => {
                value.extend_from_slice(raw);
                *code
            }
        };
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        value.truncate(usize::from(length));
        out.extend_from_slice(&[code, length]);
        out.extend_from_slice(&value);
    }
}

impl GracefulRestart {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut word = self.time.min(TIME);
        word |= if self.restarting { RESTARTING } else { 0 };
        word |= if self.notification { NOTIFICATION } else { 0 };
        out.extend_from_slice(&word.to_be_bytes());
        for (family, forwarding) in self.families.iter().take(63) {
            out.extend_from_slice(&family.afi.to_be_bytes());
            out.extend_from_slice(&[family.safi, if *forwarding { FORWARDING } else { 0 }]);
        }
    }
}

fn multi_protocol(value: &[u8]) -> Option<Capability> {
    let &[high, low, _reserved, safi] = value else { return None };
    Some(Capability::MultiProtocol(AfiSafi { afi: u16::from_be_bytes([high, low]), safi }))
}

fn graceful_restart(value: &[u8]) -> Option<GracefulRestart> {
    let mut reader = Reader::new(value);
    let word = reader.u16()?;
    let mut families = Vec::with_capacity(reader.len() / 4);
    while !reader.is_empty() {
        let family = AfiSafi { afi: reader.u16()?, safi: reader.u8()? };
        families.push((family, reader.u8()? & FORWARDING != 0));
    }
    Some(GracefulRestart {
        restarting: word & RESTARTING != 0,
        notification: word & NOTIFICATION != 0,
        time: word & TIME,
        families,
    })
}
