//! Rules between the parts of one resource. Each takes only the parts that it needs, so that one illegal part hides no
//! other violation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::{HostAddress, Illegal, NextHop, UndefinedPolicy};

/// Most resources of one kind in a document.
pub const MOST_RESOURCES: usize = 10_000;
/// Most backends of one pool (design of the ring's slot word).
pub const MOST_BACKENDS: u32 = 4096;
/// Most next hops of one route.
pub const MOST_NEXT_HOPS: usize = 64;

/// Traffic is passed to the kernel only where the kernel knows the address.
pub fn undefined_policy(undefined: UndefinedPolicy, host: HostAddress) -> Result<(), Illegal> {
    match (undefined, host) {
        (UndefinedPolicy::Pass, HostAddress::None) => Err(Illegal::PassWithoutAddress),
        _ => Ok(()),
    }
}

/// What is announced for `address`: `covering`, which must contain it, or the host route.
pub fn announced(address: IpAddr, covering: Option<IpNet>) -> Result<IpNet, Illegal> {
    match covering {
        Some(prefix) if !prefix.contains(&address) => Err(Illegal::OutsidePrefix { address, prefix }),
        Some(prefix) => Ok(prefix),
        None => Ok(IpNet::from(address)),
    }
}

/// An empty pool is legal (it is filled later); one that has backends must be able to get healthy.
pub fn min_healthy(min_healthy: u32, backends: usize) -> Result<(), Illegal> {
    let reachable = u32::try_from(backends.max(1)).is_ok_and(|most| min_healthy <= most);
    if reachable { Ok(()) } else { Err(Illegal::MinHealthy { min_healthy, backends }) }
}

pub fn max_backends(max_backends: u32, backends: usize) -> Result<(), Illegal> {
    let fits = u32::try_from(backends).is_ok_and(|n| n <= max_backends);
    if fits { Ok(()) } else { Err(Illegal::MaxBackends { backends, max_backends }) }
}

/// Default of a probe's timeout: 1 s, or the interval when that is shorter.
pub fn default_timeout(interval: Duration) -> Duration {
    interval.min(Duration::from_secs(1))
}

pub fn probe_timeout(timeout: Duration, interval: Duration) -> Result<(), Illegal> {
    if timeout <= interval { Ok(()) } else { Err(Illegal::ProbeTimeout { timeout, interval }) }
}

/// RFC 4271 section 4.2: zero, or at least three whole seconds in 16 bits.
pub fn hold_time(hold: Duration) -> Result<Duration, Illegal> {
    if hold.subsec_nanos() != 0 {
        return Err(Illegal::WholeSeconds { value: hold });
    }
    match hold.as_secs() {
        0 | 3..=65_535 => Ok(hold),
        _ => Err(Illegal::DurationRange {
            value: format!("{hold:?}"),
            low: "3s (or 0s: never)",
            high: "65535s",
        }),
    }
}

/// RFC 4271 section 4.4: below the hold time, at most one a second; none with a hold time of zero.
pub fn keepalive(keepalive: Option<Duration>, hold: Duration) -> Result<Duration, Illegal> {
    let value = keepalive.unwrap_or(hold / 3);
    if hold.is_zero() {
        return if value.is_zero() {
            Ok(value)
        } else {
            Err(Illegal::DurationRange {
                value: format!("{value:?}"),
                low: "0s",
                high: "0s with a hold time of 0s",
            })
        };
    }
    if value < Duration::from_secs(1) {
        return Err(Illegal::DurationRange {
            value: format!("{value:?}"),
            low: "1s",
            high: "below the hold time",
        });
    }
    if value < hold { Ok(value) } else { Err(Illegal::Keepalive { keepalive: value, hold }) }
}

/// `address` is of the family of `other`, named in the error as the user knows it.
pub fn same_family(address: IpAddr, other: IpAddr) -> Result<(), Illegal> {
    if address.is_ipv4() == other.is_ipv4() {
        Ok(())
    } else {
        Err(Illegal::Family { address, other: other.to_string() })
    }
}

