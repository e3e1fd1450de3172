//! Path attributes of a received UPDATE, each judged by RFC 7606: kept, discarded, the routes treated as withdrawn, or
//! the session reset.
//!
//! The result borrows from the message. Unknown optional attributes stay in its bytes and are found by
//! [`Attributes::unknown`].

use std::net::Ipv4Addr;

use super::family::AfiSafi;
use super::path::AsPath;
use super::prefix::Prefixes;
use super::reach::{self, Reach};
use super::reader::Reader;
use super::{Context, Notification, Reason};

pub const ORIGIN: u8 = 1;
pub const AS_PATH: u8 = 2;
pub const NEXT_HOP: u8 = 3;
pub const MULTI_EXIT_DISC: u8 = 4;
pub const LOCAL_PREF: u8 = 5;
pub const ATOMIC_AGGREGATE: u8 = 6;
pub const AGGREGATOR: u8 = 7;
pub const COMMUNITIES: u8 = 8;
pub const ORIGINATOR_ID: u8 = 9;
pub const CLUSTER_LIST: u8 = 10;
pub const MP_REACH_NLRI: u8 = 14;
pub const MP_UNREACH_NLRI: u8 = 15;
pub const EXTENDED_COMMUNITIES: u8 = 16;
pub const AS4_PATH: u8 = 17;
pub const AS4_AGGREGATOR: u8 = 18;
pub const LARGE_COMMUNITIES: u8 = 32;

pub const OPTIONAL: u8 = 0x80;
pub const TRANSITIVE: u8 = 0x40;
pub const PARTIAL: u8 = 0x20;
pub const EXTENDED_LENGTH: u8 = 0x10;

/// The attributes that were understood and not discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes<'a> {
    /// 0 IGP, 1 EGP, 2 INCOMPLETE.
    pub origin: Option<u8>,
    pub as_path: Option<AsPath<'a>>,
    pub next_hop: Option<Ipv4Addr>,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    pub atomic_aggregate: bool,
    pub aggregator: Option<(u32, Ipv4Addr)>,
    pub communities: Chunks<'a, 4>,
    pub originator_id: Option<Ipv4Addr>,
    pub cluster_list: Chunks<'a, 4>,
    pub mp_reach: Option<Reach<'a>>,
    pub mp_unreach: Option<Prefixes<'a>>,
    /// Raw (RFC 4360).
    pub extended_communities: Chunks<'a, 8>,
    pub as4_path: Option<AsPath<'a>>,
    pub as4_aggregator: Option<(u32, Ipv4Addr)>,
    pub large_communities: Chunks<'a, 12>,
    /// A family that the speaker does not handle was announced or withdrawn.
    pub foreign_family: Option<AfiSafi>,
    section: &'a [u8],
}

/// A checked run of items of `N` octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunks<'a, const N: usize>(&'a [u8]);

impl<'a, const N: usize> Chunks<'a, N> {
    pub fn iter(&self) -> impl Iterator<Item = [u8; N]> + use<'a, N> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || reader.array())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At least one item, and no rest.
    fn parse(value: &'a [u8]) -> Option<Self> {
        (!value.is_empty() && value.len().is_multiple_of(N)).then_some(Self(value))
    }
}

/// An attribute as it stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    pub flags: u8,
    pub code: u8,
    pub value: &'a [u8],
    /// Flags, code and length included: the data of a NOTIFICATION (RFC 4271 6.3).
    whole: &'a [u8],
}

/// What is wrong with one attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Type code of the attribute; 0: the list as a whole.
    pub attribute: u8,
    pub reason: Reason,
    pub handling: Handling,
}

/// RFC 7606 2, weakest first; a session reset is an `Err`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handling {
    AttributeDiscard,
    TreatAsWithdraw,
}

impl<'a> Attributes<'a> {
    /// The message carries no attribute at all.
    pub fn is_absent(&self) -> bool {
        self.section.is_empty()
    }

    /// MP_UNREACH_NLRI is the only attribute.
    pub(super) fn is_only_unreach(&self) -> bool {
        let mut reader = Reader::new(self.section);
        Raw::read(&mut reader).is_some_and(|raw| raw.code == MP_UNREACH_NLRI) && reader.is_empty()
    }

