//! One function per kind of value that a document holds: text or number in, legal value out. Ranges and formats of the
//! whole product live here and nowhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use ipnet::IpNet;

use crate::{Illegal, Labels, Name};

/// Longest duration that any field takes.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

pub fn name(text: &str) -> Result<Name, Illegal> {
    const EXPECT: &str = "a name: 1 to 63 of a-z 0-9 - . beginning and ending with a letter or digit";
    if text.is_empty() {
        return Err(Illegal::Missing { expect: EXPECT });
    }
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let legal = bytes.len() <= 63
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'-' | b'.'));
    if legal { Ok(Name(text.to_owned())) } else { Err(malformed(text, EXPECT)) }
}

/// Label keys are `[A-Za-z0-9._/-]{1,63}`, values up to 63 printable characters, at most 64 of them.
pub fn labels<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<Labels, Illegal> {
    const MOST: usize = 64;
    let mut labels = Labels::new();
    for (key, value) in pairs {
        let key_legal = (1..=63).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b));
        if !key_legal {
            return Err(malformed(key, "a label key: 1 to 63 of A-Z a-z 0-9 . _ / -"));
        }
        if value.len() > 63 || value.chars().any(char::is_control) {
            return Err(malformed(value, "a label value: up to 63 printable characters"));
        }
        labels.insert(key.clone(), value.clone());
    }
    if labels.len() > MOST {
        return Err(Illegal::TooMany { what: "labels", count: labels.len(), most: MOST });
    }
    Ok(labels)
}

/// Any IPv4 or IPv6 address; an IPv4-mapped one is refused, since nothing on the wire would carry it.
pub fn address(text: &str) -> Result<IpAddr, Illegal> {
    const EXPECT: &str = "an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1";
    if text.is_empty() {
        return Err(Illegal::Missing { expect: EXPECT });
    }
    match text.parse() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            Err(malformed(text, "an address of its own family: write the IPv4 address"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(malformed(text, EXPECT)),
    }
}

/// An address that packets can be routed to from another host: a VIP, a backend.
pub fn routable(text: &str) -> Result<IpAddr, Illegal> {
    let address = unicast(text)?;
    let what = match address {
        _ if address.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_link_local() => "a link-local address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        _ => return Ok(address),
    };
    Err(Illegal::NotUnicast { address, what })
}

/// Unicast, loopback and link-local included.
pub fn unicast(text: &str) -> Result<IpAddr, Illegal> {
    let address = address(text)?;
    let what = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => "a reserved address",
        _ => return Ok(address),
    };
    Err(Illegal::NotUnicast { address, what })
}

pub fn ipv4(text: &str) -> Result<Ipv4Addr, Illegal> {
    match unicast(text)? {
        IpAddr::V4(v4) => Ok(v4),
        IpAddr::V6(_) => Err(malformed(text, "an IPv4 address")),
    }
}

/// A global IPv6 address: a link-local next hop alone cannot be announced (RFC 2545, section 3).
pub fn ipv6(text: &str) -> Result<Ipv6Addr, Illegal> {
    match routable(text)? {
        IpAddr::V6(v6) => Ok(v6),
        IpAddr::V4(_) => Err(malformed(text, "an IPv6 address")),
    }
}

/// A network in CIDR notation without host bits.
pub fn prefix(text: &str) -> Result<IpNet, Illegal> {
    const EXPECT: &str = "a prefix in CIDR notation, such as 192.0.2.0/24 or 2001:db8::/64";
    if text.is_empty() {
        return Err(Illegal::Missing { expect: EXPECT });
    }
    let prefix: IpNet = text.parse().map_err(|_| malformed(text, EXPECT))?;
    if prefix.trunc() != prefix {
        return Err(Illegal::HostBits { prefix: prefix.to_string(), network: prefix.trunc().to_string() });
    }
    let network = prefix.network();
    if network.is_multicast() || network.is_loopback() {
        return Err(malformed(text, "a unicast network"));
    }
    Ok(prefix)
}

/// A duration from its proto parts (whole seconds and nanoseconds of one sign).
pub fn duration(seconds: i64, nanos: i32) -> Result<Duration, Illegal> {
    let parts = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok().filter(|n| *n < 1_000_000_000));
    let shown = || format!("{seconds} s {nanos} ns");
    match parts.map(|(seconds, nanos)| Duration::new(seconds, nanos)) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(Illegal::DurationRange { value: shown(), low: "0 s", high: "366 days" }),
    }
}

