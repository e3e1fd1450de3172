//! Scalars as people write them: durations as "3s", enums by short names.

use prost_reflect::EnumDescriptor;

/// Seconds and nanoseconds of "3s", "500ms", "1m30s", "1.5h".
pub(crate) fn duration(text: &str) -> Result<(i64, i32), String> {
    let malformed =
        || format!("{text:?} is not a duration: write a number with ms, s, m or h, such as 3s or 1m30s");
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(malformed)?;
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, next) = unit.split_at(end);
        let scale: u128 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(malformed()),
        };
        total = scaled(number, scale).and_then(|part| total.checked_add(part)).ok_or_else(malformed)?;
        rest = next;
    }
    let seconds = i64::try_from(total / 1_000_000_000).map_err(|_| malformed())?;
    let nanos = i32::try_from(total % 1_000_000_000).map_err(|_| malformed())?;
    if text.is_empty() { Err(malformed()) } else { Ok((seconds, nanos)) }
}

/// `number` (digits with at most one point) times `scale`, cut to whole nanoseconds.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction = fraction.get(..fraction.len().min(12))?;
    let whole: u128 = u128::from(whole.parse::<u64>().ok()?);
    let part: u128 = u128::from(fraction.parse::<u64>().ok()?);
    let power = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_mul(scale)?.checked_add(part * scale / power)
}

/// The number of an enum's value: its full name, its name without the type's prefix in any case, `-` for `_`, or the
/// number itself (as the JSON mapping allows).
pub(crate) fn enum_number(kind: &EnumDescriptor, text: &str) -> Result<i32, String> {
    let wanted = text.replace('-', "_").to_uppercase();
    let prefix = prefix(kind);
    let by_name = kind
        .values()
        .find(|value| value.name() == wanted || value.name().strip_prefix(&prefix) == Some(&wanted))
        .map(|value| value.number());
    let by_number = || text.parse::<i32>().ok().filter(|number| kind.get_value(*number).is_some());
    by_name.or_else(by_number).ok_or_else(|| format!("{text:?} is none of {}", short_names(kind).join(", ")))
}

/// A value's name without the type's prefix, in lower case: `drop`.
pub(crate) fn short_name(kind: &EnumDescriptor, number: i32) -> String {
    match kind.get_value(number) {
        Some(value) => value.name().strip_prefix(&prefix(kind)).unwrap_or(value.name()).to_lowercase(),
        None => number.to_string(),
    }
}

fn short_names(kind: &EnumDescriptor) -> Vec<String> {
    kind.values().filter(|value| value.number() != 0).map(|value| short_name(kind, value.number())).collect()
}

/// `UNDEFINED_POLICY_` of `UndefinedPolicy`: what stands before `UNSPECIFIED` in the zero value's name.
fn prefix(kind: &EnumDescriptor) -> String {
    let zero = kind.default_value();
    zero.name().strip_suffix("UNSPECIFIED").unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("3s", (3, 0)),
            ("0s", (0, 0)),
            ("500ms", (0, 500_000_000)),
            ("1.5s", (1, 500_000_000)),
            ("1m30s", (90, 0)),
            ("1h", (3600, 0)),
            ("0.000000001s", (0, 1)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "3", "s", "3x", "-3s", "1.2.3s", ".s", "3 s", "99999999999999999999s", "3s "] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