/// A next hop says where to send: a gateway, a device or both.
pub fn next_hop(hop: NextHop, prefix: Option<IpNet>) -> Result<NextHop, Illegal> {
    if hop.via.is_none() && hop.device.is_none() {
        return Err(Illegal::Missing { expect: "a gateway (via), a device, or both" });
    }
    if hop.onlink && (hop.via.is_none() || hop.device.is_none()) {
        return Err(Illegal::Missing { expect: "via and device, since onlink is set" });
    }
    let link_local = matches!(hop.via, Some(IpAddr::V6(via)) if via.is_unicast_link_local());
    if link_local && hop.device.is_none() {
        return Err(Illegal::Missing { expect: "a device, since the gateway is a link-local address" });
    }
    if let (Some(via), Some(prefix)) = (hop.via, prefix)
        && via.is_ipv4() != prefix.network().is_ipv4()
    {
        return Err(Illegal::Family { address: via, other: prefix.to_string() });
    }
    Ok(hop)
}

/// Nothing in `items` comes twice; the error names both places.
pub fn distinct<T: Ord + ToString>(items: impl IntoIterator<Item = (usize, T)>) -> Vec<(usize, Illegal)> {
    let mut seen: BTreeMap<T, usize> = BTreeMap::new();
    let mut twice = Vec::new();
    for (index, item) in items {
        match seen.get(&item) {
            Some(&first) => twice.push((index, Illegal::Duplicate { value: item.to_string(), first })),
            None => {
                seen.insert(item, index);
            }
        }
    }
    twice
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn hold_and_keepalive() {
        assert_eq!(hold_time(Duration::ZERO), Ok(Duration::ZERO));
        assert_eq!(hold_time(3 * SECOND), Ok(3 * SECOND));
        for illegal in [SECOND, 2 * SECOND, 65_536 * SECOND, Duration::from_millis(3500)] {
            assert!(hold_time(illegal).is_err(), "{illegal:?}");
        }
        assert_eq!(keepalive(None, 9 * SECOND), Ok(3 * SECOND));
        assert_eq!(keepalive(None, Duration::ZERO), Ok(Duration::ZERO));
        assert!(keepalive(Some(9 * SECOND), 9 * SECOND).is_err());
        assert!(keepalive(Some(SECOND / 2), 9 * SECOND).is_err());
        assert!(keepalive(Some(SECOND), Duration::ZERO).is_err());
    }

    #[test]
    fn pool_sizes() {
        assert!(min_healthy(1, 0).is_ok());
        assert!(min_healthy(3, 3).is_ok());
        assert!(min_healthy(4, 3).is_err());
        assert!(max_backends(3, 3).is_ok());
        assert!(max_backends(2, 3).is_err());
    }

    #[test]
    fn announced_prefix() {
        let vip = "20.20.20.1".parse().unwrap();
        assert_eq!(announced(vip, None).unwrap().to_string(), "20.20.20.1/32");
        assert!(announced(vip, Some("20.20.21.0/24".parse().unwrap())).is_err());
        assert!(announced(vip, Some("2001:db8::/32".parse().unwrap())).is_err());
    }

    #[test]
    fn next_hops() {
        let hop = |via: Option<&str>, device: Option<&str>, onlink| NextHop {
            via: via.map(|v| v.parse().unwrap()),
            device: device.map(str::to_owned),
            onlink,
            weight: 1,
        };
        let prefix = Some("10.0.0.0/8".parse().unwrap());
        assert!(next_hop(hop(Some("192.0.2.1"), None, false), prefix).is_ok());
        assert!(next_hop(hop(None, Some("eth1"), false), prefix).is_ok());
        for illegal in [
            hop(None, None, false),
            hop(Some("192.0.2.1"), None, true),
            hop(Some("2001:db8::1"), Some("eth1"), false),
            hop(Some("fe80::1"), None, false),
        ] {
            assert!(next_hop(illegal.clone(), prefix).is_err(), "{illegal:?}");
        }
    }

    #[test]
    fn duplicates_name_both_places() {
        let twice = distinct([(0, "a"), (1, "b"), (4, "a")]);
        assert_eq!(twice, [(4, Illegal::Duplicate { value: "a".into(), first: 0 })]);
    }
}
