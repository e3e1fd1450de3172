//! The difference between the routes and host addresses that are wanted and those that the kernel holds. Pure.
//!
//! The order of changes matters on a running node: what others lean on comes first (routes without a gateway before
//! routes with one), everything new comes before anything old is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::netlink::address::Address;
use crate::netlink::route::weight;
use crate::{Conflict, NextHop, Route, RouteKey, RouteKind};

/// Metric of an IPv6 route that asks for 0 (IP6_RT_PRIO_USER, net/ip6_route.h).
const V6_DEFAULT_METRIC: u32 = 1024;

/// The key under which the kernel files a route: no host bits, no zero table, no zero IPv6 metric.
pub(crate) fn canonical(key: &RouteKey) -> RouteKey {
    RouteKey {
        prefix: key.prefix.trunc(),
        table: if key.table == 0 { RouteKey::MAIN } else { key.table },
        metric: if key.metric == 0 && key.prefix.addr().is_ipv6() { V6_DEFAULT_METRIC } else { key.metric },
    }
}

/// Our routes as read from the kernel, by canonical key: usually one each. `None`: carries our mark and says something
/// that [`Route`] cannot.
pub(crate) type Held = BTreeMap<RouteKey, Vec<Option<Route>>>;

/// One step, on a canonical key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add(RouteKey, Route),
    Replace(RouteKey, Route),
    Delete(RouteKey),
}

impl Change {
    /// What it is about.
    pub(crate) fn subject(&self) -> (&RouteKey, Option<&Route>) {
        match self {
            Self::Add(key, route) | Self::Replace(key, route) => (key, Some(route)),
            Self::Delete(key) => (key, None),
        }
    }
}

/// A route in the words of `ip route`.
pub(crate) fn describe(key: &RouteKey, route: Option<&Route>) -> String {
    let mut text = key.to_string();
    match route.map(|route| &route.kind) {
        None => {}
        Some(RouteKind::Blackhole) => text.insert_str(0, "blackhole "),
        Some(RouteKind::Unicast(hops)) => {
            for hop in hops {
                text.extend(hop.via.map(|via| format!(" via {via}")));
                text.extend(hop.device.as_ref().map(|device| format!(" dev {device}")));
            }
        }
    }
    text
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// In the order in which they are to be made.
    pub(crate) changes: Vec<Change>,
    pub(crate) conflicts: Vec<Conflict>,
    /// Canonical keys whose one route is as wanted and has no foreign one before it.
    pub(crate) installed: BTreeSet<RouteKey>,
}

/// `foreign`: canonical keys at which another's route stands first, and its protocol.
pub(crate) fn routes(
    wanted: &BTreeMap<RouteKey, Route>,
    held: &Held,
    foreign: &BTreeMap<RouteKey, u8>,
) -> Difference {
    let mut difference = Difference::default();
    for (key, route) in wanted {
        if let Some(&protocol) = foreign.get(key) {
            difference.conflicts.push(Conflict::ForeignRoute { key: *key, protocol });
            continue;
        }
        match held.get(key).map(Vec::as_slice).unwrap_or_default() {
            [Some(one)] if matches(route, one) => {
                difference.installed.insert(*key);
            }
            [] => difference.changes.push(Change::Add(*key, route.clone())),
            [_] => difference.changes.push(Change::Replace(*key, route.clone())),
            several => {
                difference.changes.extend(several.iter().map(|_| Change::Delete(*key)));
                difference.changes.push(Change::Add(*key, route.clone()));
            }
        }
    }
    // A stable sort keeps the deletes that make room for an Add before it.
    difference.changes.sort_by_key(leans_on_others);
    let leftover = held.iter().rev().filter(|(key, _)| !wanted.contains_key(key));
    difference.changes.extend(leftover.flat_map(|(key, routes)| routes.iter().map(|_| Change::Delete(*key))));
    difference
}

/// Does the kernel's route say what is wanted? What the caller left open (the device of a gateway) the kernel has chosen.
pub(crate) fn matches(wanted: &Route, held: &Route) -> bool {
    if (wanted.mtu, wanted.advmss) != (held.mtu, held.advmss) {
        return false;
    }
    match (&wanted.kind, &held.kind) {
        (RouteKind::Blackhole, RouteKind::Blackhole) => true,
        (RouteKind::Unicast(wanted), RouteKind::Unicast(held)) => {
            let alone = wanted.len() == 1;
            wanted.len() == held.len() && wanted.iter().all(|w| held.iter().any(|h| same_hop(w, h, alone)))
        }
        _ => false,
    }
}

/// The weight of a lone next hop means nothing.
fn same_hop(wanted: &NextHop, held: &NextHop, alone: bool) -> bool {
    wanted.via == held.via
        && wanted.onlink == held.onlink
        && (alone || weight(wanted) == weight(held))
        && (wanted.device.is_none() || wanted.device == held.device)
}

