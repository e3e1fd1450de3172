//! The BGP-4 wire format: RFC 4271 with multiprotocol (4760, 2545), four-octet ASNs (6793), capabilities (5492,
//! 9072), route refresh (2918), graceful restart (4724), communities (1997, 4360, 8092), revised error handling (7606)
//! and shutdown communication (9003).
//!
//! Decoding borrows: an UPDATE is a validated view of its own bytes, so one message costs no allocation that its
//! sender could inflate. Every error *is* the NOTIFICATION that answers it. Nothing in here can panic: indexing,
//! unwrapping and unchecked arithmetic are denied.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)]

pub mod attribute;
pub mod capability;
pub mod family;
pub mod frame;
pub mod notification;
pub mod open;
pub mod packer;
pub mod path;
pub mod prefix;
pub mod reach;
pub mod reader;
pub mod refresh;
pub mod update;
pub mod writer;

pub use attribute::Attributes;
pub use capability::{Capability, GracefulRestart};
pub use family::{AfiSafi, Family};
pub use frame::Framer;
pub use notification::{Notification, Reason};
pub use open::Open;
pub use packer::Packer;
pub use refresh::RouteRefresh;
pub use update::{Update, Verdict};
pub use writer::{AttributeWriter, TooLong};

/// Octets of a header: marker, length, type.
pub const HEADER: usize = 19;
/// Longest message without RFC 8654.
pub const MAX_MESSAGE: usize = 4096;
/// The 2-octet stand-in for an ASN that needs four, RFC 6793.
pub const AS_TRANS: u16 = 23456;

/// What both sides agreed on that changes how bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// AS numbers in AS_PATH and AGGREGATOR have four octets (RFC 6793).
    pub four_octet_asn: bool,
    /// The sender is in our own AS: LOCAL_PREF and the like are its to say (RFC 7606 7.5, 7.9, 7.10).
    pub internal: bool,
}

/// One received message.
#[allow(clippy::large_enum_variant, reason = "lives on the stack for the time of one call")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    Open(Open),
    Update(Update<'a>),
    Notification(Notification),
    Keepalive,
    RouteRefresh(RouteRefresh),
}

/// Message types, RFC 4271 4.1 and RFC 2918.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    Open = 1,
    Update = 2,
    Notification = 3,
    Keepalive = 4,
    RouteRefresh = 5,
}

impl<'a> Message<'a> {
    /// Reads one whole frame as [`Framer`] hands it out, header included.
    ///
    /// # Errors
    /// The NOTIFICATION that ends the session.
    pub fn decode(frame: &'a [u8], context: &Context) -> Result<Self, Notification> {
        let (kind, body) = frame::split(frame)?;
        match kind {
            MessageType::Open => Open::decode(body).map(Self::Open),
            MessageType::Update => Update::decode(body, context).map(Self::Update),
            MessageType::Notification => Notification::decode(body).map(Self::Notification),
            MessageType::Keepalive => Ok(Self::Keepalive),
            MessageType::RouteRefresh => RouteRefresh::decode(body).map(Self::RouteRefresh),
        }
    }
}

/// A KEEPALIVE is a bare header.
pub const KEEPALIVE: [u8; HEADER] = {
    let mut bytes = [0xff; HEADER];
    #[allow(clippy::indexing_slicing, reason = "constant")]
    {
        bytes[16] = 0;
        bytes[17] = HEADER as u8;
        bytes[18] = MessageType::Keepalive as u8;
    }
    bytes
};