/// `duration` when it lies between the ends, which are named as a person would write them.
pub fn within(
    duration: Duration,
    (low, low_text): (Duration, &'static str),
    (high, high_text): (Duration, &'static str),
) -> Result<Duration, Illegal> {
    if (low..=high).contains(&duration) {
        Ok(duration)
    } else {
        Err(Illegal::DurationRange { value: format!("{duration:?}"), low: low_text, high: high_text })
    }
}

pub fn port(value: u32) -> Result<NonZeroU16, Illegal> {
    u16::try_from(value).ok().and_then(NonZeroU16::new).ok_or_else(|| range(value, 1, 65_535))
}

/// Share of a backend, 1..=1000.
pub fn weight(value: u32) -> Result<u16, Illegal> {
    number(value, 1, 1000)
}

/// `value` as a smaller type when it lies in `low..=high`.
pub fn number<T: TryFrom<u32>>(value: u32, low: u32, high: u32) -> Result<T, Illegal> {
    let inside = (low..=high).contains(&value);
    inside.then(|| T::try_from(value).ok()).flatten().ok_or_else(|| range(value, low, high))
}

/// A neighbour's ASN (RFC 6793); reserved numbers are refused (RFC 7607, RFC 7300, RFC 6793 section 9).
pub fn asn(value: u32) -> Result<u32, Illegal> {
    match value {
        0 => Err(Illegal::Missing { expect: "the neighbour's AS number" }),
        23_456 | 65_535 | u32::MAX => Err(malformed(&value.to_string(), "an AS number: it is reserved")),
        _ => Ok(value),
    }
}

/// "asn:value" (RFC 1997), or the well-known names that operators write.
pub fn community(text: &str) -> Result<u32, Illegal> {
    let well_known = match text {
        "graceful-shutdown" => Some(0xFFFF_0000), // RFC 8326
        "blackhole" => Some(0xFFFF_029A),         // RFC 7999
        "no-export" => Some(0xFFFF_FF01),
        "no-advertise" => Some(0xFFFF_FF02),
        "no-export-subconfed" => Some(0xFFFF_FF03),
        "no-peer" => Some(0xFFFF_FF04), // RFC 3765
        _ => None,
    };
    let pair = || {
        let (high, low) = text.split_once(':')?;
        Some(u32::from(decimal::<u16>(high)?) << 16 | u32::from(decimal::<u16>(low)?))
    };
    well_known.or_else(pair).ok_or_else(|| {
        malformed(text, "a community: \"asn:value\", both 0 to 65535, or a name such as \"no-export\"")
    })
}

/// "global:local1:local2" (RFC 8092).
pub fn large_community(text: &str) -> Result<(u32, u32, u32), Illegal> {
    let mut parts = text.split(':').map(decimal::<u32>);
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
        (Some(global), Some(first), Some(second), None) => Ok((global, first, second)),
        _ => Err(malformed(text, "a large community: \"global:local1:local2\"")),
    }
}

/// "200" or "200-299".
pub fn status_range(text: &str) -> Result<(u16, u16), Illegal> {
    const EXPECT: &str = "an HTTP status or range within 100 to 599, such as \"200\" or \"200-299\"";
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (decimal::<u16>(low), decimal::<u16>(high)) {
        (Some(low), Some(high)) if low <= high && (100..=599).contains(&low) && high <= 599 => {
            Ok((low, high))
        }
        _ => Err(malformed(text, EXPECT)),
    }
}

/// The request target of a probe: origin form (RFC 9112, section 3.2.1), nothing that could split the request.
pub fn http_path(text: &str) -> Result<String, Illegal> {
    let legal = text.starts_with('/') && text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic());
    let expect = "a path: it begins with / and holds no spaces or control characters";
    if legal { Ok(text.to_owned()) } else { Err(malformed(text, expect)) }
}

