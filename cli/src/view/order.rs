//! Orders that people expect: 10.0.0.9 before 10.0.0.10, IPv4 before IPv6, web2 before web10.

use std::net::IpAddr;

/// Key of an address or a prefix in text: family, number, length. What does not parse comes last, as text.
pub(crate) fn by_address(text: &str) -> (bool, Option<(IpAddr, u8)>, String) {
    let (address, length) = text.split_once('/').unwrap_or((text, "128"));
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(address), Ok(length)) => (false, Some((address, length)), String::new()),
        _ => (true, None, text.to_owned()),
    }
}

/// Key of a name: its digits count as numbers.
pub(crate) fn by_name(text: &str) -> Vec<(String, u128)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(word);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        parts.push((word.to_owned(), number.parse().unwrap_or(0)));
        rest = tail;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_sort_as_numbers() {
        let mut all = ["2001:db8::1", "10.0.0.10", "x", "10.0.0.9", "10.0.0.0/8", "10.0.0.0/24"];
        all.sort_by_key(|text| by_address(text));
        assert_eq!(all, ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.9", "10.0.0.10", "2001:db8::1", "x"]);
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut all = ["web10", "web2", "db", "web2a", "web"];
        all.sort_by_key(|text| by_name(text));
        assert_eq!(all, ["db", "web", "web2", "web2a", "web10"]);
    }
}
