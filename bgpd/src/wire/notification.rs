//! NOTIFICATION: why a session ends (RFC 4271 4.5 and 6, Cease subcodes of RFC 4486, shutdown text of RFC 9003).
//!
//! This is the error type of the codec and of the FSM: whatever goes wrong is at once what the peer is told.

use std::borrow::Cow;
use std::fmt;

use super::frame;
use super::reader::Reader;
use super::{HEADER, MAX_MESSAGE, MessageType};

/// Code, subcode and data of a NOTIFICATION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub reason: Reason,
    pub data: Vec<u8>,
}

/// Most data that fits into one message.
const MAX_DATA: usize = MAX_MESSAGE - HEADER - 2;
/// Longest shutdown communication, octets of UTF-8 (RFC 9003 2).
const MAX_TEXT: usize = 255;

macro_rules! reasons {
    ($($name:ident = ($code:literal, $subcode:literal, $words:literal),)*) => {
        /// A code and subcode with a name, or any other pair.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $words] $name,)*
            /// A pair that this table does not know.
            Other(u8, u8),
        }

        impl Reason {
            /// Code and subcode.
            pub const fn wire(self) -> (u8, u8) {
                match self {
                    $(Self::$name => ($code, $subcode),)*
                    Self::Other(code, subcode) => (code, subcode),
                }
            }

            pub const fn from_wire(code: u8, subcode: u8) -> Self {
                match (code, subcode) {
                    $(($code, $subcode) => Self::$name,)*
                    _ => Self::Other(code, subcode),
                }
            }

            fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                    Self::Other(..) => "unknown",
                }
            }
        }
    };
}

reasons! {
    ConnectionNotSynchronized = (1, 1, "connection not synchronized"),
    BadMessageLength = (1, 2, "bad message length"),
    BadMessageType = (1, 3, "bad message type"),
    OpenMalformed = (2, 0, "OPEN malformed"),
    UnsupportedVersion = (2, 1, "unsupported version"),
    BadPeerAs = (2, 2, "bad peer AS"),
    BadBgpIdentifier = (2, 3, "bad BGP identifier"),
    UnsupportedOptionalParameter = (2, 4, "unsupported optional parameter"),
    UnacceptableHoldTime = (2, 6, "unacceptable hold time"),
    UnsupportedCapability = (2, 7, "unsupported capability"),
    MalformedAttributeList = (3, 1, "malformed attribute list"),
    UnrecognizedWellKnownAttribute = (3, 2, "unrecognized well-known attribute"),
    MissingWellKnownAttribute = (3, 3, "missing well-known attribute"),
    AttributeFlagsError = (3, 4, "attribute flags error"),
    AttributeLengthError = (3, 5, "attribute length error"),
    InvalidOrigin = (3, 6, "invalid ORIGIN"),
    InvalidNextHop = (3, 8, "invalid NEXT_HOP"),
    OptionalAttributeError = (3, 9, "optional attribute error"),
    InvalidNetworkField = (3, 10, "invalid network field"),
    MalformedAsPath = (3, 11, "malformed AS_PATH"),
    HoldTimerExpired = (4, 0, "hold timer expired"),
    FsmError = (5, 0, "FSM error"),
    UnexpectedInOpenSent = (5, 1, "unexpected message in OpenSent"),
    UnexpectedInOpenConfirm = (5, 2, "unexpected message in OpenConfirm"),
    UnexpectedInEstablished = (5, 3, "unexpected message in Established"),
    Cease = (6, 0, "cease"),
    MaximumPrefixes = (6, 1, "maximum number of prefixes reached"),
    AdministrativeShutdown = (6, 2, "administrative shutdown"),
    PeerDeconfigured = (6, 3, "peer de-configured"),
    AdministrativeReset = (6, 4, "administrative reset"),
    ConnectionRejected = (6, 5, "connection rejected"),
    OtherConfigurationChange = (6, 6, "other configuration change"),
    CollisionResolution = (6, 7, "connection collision resolution"),
    OutOfResources = (6, 8, "out of resources"),
    HardReset = (6, 9, "hard reset"),
    BfdDown = (6, 10, "BFD down"),
    RefreshLength = (7, 1, "invalid ROUTE-REFRESH length"),
    SendHoldTimerExpired = (8, 0, "send hold timer expired"),
}

impl Notification {
    pub fn new(reason: Reason) -> Self {
        Self { reason, data: Vec::new() }
    }

    /// With data, cut to what one message can carry.
    pub fn with_data(reason: Reason, data: &[u8]) -> Self {
        Self { reason, data: data.iter().take(MAX_DATA).copied().collect() }
    }

    /// Cease/2 with an operator's words (RFC 9003), cut to 255 octets at a character boundary; none when empty.
    pub fn shutdown(text: &str) -> Self {
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let text = text.get(..end).unwrap_or_default();
        let mut data = Vec::new();
        if let Some(length) = u8::try_from(text.len()).ok().filter(|&length| length > 0) {
            data.push(length);
            data.extend_from_slice(text.as_bytes());
        }
        Self { reason: Reason::AdministrativeShutdown, data }
    }

    /// The operator's words of a Cease/2 or Cease/4, control characters removed; `None` when there are none or they
    /// are malformed.
    pub fn text(&self) -> Option<String> {
        if !matches!(self.reason, Reason::AdministrativeShutdown | Reason::AdministrativeReset) {
            return None;
        }
        let text = Reader::new(&self.data).counted_u8().filter(|text| !text.is_empty())?;
        let text: Cow<'_, str> = std::str::from_utf8(text).ok()?.into();
        Some(text.chars().filter(|c| !c.is_control()).collect())
    }

    pub fn decode(body: &[u8]) -> Result<Self, Self> {
        let mut reader = Reader::new(body);
        let (Some(code), Some(subcode)) = (reader.u8(), reader.u8()) else {
            return Err(Self::new(Reason::BadMessageLength));
        };
        Ok(Self { reason: Reason::from_wire(code, subcode), data: reader.rest().to_vec() })
    }

    /// The whole message. Data beyond what fits is left out.
    pub fn encode(&self) -> Vec<u8> {
        let (code, subcode) = self.reason.wire();
        let mut body = vec![code, subcode];
        body.extend(self.data.iter().take(MAX_DATA));
        frame::wrap(MessageType::Notification, &body).unwrap_or_default()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = self.wire();
        let group = match code {
            6 => "Cease, ",
            _ => "",
        };
        write!(f, "{code}/{subcode} {group}{}", self.words())
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        match self.text() {
            Some(text) => write!(f, " \"{text}\""),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Notification {}
