//! AS_PATH (RFC 4271 4.3 b) with two- or four-octet ASNs (RFC 6793).

use super::reader::Reader;

pub const AS_SET: u8 = 1;
pub const AS_SEQUENCE: u8 = 2;
const AS_CONFED_SEQUENCE: u8 = 3;
const AS_CONFED_SET: u8 = 4;

/// A checked AS_PATH, still in the bytes of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsPath<'a> {
    bytes: &'a [u8],
    four_octet: bool,
}

/// One segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// [`AS_SET`], [`AS_SEQUENCE`] or their confederation kinds 3 and 4.
    pub kind: u8,
    asns: &'a [u8],
    four_octet: bool,
}

impl<'a> AsPath<'a> {
    /// Malformed (RFC 7606 7.2): an unknown kind of segment, an empty segment, a segment beyond the end.
    pub fn parse(bytes: &'a [u8], four_octet: bool) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            segment(&mut reader, four_octet)?;
        }
        Some(Self { bytes, four_octet })
    }

    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let four_octet = self.four_octet;
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || segment(&mut reader, four_octet))
    }

    /// All ASNs in order, sets included.
    pub fn asns(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.segments().flat_map(|segment| segment.asns())
    }
}

impl<'a> Segment<'a> {
    pub fn asns(&self) -> impl Iterator<Item = u32> + use<'a> {
        let four_octet = self.four_octet;
        let mut reader = Reader::new(self.asns);
        std::iter::from_fn(move || if four_octet { reader.u32() } else { reader.u16().map(u32::from) })
    }
}

fn segment<'a>(reader: &mut Reader<'a>, four_octet: bool) -> Option<Segment<'a>> {
    let kind = reader.u8()?;
    let count = usize::from(reader.u8()?);
    if !matches!(kind, AS_SET | AS_SEQUENCE | AS_CONFED_SEQUENCE | AS_CONFED_SET) || count == 0 {
        return None;
    }
    let asns = reader.take(count.checked_mul(if four_octet { 4 } else { 2 })?)?;
    Some(Segment { kind, asns, four_octet })
}