    /// Attributes with a code that this module does not know, as they came; only transitive ones mean anything beyond
    /// this session.
    pub fn unknown(&self) -> impl Iterator<Item = Raw<'a>> + use<'a> {
        let mut reader = Reader::new(self.section);
        std::iter::from_fn(move || Raw::read(&mut reader)).filter(|raw| expected_flags(raw.code).is_none())
    }

    /// Reads the whole attribute section of an UPDATE. The fault is the gravest one found (RFC 7606 3 h).
    pub(super) fn decode(
        section: &'a [u8],
        context: &Context,
    ) -> Result<(Self, Option<Fault>), Notification> {
        let mut attributes = Attributes { section, ..Self::default() };
        let mut gravest: Option<Fault> = None;
        let mut seen = [false; 256];
        let mut reader = Reader::new(section);
        while !reader.is_empty() {
            let Some(raw) = Raw::read(&mut reader) else {
                let fault = Fault::list(Reason::MalformedAttributeList);
                note(&mut gravest, fault);
                break;
            };
            let again = seen.get_mut(usize::from(raw.code)).is_some_and(|seen| std::mem::replace(seen, true));
            if let Err(fault) = attributes.take(&raw, again, context)? {
                note(&mut gravest, fault);
            }
        }
        Ok((attributes, gravest))
    }

    /// Outer error: session reset. Inner error: a milder fault of this attribute.
    fn take(
        &mut self,
        raw: &Raw<'a>,
        again: bool,
        context: &Context,
    ) -> Result<Result<(), Fault>, Notification> {
        let multi_protocol = matches!(raw.code, MP_REACH_NLRI | MP_UNREACH_NLRI);
        if again && multi_protocol {
            return Err(Notification::new(Reason::MalformedAttributeList));
        }
        if again {
            return Ok(Err(raw.fault(Reason::MalformedAttributeList, Handling::AttributeDiscard)));
        }
        let flags = self.check_flags(raw)?;
        if multi_protocol {
            // Also with wrong flags: treating as withdrawn needs to know what (RFC 7606 3 j).
            self.take_multi_protocol(raw)?;
            return Ok(flags);
        }
        Ok(flags.and_then(|()| self.take_plain(raw, context)))
    }

    fn check_flags(&self, raw: &Raw<'a>) -> Result<Result<(), Fault>, Notification> {
        match expected_flags(raw.code) {
            Some(flags) if flags == raw.flags & (OPTIONAL | TRANSITIVE) => Ok(Ok(())),
            Some(_) => Ok(Err(raw.fault(Reason::AttributeFlagsError, Handling::TreatAsWithdraw))),
            None if raw.flags & OPTIONAL == 0 => Err(raw.reset(Reason::UnrecognizedWellKnownAttribute)),
            None => Ok(Ok(())),
        }
    }

    fn take_multi_protocol(&mut self, raw: &Raw<'a>) -> Result<(), Notification> {
        let mut reader = Reader::new(raw.value);
        let family = reach::family(&mut reader).ok_or_else(|| raw.reset(Reason::OptionalAttributeError))?;
        let Some(known) = family.known() else {
            self.foreign_family = Some(family);
            return Ok(());
        };
        if raw.code == MP_REACH_NLRI {
            self.mp_reach =
                Some(Reach::parse(known, reader).ok_or_else(|| raw.reset(Reason::OptionalAttributeError))?);
        } else {
            let prefixes = Prefixes::parse(known, reader.rest());
            self.mp_unreach = Some(prefixes.ok_or_else(|| raw.reset(Reason::OptionalAttributeError))?);
        }
        Ok(())
    }

