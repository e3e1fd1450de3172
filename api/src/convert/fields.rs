//! What all conversions share: names and labels, optional texts and durations, enums.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Collector, Illegal, Labels, Name, scalar};
use proto::v1;

/// The name in `meta`, recorded at `meta.name` when it is missing or malformed.
pub(super) fn name(meta: Option<&v1::Meta>, violations: &mut Collector) -> Option<Name> {
    let text = meta.map_or("", |meta| meta.name.as_str());
    violations.take("meta.name", scalar::name(text))
}

pub(super) fn meta_labels(meta: Option<&v1::Meta>, violations: &mut Collector) -> Option<Labels> {
    match meta {
        Some(meta) => violations.take("meta.labels", scalar::labels(&meta.labels)),
        None => Some(Labels::new()),
    }
}

pub(super) fn selector(
    field: &str,
    labels: &BTreeMap<String, String>,
    violations: &mut Collector,
) -> Option<Labels> {
    violations.take(field, scalar::labels(labels))
}

/// A spec must be there, even an empty one: a missing spec is a truncated document.
pub(super) fn spec<'a, T>(spec: Option<&'a T>, violations: &mut Collector) -> Option<&'a T> {
    violations.take("spec", spec.ok_or(Illegal::Missing { expect: "what this resource shall be" }))
}

/// `None` for an absent text, else what `parse` makes of it.
pub(super) fn optional<T>(
    field: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Illegal>,
    violations: &mut Collector,
) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { violations.take(field, parse(text)).map(Some) }
}

/// `None` for an absent duration; outer `None` when it is illegal.
pub(super) fn duration(
    field: &str,
    value: Option<&prost_types::Duration>,
    violations: &mut Collector,
) -> Option<Option<Duration>> {
    match value {
        Some(value) => violations.take(field, scalar::duration(value.seconds, value.nanos)).map(Some),
        None => Some(None),
    }
}

/// The enum behind a number on the wire; a number from a newer client is named, never taken for the default.
pub(super) fn known<E: TryFrom<i32>>(
    field: &str,
    kind: &'static str,
    value: i32,
    violations: &mut Collector,
) -> Option<E> {
    let known = E::try_from(value).map_err(|_| Illegal::UnknownEnum { kind, value });
    violations.take(field, known)
}

/// At most `most` items: refused as a whole before any of them is looked at.
pub(super) fn bounded<T>(
    field: &str,
    what: &'static str,
    items: &[T],
    most: usize,
    violations: &mut Collector,
) -> Option<()> {
    let fits = items.len() <= most;
    let error = Illegal::TooMany { what, count: items.len(), most };
    violations.take(field, fits.then_some(()).ok_or(error))
}
