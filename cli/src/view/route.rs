//! Routes to the real servers.

use std::time::SystemTime;

use proto::v1::{EndpointRoute, EndpointRouteSpec, EndpointRouteStatus, NextHop};

use super::{View, by_address, labels, note, yes_no};
use crate::noun::Noun;

impl View for EndpointRoute {
    fn header(wide: bool) -> Vec<&'static str> {
        let mut header = vec!["NAME", "PREFIX", "NEXT HOPS", "INSTALLED", "MESSAGE"];
        if wide {
            header.splice(4..4, ["TABLE", "METRIC", "MTU", "NODES"]);
        }
        header
    }

    fn row(&self, wide: bool, now: SystemTime) -> Vec<String> {
        let (spec, status) = parts(self);
        let mut row = vec![
            self.name().to_owned(),
            spec.prefix.clone(),
            next_hops(&spec),
            yes_no(status.installed),
            note(self, now),
        ];
        if wide {
            row.splice(
                4..4,
                [table(&spec), optional(spec.metric), optional(spec.mtu), labels(&spec.node_selector)],
            );
        }
        row
    }

    fn sort(list: &mut [Self]) {
        list.sort_by_cached_key(|route| by_address(route.spec.as_ref().map_or("", |spec| &spec.prefix)));
    }

    fn facts(&self, _: SystemTime) -> Vec<(&'static str, String)> {
        let (spec, status) = parts(self);
        vec![
            ("prefix", spec.prefix.clone()),
            ("next hops", next_hops(&spec)),
            ("table", table(&spec)),
            ("metric", optional(spec.metric)),
            ("mtu", optional(spec.mtu)),
            ("advmss", optional(spec.advmss)),
            ("nodes", labels(&spec.node_selector)),
            ("installed", yes_no(status.installed)),
        ]
    }
}

fn parts(route: &EndpointRoute) -> (EndpointRouteSpec, EndpointRouteStatus) {
    (route.spec.clone().unwrap_or_default(), route.status.clone().unwrap_or_default())
}

/// As `ip route` writes them.
fn next_hops(spec: &EndpointRouteSpec) -> String {
    spec.next_hops.iter().map(next_hop).collect::<Vec<_>>().join(", ")
}

fn next_hop(hop: &NextHop) -> String {
    let mut words = Vec::new();
    if !hop.via.is_empty() {
        words.push(format!("via {}", hop.via));
    }
    if !hop.device.is_empty() {
        words.push(format!("dev {}", hop.device));
    }
    if hop.onlink {
        words.push("onlink".to_owned());
    }
    if let Some(weight) = hop.weight.filter(|weight| *weight != 1) {
        words.push(format!("weight {weight}"));
    }
    words.join(" ")
}

fn table(spec: &EndpointRouteSpec) -> String {
    match spec.table {
        None | Some(254) => "main".to_owned(),
        Some(table) => table.to_string(),
    }
}

fn optional(value: Option<u32>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
