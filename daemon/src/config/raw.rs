//! The file's shape: one serde type for each table, every value with its place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    pub(super) seed: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Bgp {
    pub(super) asn: Option<Spanned<u32>>,
    pub(super) router_id: Option<Spanned<String>>,
    pub(super) listen: Option<Vec<Spanned<String>>>,
    pub(super) graceful_restart: Option<bool>,
    pub(super) restart_time: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Datapath {
    pub(super) interfaces: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) allow_generic: bool,
    pub(super) icmp_errors_per_second: Option<u32>,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) vips: Option<Spanned<u32>>,
    pub(super) services: Option<Spanned<u32>>,
    pub(super) backends: Option<Spanned<u32>>,
    pub(super) ring_slots: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Routes {
    pub(super) table: Option<Spanned<u32>>,
    pub(super) metric: Option<Spanned<u32>>,
    pub(super) probe_interval: Option<Spanned<String>>,
    pub(super) resync: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    pub(super) linger: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub(super) socket: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Paths {
    pub(super) state: Option<Spanned<PathBuf>>,
    pub(super) run: Option<Spanned<PathBuf>>,
    pub(super) pins: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Option<Spanned<String>>,
    pub(super) level: Option<Spanned<String>>,
}
