//! UPDATE (RFC 4271 4.3) as a checked view of a received message. Ours are made by [`Packer`](super::Packer).

use super::attribute::{self, Attributes, Fault, Handling};
use super::family::Family;
use super::prefix::Prefixes;
use super::reader::Reader;
use super::{Context, Notification, Reason};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// Classic withdrawn routes, always IPv4.
    pub withdrawn: Prefixes<'a>,
    pub attributes: Attributes<'a>,
    /// Classic NLRI, always IPv4.
    pub announced: Prefixes<'a>,
    pub verdict: Verdict,
}

/// What RFC 7606 says about the whole message; the gravest fault is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// Accepted without the attributes that were wrong.
    AttributeDiscard(Fault),
    /// All its announced routes count as withdrawn.
    TreatAsWithdraw(Fault),
}

impl<'a> Update<'a> {
    pub fn decode(body: &'a [u8], context: &Context) -> Result<Self, Notification> {
        let mut reader = Reader::new(body);
        let lists = || Notification::new(Reason::MalformedAttributeList);
        let withdrawn = reader.counted_u16().ok_or_else(lists)?;
        let section = reader.counted_u16().ok_or_else(lists)?;
        let network = || Notification::new(Reason::InvalidNetworkField);
        let withdrawn = Prefixes::parse(Family::Ipv4Unicast, withdrawn).ok_or_else(network)?;
        let announced = Prefixes::parse(Family::Ipv4Unicast, reader.rest()).ok_or_else(network)?;

        let (attributes, mut fault) = Attributes::decode(section, context)?;
        if let Some(missing) = missing(&attributes, &announced) {
            attribute::note(&mut fault, missing);
        }
        let verdict = match fault {
            None => Verdict::Accept,
            Some(fault) if fault.handling == Handling::AttributeDiscard => Verdict::AttributeDiscard(fault),
            // RFC 7606 5.2: nothing tells which routes to withdraw.
            Some(fault) if announced.is_empty() && attributes.mp_reach.is_none() => {
                return Err(Notification::new(fault.reason));
            }
            Some(fault) => Verdict::TreatAsWithdraw(fault),
        };
        Ok(Self { withdrawn, attributes, announced, verdict })
    }

    /// The family whose initial dump ends here (RFC 4724 2): an UPDATE with nothing in it, or with nothing but an
    /// empty MP_UNREACH_NLRI.
    pub fn end_of_rib(&self) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.announced.is_empty() {
            return None;
        }
        let attributes = &self.attributes;
        match attributes.mp_unreach {
            None if attributes.is_absent() => Some(Family::Ipv4Unicast),
            Some(prefixes) if prefixes.is_empty() && attributes.is_only_unreach() => Some(prefixes.family()),
            _ => None,
        }
    }
}

/// The first mandatory attribute that a reachable route lacks (RFC 4271 5, RFC 7606 3 d).
fn missing(attributes: &Attributes<'_>, announced: &Prefixes<'_>) -> Option<Fault> {
    let classic = !announced.is_empty();
    let reachable = classic || attributes.mp_reach.is_some();
    let code = if reachable && attributes.origin.is_none() {
        attribute::ORIGIN
    } else if reachable && attributes.as_path.is_none() {
        attribute::AS_PATH
    } else if classic && attributes.next_hop.is_none() {
        attribute::NEXT_HOP
    } else {
        return None;
    };
    Some(Fault { attribute: code, ..Fault::list(Reason::MissingWellKnownAttribute) })
}
