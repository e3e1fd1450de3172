//! OPEN (RFC 4271 4.2) with capabilities (RFC 5492) and extended optional parameters (RFC 9072).
//!
//! Only the syntax is checked here, and the version, without which nothing else can be read; whether the values are
//! acceptable depends on the configuration and is decided by the FSM.

use std::net::Ipv4Addr;

use super::capability::Capability;
use super::reader::Reader;
use super::{AS_TRANS, MessageType, Notification, Reason, TooLong, frame};

const VERSION: u8 = 4;
const PARAMETER_CAPABILITIES: u8 = 2;
const EXTENDED: u8 = 255;
/// More capabilities than any speaker has; bounds what one OPEN can make us keep.
const MAX_CAPABILITIES: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The two-octet field; the real ASN is in the capability when this is [`AS_TRANS`].
    pub my_as: u16,
    /// Seconds.
    pub hold_time: u16,
    pub bgp_id: Ipv4Addr,
    /// In the order of the wire, unknown ones included. At most 256.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The two-octet form of an ASN.
    pub fn short_asn(asn: u32) -> u16 {
        u16::try_from(asn).unwrap_or(AS_TRANS)
    }

    /// The sender's ASN: that of the capability where there is one (RFC 6793 4.1).
    pub fn asn(&self) -> u32 {
        self.four_octet_asn().unwrap_or_else(|| self.my_as.into())
    }

    pub fn four_octet_asn(&self) -> Option<u32> {
        self.capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAsn(asn) => Some(*asn),
            _ => None,
        })
    }

    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or_else(malformed)?;
        if version != VERSION {
            // The data is the largest version that we speak, RFC 4271 6.2.
            return Err(Notification::with_data(Reason::UnsupportedVersion, &[0, VERSION]));
        }
        let my_as = reader.u16().ok_or_else(malformed)?;
        let hold_time = reader.u16().ok_or_else(malformed)?;
        let bgp_id = reader.array::<4>().ok_or_else(malformed)?.into();
        let mut capabilities = Vec::new();
        decode_parameters(reader, &mut capabilities)?;
        Ok(Self { my_as, hold_time, bgp_id, capabilities })
    }

    /// The whole message. Every capability gets an optional parameter of its own, which all routers accept; the
    /// extended form is used only when 255 octets do not do.
    ///
    /// # Errors
    /// When the capabilities do not fit into one message.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let mut body = vec![VERSION];
        body.extend_from_slice(&self.my_as.to_be_bytes());
        body.extend_from_slice(&self.hold_time.to_be_bytes());
        body.extend_from_slice(&self.bgp_id.octets());
        match self.parameters(false) {
            Some(parameters) if parameters.len() < usize::from(EXTENDED) => {
                body.push(u8::try_from(parameters.len()).map_err(|_| TooLong)?);
                body.extend_from_slice(&parameters);
            }
            _ => {
                let parameters = self.parameters(true).ok_or(TooLong)?;
                body.extend_from_slice(&[EXTENDED, EXTENDED]);
                body.extend_from_slice(&u16::try_from(parameters.len()).map_err(|_| TooLong)?.to_be_bytes());
                body.extend_from_slice(&parameters);
            }
        }
        frame::wrap(MessageType::Open, &body).ok_or(TooLong)
    }

    fn parameters(&self, extended: bool) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut one = Vec::new();
        for capability in &self.capabilities {
            one.clear();
            capability.encode(&mut one);
            out.push(PARAMETER_CAPABILITIES);
            if extended {
                out.extend_from_slice(&u16::try_from(one.len()).ok()?.to_be_bytes());
            } else {
                out.push(u8::try_from(one.len()).ok()?);
            }
            out.extend_from_slice(&one);
        }
        Some(out)
    }
}

fn decode_parameters(mut reader: Reader<'_>, out: &mut Vec<Capability>) -> Result<(), Notification> {
    let length = reader.u8().ok_or_else(malformed)?;
    // RFC 9072 2: the marker is the parameter type 255; the length octet should be 255 and must not be 0.
    let extended = length != 0 && reader.rest().first() == Some(&EXTENDED);
    let length = if extended {
        reader.u8();
        reader.u16().ok_or_else(malformed)?
    } else {
        length.into()
    };
    if usize::from(length) != reader.len() {
        return Err(malformed());
    }
    while !reader.is_empty() {
        let kind = reader.u8().ok_or_else(malformed)?;
        let value = if extended { reader.counted_u16() } else { reader.counted_u8() };
        let value = value.ok_or_else(malformed)?;
        if kind != PARAMETER_CAPABILITIES {
            return Err(Notification::new(Reason::UnsupportedOptionalParameter));
        }
        decode_capabilities(Reader::new(value), out)?;
    }
    Ok(())
}

fn decode_capabilities(mut reader: Reader<'_>, out: &mut Vec<Capability>) -> Result<(), Notification> {
    while !reader.is_empty() {
        let capability = Capability::decode(&mut reader).ok_or_else(malformed)?;
        if out.len() >= MAX_CAPABILITIES {
            return Err(malformed());
        }
        out.push(capability);
    }
    Ok(())
}

fn malformed() -> Notification {
    Notification::new(Reason::OpenMalformed)
}