    /// RFC 7606 7: one arm for each attribute, with its verdict.
    fn take_plain(&mut self, raw: &Raw<'a>, context: &Context) -> Result<(), Fault> {
        use Handling::{AttributeDiscard, TreatAsWithdraw};
        let length = |handling| raw.fault(Reason::AttributeLengthError, handling);
        let wide = context.four_octet_asn;
        match raw.code {
            ORIGIN => {
                let &[origin] = raw.value else { return Err(length(TreatAsWithdraw)) };
                if origin > 2 {
                    return Err(raw.fault(Reason::InvalidOrigin, TreatAsWithdraw));
                }
                self.origin = Some(origin);
            }
            AS_PATH => {
                let path = AsPath::parse(raw.value, wide);
                let malformed = || raw.fault(Reason::MalformedAsPath, TreatAsWithdraw);
                self.as_path = Some(path.ok_or_else(malformed)?);
            }
            NEXT_HOP => self.next_hop = Some(raw.word(TreatAsWithdraw)?.into()),
            MULTI_EXIT_DISC => self.med = Some(raw.word(TreatAsWithdraw)?),
            LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST if !context.internal => {
                return Err(raw.fault(Reason::OptionalAttributeError, AttributeDiscard));
            }
            LOCAL_PREF => self.local_pref = Some(raw.word(TreatAsWithdraw)?),
            ORIGINATOR_ID => self.originator_id = Some(raw.word(TreatAsWithdraw)?.into()),
            CLUSTER_LIST => {
                self.cluster_list = Chunks::parse(raw.value).ok_or_else(|| length(TreatAsWithdraw))?;
            }
            ATOMIC_AGGREGATE if raw.value.is_empty() => self.atomic_aggregate = true,
            ATOMIC_AGGREGATE => return Err(length(AttributeDiscard)),
            AGGREGATOR => {
                let aggregator = aggregator(raw.value, wide);
                self.aggregator = Some(aggregator.ok_or_else(|| length(AttributeDiscard))?);
            }
            COMMUNITIES => {
                self.communities = Chunks::parse(raw.value).ok_or_else(|| length(TreatAsWithdraw))?;
            }
            EXTENDED_COMMUNITIES => {
                self.extended_communities =
                    Chunks::parse(raw.value).ok_or_else(|| length(TreatAsWithdraw))?;
            }
            LARGE_COMMUNITIES => {
                self.large_communities = Chunks::parse(raw.value).ok_or_else(|| length(TreatAsWithdraw))?;
            }
            // RFC 6793 6: meaningless between two speakers with four-octet ASNs.
            AS4_PATH | AS4_AGGREGATOR if wide => {
                return Err(raw.fault(Reason::OptionalAttributeError, AttributeDiscard));
            }
            AS4_PATH => {
                let path = AsPath::parse(raw.value, true);
                let malformed = || raw.fault(Reason::MalformedAsPath, AttributeDiscard);
                self.as4_path = Some(path.ok_or_else(malformed)?);
            }
            AS4_AGGREGATOR => {
                let aggregator = aggregator(raw.value, true);
                self.as4_aggregator = Some(aggregator.ok_or_else(|| length(AttributeDiscard))?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Raw<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let before = reader.rest();
        let (flags, code) = (reader.u8()?, reader.u8()?);
        let value = if flags & EXTENDED_LENGTH != 0 { reader.counted_u16()? } else { reader.counted_u8()? };
        let whole = before.get(..before.len().saturating_sub(reader.len()))?;
        Some(Self { flags, code, value, whole })
    }

    fn word(&self, handling: Handling) -> Result<u32, Fault> {
        let value = self.value.try_into().map_err(|_| self.fault(Reason::AttributeLengthError, handling))?;
        Ok(u32::from_be_bytes(value))
    }

    fn fault(&self, reason: Reason, handling: Handling) -> Fault {
        Fault { attribute: self.code, reason, handling }
    }

    fn reset(&self, reason: Reason) -> Notification {
        Notification::with_data(reason, self.whole)
    }
}

impl Fault {
    pub(super) fn list(reason: Reason) -> Self {
        Self { attribute: 0, reason, handling: Handling::TreatAsWithdraw }
    }
}

/// Keeps the graver of two faults, the first of equals.
pub(super) fn note(gravest: &mut Option<Fault>, fault: Fault) {
    if gravest.is_none_or(|known| known.handling < fault.handling) {
        *gravest = Some(fault);
    }
}

fn aggregator(value: &[u8], wide: bool) -> Option<(u32, Ipv4Addr)> {
    let mut reader = Reader::new(value);
    let asn = if wide { reader.u32()? } else { reader.u16()?.into() };
    let address = reader.array::<4>()?.into();
    reader.is_empty().then_some((asn, address))
}

/// Optional and transitive bits of the known attributes; `None` for all others.
fn expected_flags(code: u8) -> Option<u8> {
    match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => Some(TRANSITIVE),
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI => Some(OPTIONAL),
        AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | AS4_PATH | AS4_AGGREGATOR | LARGE_COMMUNITIES => {
            Some(OPTIONAL | TRANSITIVE)
        }
        _ => None,
    }
}
