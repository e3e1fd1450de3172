//! ROUTE-REFRESH: "send me that family again" (RFC 2918; the subtypes of RFC 7313; an ORF list of RFC 5291 may follow
//! and is not read, since it is never negotiated).

use super::family::AfiSafi;
use super::reader::Reader;
use super::{MessageType, Notification, Reason, frame};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    pub family: AfiSafi,
    /// 0: a request; 1 and 2: begin and end of a refresh (RFC 7313).
    pub subtype: u8,
}

impl RouteRefresh {
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader::new(body);
        let (Some(afi), Some(subtype), Some(safi)) = (reader.u16(), reader.u8(), reader.u8()) else {
            return Err(Notification::with_data(Reason::RefreshLength, body));
        };
        Ok(Self { family: AfiSafi { afi, safi }, subtype })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4);
        body.extend_from_slice(&self.family.afi.to_be_bytes());
        body.extend_from_slice(&[self.subtype, self.family.safi]);
        frame::wrap(MessageType::RouteRefresh, &body).unwrap_or_default()
    }
}