/// A Host header value.
pub fn http_host(text: &str) -> Result<String, Illegal> {
    let legal = (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if legal { Ok(text.to_owned()) } else { Err(malformed(text, "a host name, with a port if need be")) }
}

/// An interface name as the kernel takes it (dev_valid_name, IFNAMSIZ 16).
pub fn device(text: &str) -> Result<String, Illegal> {
    let legal = (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.bytes().any(|b| matches!(b, b'/' | b':') || b.is_ascii_whitespace() || b.is_ascii_control());
    if legal { Ok(text.to_owned()) } else { Err(malformed(text, "an interface name: 1 to 15 characters")) }
}

/// What stands where a secret is not shown. Not legal as a secret.
pub const HIDDEN: &str = "(hidden)";

/// A TCP MD5 key: 1 to 80 printable bytes (TCP_MD5SIG_MAXKEYLEN). The error never shows the key.
pub fn md5_key(text: &str) -> Result<String, Illegal> {
    if text == HIDDEN {
        return Err(malformed(HIDDEN, "a key, but what is shown in place of one: write the key itself"));
    }
    let legal = (1..=80).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if legal { Ok(text.to_owned()) } else { Err(malformed(HIDDEN, "a key: 1 to 80 printable bytes")) }
}

/// Digits only: `parse` alone would take "+1".
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn malformed(value: &str, expect: &'static str) -> Illegal {
    Illegal::Malformed { value: value.to_owned(), expect }
}

fn range(value: u32, low: u32, high: u32) -> Illegal {
    Illegal::Range { value: value.into(), low: low.into(), high: high.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for legal in ["web", "a", "0", "web-1.eu", &"x".repeat(63)] {
            assert_eq!(name(legal).unwrap().as_str(), legal);
        }
        for illegal in ["", "-web", "web-", "Web", "a b", "web.", "ü", "a/b", &"x".repeat(64)] {
            assert!(name(illegal).is_err(), "{illegal}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_vips() {
        for illegal in [
            "",
            "10.0.0.300",
            "10.0.0.0/8",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "0.1.2.3",
            "240.0.0.1",
        ] {
            assert!(routable(illegal).is_err(), "{illegal}");
        }
        assert_eq!(routable("2001:db8::1").unwrap().to_string(), "2001:db8::1");
        assert!(unicast("127.0.0.1").is_ok());
    }

    #[test]
    fn prefixes() {
        assert_eq!(
            prefix("10.0.0.1/24").unwrap_err().to_string(),
            "10.0.0.1/24 has host bits set: write 10.0.0.0/24"
        );
        for illegal in ["", "10.0.0.0", "10.0.0.0/33", "224.0.0.0/4", "127.0.0.0/8", "2001:db8::/129"] {
            assert!(prefix(illegal).is_err(), "{illegal}");
        }
        assert!(prefix("2001:db8::/32").is_ok());
    }

    #[test]
    fn durations() {
        assert_eq!(duration(1, 500_000_000).unwrap(), Duration::from_millis(1500));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (0, i32::MIN)] {
            assert!(duration(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn communities() {
        assert_eq!(community("64512:80").unwrap(), 64512 << 16 | 80);
        assert_eq!(community("no-export").unwrap(), 0xFFFF_FF01);
        for illegal in ["", "1", "1:", ":1", "65536:1", "1:65536", "1:2:3", "+1:2", "a:b"] {
            assert!(community(illegal).is_err(), "{illegal}");
        }
        assert_eq!(large_community("4200000000:1:2").unwrap(), (4_200_000_000, 1, 2));
        for illegal in ["", "1:2", "1:2:3:4", "4294967296:1:1", "1::2"] {
            assert!(large_community(illegal).is_err(), "{illegal}");
        }
    }

    #[test]
    fn http_values_cannot_split_a_request() {
        for illegal in ["", "x", "/a b", "/a\r\nHost: b", "/\u{e9}"] {
            assert!(http_path(illegal).is_err(), "{illegal}");
        }
        assert!(http_host("a\r\nX: y").is_err());
        assert!(http_host("[2001:db8::1]:80").is_ok());
        assert_eq!(status_range("200-299").unwrap(), (200, 299));
        for illegal in ["", "99", "600", "300-200", "2xx", "-200", "200-"] {
            assert!(status_range(illegal).is_err(), "{illegal}");
        }
    }

    #[test]
    fn a_bad_key_is_not_shown() {
        let error = md5_key("hunter2\n").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(md5_key(HIDDEN).is_err());
    }

    #[test]
    fn numbers_and_asns() {
        assert_eq!(weight(1000).unwrap(), 1000);
        assert!(weight(0).is_err() && weight(1001).is_err());
        assert!(port(0).is_err() && port(65_536).is_err());
        for reserved in [0, 23_456, 65_535, u32::MAX] {
            assert!(asn(reserved).is_err(), "{reserved}");
        }
        assert_eq!(asn(4_200_000_000).unwrap(), 4_200_000_000);
    }

    #[test]
    fn a_long_value_is_cut() {
        let error = name(&"A".repeat(1 << 20)).unwrap_err().to_string();
        assert!(error.len() < 300, "{}", error.len());
    }
}
