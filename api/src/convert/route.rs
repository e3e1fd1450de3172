//! `v1::EndpointRoute`.

use std::collections::BTreeSet;

use model::{Collector, EndpointRoute, Illegal, NextHop, Violations, own, scalar};
use proto::v1;

use super::fields::{bounded, meta_labels, optional, selector, spec};

/// The kernel's main table (RT_TABLE_MAIN).
const MAIN: u32 = 254;
/// The kernel's local table (RT_TABLE_LOCAL): it holds the host's own addresses.
const LOCAL: u32 = 255;

pub(super) fn route(resource: &v1::EndpointRoute) -> Result<EndpointRoute, Violations> {
    let mut violations = Collector::new();
    let labels = meta_labels(resource.meta.as_ref(), &mut violations);
    let parts = spec(resource.spec.as_ref(), &mut violations).map(|spec| {
        let mut inner = Collector::new();
        let route = from_spec(spec, &mut inner);
        violations.nest("spec", inner.finish(route))
    });
    let route = labels.zip(parts.flatten()).map(|(labels, route)| EndpointRoute { labels, ..route });
    violations.finish(route)
}

fn from_spec(spec: &v1::EndpointRouteSpec, violations: &mut Collector) -> Option<EndpointRoute> {
    let node_selector = selector("node_selector", &spec.node_selector, violations);
    let prefix = violations.take("prefix", scalar::prefix(&spec.prefix));
    let next_hops = next_hops(&spec.next_hops, prefix, violations);
    let table = table(spec.table, violations);
    if let (Some(prefix), Some(MAIN)) = (prefix, table)
        && prefix.prefix_len() == 0
    {
        let message = "a default route in the main table would take the host's own traffic: name the backends' \
                       networks, or another table";
        violations.push("prefix", message);
    }
    let least = if prefix.is_some_and(|p| p.network().is_ipv6()) { 1280 } else { 68 };
    let mtu = number("mtu", spec.mtu, least, 65_535, violations);
    let advmss = number("advmss", spec.advmss, 28, 65_495, violations);
    Some(EndpointRoute {
        labels: Default::default(),
        node_selector: node_selector?,
        prefix: prefix?,
        next_hops: next_hops?,
        table: table?,
        metric: metric(spec.metric, prefix?),
        mtu: mtu?,
        advmss: advmss?,
    })
}

/// The kernel gives an IPv6 route without a metric 1024 (IP6_RT_PRIO_USER), an IPv4 route 0: what is wanted must be
/// what will be read back.
fn metric(metric: Option<u32>, prefix: ipnet::IpNet) -> u32 {
    match metric {
        None | Some(0) if prefix.network().is_ipv6() => 1024,
        metric => metric.unwrap_or(0),
    }
}

fn table(table: Option<u32>, violations: &mut Collector) -> Option<u32> {
    match table.unwrap_or(MAIN) {
        0 | LOCAL => {
            violations.push("table", "0 and 255 belong to the kernel: use 254 (main) or a table of your own");
            None
        }
        table => Some(table),
    }
}

fn next_hops(
    list: &[v1::NextHop],
    prefix: Option<ipnet::IpNet>,
    violations: &mut Collector,
) -> Option<BTreeSet<NextHop>> {
    if list.is_empty() {
        violations.push("next_hops", Illegal::Missing { expect: "at least one next hop" });
        return None;
    }
    bounded("next_hops", "next hops", list, own::MOST_NEXT_HOPS, violations)?;
    let mut parsed: Vec<Option<NextHop>> = Vec::with_capacity(list.len());
    for (i, hop) in list.iter().enumerate() {
        parsed.push(violations.nest(&format!("next_hops[{i}]"), next_hop(hop, prefix)));
    }
    // Gateway and device make a next hop; the same one twice is one with more weight.
    let places = list.iter().enumerate().map(|(i, hop)| (i, format!("{} {}", hop.via, hop.device)));
    for (i, error) in own::distinct(places) {
        violations.push(format!("next_hops[{i}]"), error);
    }
    parsed.into_iter().collect()
}

fn next_hop(hop: &v1::NextHop, prefix: Option<ipnet::IpNet>) -> Result<NextHop, Violations> {
    let mut violations = Collector::new();
    let via = optional("via", &hop.via, scalar::unicast, &mut violations);
    let device = optional("device", &hop.device, scalar::device, &mut violations);
    // rtnh_hops is one byte that holds weight - 1.
    let weight = violations.take("weight", scalar::number(hop.weight.unwrap_or(1), 1, 256));
    let whole = || Some(NextHop { via: via?, device: device?, onlink: hop.onlink, weight: weight? });
    let hop = whole().and_then(|hop| violations.take("", own::next_hop(hop, prefix)));
    violations.finish(hop)
}

fn number(
    field: &str,
    value: Option<u32>,
    low: u32,
    high: u32,
    violations: &mut Collector,
) -> Option<Option<u32>> {
    match value {
        Some(value) => violations.take(field, scalar::number(value, low, high)).map(Some),
        None => Some(None),
    }
}
