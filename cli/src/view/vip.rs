//! VIPs.

use std::time::SystemTime;

use proto::v1::{Vip, VipSpec, VipStatus};

use super::{View, by_address, labels, note, word, yes_no};
use crate::noun::Noun;

impl View for Vip {
    fn header(wide: bool) -> Vec<&'static str> {
        let mut header = vec!["NAME", "ADDRESS", "ANNOUNCED", "ADVERTISED TO", "MESSAGE"];
        if wide {
            header.splice(4..4, ["PREFIX", "UNDEFINED", "ECHO", "HOST ADDRESS"]);
        }
        header
    }

    fn row(&self, wide: bool, now: SystemTime) -> Vec<String> {
        let (spec, status) = parts(self);
        let mut row = vec![
            self.name().to_owned(),
            spec.address.clone(),
            yes_no(status.announced),
            status.advertised_to.join(","),
            note(self, now),
        ];
        if wide {
            row.splice(4..4, [prefix(&spec), undefined(&spec), echo(&spec), host_address(&spec)]);
        }
        row
    }

    fn sort(list: &mut [Self]) {
        list.sort_by_cached_key(|vip| by_address(vip.spec.as_ref().map_or("", |spec| &spec.address)));
    }

    fn facts(&self, _: SystemTime) -> Vec<(&'static str, String)> {
        let (spec, status) = parts(self);
        let announce = spec.announce.clone().unwrap_or_default();
        let latency = status.last_withdraw_latency.as_ref();
        vec![
            ("address", spec.address.clone()),
            ("prefix", prefix(&spec)),
            ("announced", yes_no(status.announced)),
            ("advertised to", status.advertised_to.join(", ")),
            ("undefined", undefined(&spec)),
            ("echo", echo(&spec)),
            ("host address", host_address(&spec)),
            ("requires", word("AnnouncePolicy.Require", announce.require, "any")),
            ("communities", [announce.communities, announce.large_communities].concat().join(", ")),
            ("med", announce.med.map_or_else(String::new, |med| med.to_string())),
            ("peers", labels(&announce.peer_selector)),
            (
                "last withdraw",
                latency.map_or_else(String::new, |it| {
                    format!("{} ms", it.seconds * 1000 + i64::from(it.nanos) / 1_000_000)
                }),
            ),
        ]
    }
}

fn parts(vip: &Vip) -> (VipSpec, VipStatus) {
    (vip.spec.clone().unwrap_or_default(), vip.status.clone().unwrap_or_default())
}

/// What is announced: the covering prefix or the host route.
fn prefix(spec: &VipSpec) -> String {
    match (spec.announce_prefix.as_str(), spec.address.contains(':')) {
        ("", true) => format!("{}/128", spec.address),
        ("", false) => format!("{}/32", spec.address),
        (prefix, _) => prefix.to_owned(),
    }
}

fn undefined(spec: &VipSpec) -> String {
    word("UndefinedPolicy", spec.undefined, "drop")
}

fn echo(spec: &VipSpec) -> String {
    word("EchoPolicy", spec.echo, "healthy")
}

fn host_address(spec: &VipSpec) -> String {
    word("HostAddress", spec.host_address, "none")
}