fn leans_on_others(change: &Change) -> (bool, RouteKey) {
    match change {
        Change::Add(key, route) | Change::Replace(key, route) => match &route.kind {
            RouteKind::Blackhole => (false, *key),
            RouteKind::Unicast(hops) => (hops.iter().any(|hop| hop.via.is_some()), *key),
        },
        Change::Delete(key) => (false, *key),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressDifference {
    pub(crate) add: Vec<IpAddr>,
    pub(crate) delete: Vec<IpAddr>,
    pub(crate) conflicts: Vec<Conflict>,
    pub(crate) installed: BTreeSet<IpAddr>,
}

/// `loopback`: index of `lo`. `remembered`: addresses that we set and that this kernel cannot mark.
pub(crate) fn host_addresses(
    wanted: &BTreeSet<IpAddr>,
    held: &BTreeMap<(u32, IpAddr), Address>,
    loopback: u32,
    remembered: &BTreeSet<IpAddr>,
    name: impl Fn(u32) -> Option<String>,
) -> AddressDifference {
    let mut difference = AddressDifference::default();
    let ours = |index: u32, address: &IpAddr, held: &Address| {
        index == loopback && (held.marked || remembered.contains(address))
    };
    for address in wanted {
        let mut places = held.iter().filter(|((_, a), _)| a == address);
        if let Some(((index, _), _)) = places.clone().find(|((index, a), held)| !ours(*index, a, held)) {
            let device = name(*index).unwrap_or_default();
            difference.conflicts.push(Conflict::ForeignAddress { address: *address, device });
        } else if places.next().is_some() {
            difference.installed.insert(*address);
        } else {
            difference.add.push(*address);
        }
    }
    let leftover = held.iter().filter(|((index, a), held)| ours(*index, a, held) && !wanted.contains(a));
    difference.delete = leftover.map(|((_, address), _)| *address).collect();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefix: &str, metric: u32) -> RouteKey {
        canonical(&RouteKey { prefix: prefix.parse().unwrap(), table: 254, metric })
    }

    fn hop(via: Option<&str>, device: Option<&str>) -> NextHop {
        NextHop {
            via: via.map(|v| v.parse().unwrap()),
            device: device.map(Into::into),
            onlink: false,
            weight: 1,
        }
    }

    fn unicast(hops: &[NextHop]) -> Route {
        Route { kind: RouteKind::Unicast(hops.iter().cloned().collect()), mtu: None, advmss: None }
    }

    const BLACKHOLE: Route = Route { kind: RouteKind::Blackhole, mtu: None, advmss: None };

    fn none() -> BTreeMap<RouteKey, u8> {
        BTreeMap::new()
    }

    #[test]
    fn nothing_to_do_when_all_is_as_wanted() {
        let k = key("20.20.20.1/32", 0);
        let d = routes(&[(k, BLACKHOLE)].into(), &[(k, vec![Some(BLACKHOLE)])].into(), &none());
        assert!(d.changes.is_empty());
        assert_eq!(d.installed, [k].into());
    }

    #[test]
    fn add_replace_delete_in_an_order_that_never_leaves_a_hole() {
        let via = unicast(&[hop(Some("10.0.0.9"), None)]);
        let device = unicast(&[hop(None, Some("eth1"))]);
        let (a, b, c, old) =
            (key("1.0.0.0/8", 0), key("2.0.0.0/8", 0), key("3.0.0.0/8", 0), key("4.0.0.0/8", 0));
        let wanted = [(a, via.clone()), (b, BLACKHOLE), (c, device.clone())].into();
        let held = [(b, vec![Some(device.clone())]), (old, vec![Some(BLACKHOLE)])].into();
        let d = routes(&wanted, &held, &none());
        let expected = vec![
            Change::Replace(b, BLACKHOLE),
            Change::Add(c, device),
            Change::Add(a, via),
            Change::Delete(old),
        ];
        assert_eq!(d.changes, expected);
        assert!(d.installed.is_empty());
    }

    #[test]
    fn a_foreign_route_with_the_same_key_is_named_and_not_touched() {
        let k = key("20.20.20.1/32", 0);
        let d = routes(&[(k, BLACKHOLE)].into(), &Held::new(), &[(k, 4)].into());
        assert_eq!(d.conflicts, [Conflict::ForeignRoute { key: k, protocol: 4 }]);
        assert!(d.changes.is_empty() && d.installed.is_empty());
    }

    #[test]
    fn several_of_ours_under_one_key_are_cleared_first() {
        let k = key("20.20.20.1/32", 0);
        let held = [(k, vec![Some(BLACKHOLE), None])].into();
        let d = routes(&[(k, BLACKHOLE)].into(), &held, &none());
        assert_eq!(d.changes, [Change::Delete(k), Change::Delete(k), Change::Add(k, BLACKHOLE)]);
    }

    #[test]
    fn a_route_that_cannot_be_said_is_replaced() {
        let k = key("20.20.20.1/32", 0);
        let d = routes(&[(k, BLACKHOLE)].into(), &[(k, vec![None])].into(), &none());
        assert_eq!(d.changes, [Change::Replace(k, BLACKHOLE)]);
    }

    #[test]
    fn the_kernel_fills_in_what_was_left_open() {
        let open = unicast(&[hop(Some("10.0.0.9"), None)]);
        let filled = unicast(&[hop(Some("10.0.0.9"), Some("eth0"))]);
        assert!(matches(&open, &filled));
        assert!(!matches(&unicast(&[hop(Some("10.0.0.9"), Some("eth1"))]), &filled));
        let heavy = unicast(&[NextHop { weight: 7, ..hop(Some("10.0.0.9"), None) }]);
        assert!(matches(&heavy, &filled), "a lone next hop has no weight");
    }

    #[test]
    fn every_property_counts() {
        let two = [hop(Some("10.0.0.1"), Some("a")), hop(Some("10.0.0.2"), Some("b"))];
        let base = unicast(&two);
        assert!(matches(&base, &base));
        assert!(!matches(&base, &unicast(&two[..1])));
        assert!(!matches(&base, &BLACKHOLE));
        assert!(!matches(&base, &Route { mtu: Some(1480), ..base.clone() }));
        assert!(!matches(&base, &Route { advmss: Some(1440), ..base.clone() }));
        let weighted = [two[0].clone(), NextHop { weight: 2, ..two[1].clone() }];
        assert!(!matches(&base, &unicast(&weighted)));
        let onlink = [two[0].clone(), NextHop { onlink: true, ..two[1].clone() }];
        assert!(!matches(&base, &unicast(&onlink)));
        let zero = [two[0].clone(), NextHop { weight: 0, ..two[1].clone() }];
        assert!(matches(&unicast(&zero), &base), "weight 0 is weight 1");
    }

    #[test]
    fn routes_are_named_as_ip_route_does() {
        let k = RouteKey { table: 100, ..key("56.56.56.0/24", 5) };
        let route = unicast(&[hop(Some("31.31.31.1"), Some("eth1"))]);
        assert_eq!(describe(&k, Some(&route)), "56.56.56.0/24 table 100 metric 5 via 31.31.31.1 dev eth1");
        assert_eq!(describe(&key("20.20.20.1/32", 0), Some(&BLACKHOLE)), "blackhole 20.20.20.1/32");
        let foreign = |protocol| Conflict::ForeignRoute { key: k, protocol }.to_string();
        assert!(
            foreign(4).starts_with("route 56.56.56.0/24 table 100 metric 5 exists with protocol static (4):")
        );
        assert!(foreign(99).contains("with protocol 99:"));
    }

    #[test]
    fn keys_are_compared_as_the_kernel_files_them() {
        assert_eq!(key("2001:db8::1/128", 0).metric, 1024);
        assert_eq!(key("20.20.20.1/32", 0).metric, 0);
        assert_eq!(key("10.1.2.3/8", 0).prefix, "10.0.0.0/8".parse().unwrap());
        assert_eq!(canonical(&RouteKey { table: 0, ..key("10.0.0.0/8", 0) }).table, 254);
    }

    #[test]
    fn host_addresses_are_ours_only_with_our_mark_and_on_lo() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| IpAddr::from([20, 20, 20, n]));
        let address = |marked| Address { prefix_length: 32, marked };
        let held = [
            ((1, a), address(true)),
            ((1, b), address(false)),
            ((2, c), address(false)),
            ((1, "127.0.0.1".parse().unwrap()), address(false)),
            ((1, IpAddr::from([9, 9, 9, 9])), address(true)),
        ]
        .into();
        let name = |index| Some(if index == 1 { "lo" } else { "eth0" }.to_owned());
        let found = host_addresses(&[a, b, c, d].into(), &held, 1, &BTreeSet::new(), name);
        assert_eq!(found.installed, [a].into());
        assert_eq!(found.add, [d]);
        assert_eq!(found.delete, [IpAddr::from([9, 9, 9, 9])]);
        let conflict = |address, device: &str| Conflict::ForeignAddress { address, device: device.into() };
        assert_eq!(found.conflicts, [conflict(b, "lo"), conflict(c, "eth0")]);
        let found = host_addresses(&[b].into(), &held, 1, &[b].into(), name);
        assert_eq!(found.installed, [b].into());
    }
}
