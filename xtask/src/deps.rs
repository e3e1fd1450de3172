//! Which crate may see which, and where `unsafe` may stand.
//!
//! The mechanisms (`bgpd`, `routemgr`, `datapath`, `health`) stand side by side and know neither each other nor the model
//! nor the API; what joins them is the daemon. cargo only forbids circles, so the rest is checked here, on
//! `cargo metadata --no-deps`, for every kind of dependency: a test that needs a sibling is a test in the wrong crate.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::place::{Place, metadata};
use crate::source;

/// Each crate with the crates it may see. A crate without a row here is a violation, so that a new one gets one.
const MAY_SEE: [(&str, &[&str]); 14] = [
    ("proto", &[]),
    ("model", &[]),
    ("datapath-common", &[]),
    ("sockopt", &[]),
    ("bgpd", &["sockopt"]),
    ("routemgr", &["sockopt"]),
    ("health", &["sockopt"]),
    ("datapath", &["datapath-common", "sockopt"]),
    ("datapath-ebpf", &["datapath-common"]),
    ("api", &["proto", "model"]),
    ("cli", &["proto"]),
    (
        "daemon",
        &["api", "bgpd", "datapath", "datapath-common", "health", "model", "proto", "routemgr", "sockopt"],
    ),
    // Labs judge the whole from outside; nothing may need them.
    (
        "labs",
        &["api", "bgpd", "datapath", "datapath-common", "health", "model", "proto", "routemgr", "sockopt"],
    ),
    ("xtask", &[]),
];

/// One dependency of one crate of ours on another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Violation {
    NoRow(String),
    Edge(Edge),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRow(name) => {
                write!(f, "{name}: no row in MAY_SEE of xtask/src/deps.rs says what it may see")
            }
            Self::Edge(Edge { from, to }) => write!(f, "{from} must not depend on {to}"),
        }
    }
}

/// Checks the workspace, the eBPF crate, and every source file.
pub(crate) fn check(place: &Place) -> Result<()> {
    let (mut names, mut edges) = read(&place.metadata);
    let (ebpf_names, ebpf_edges) = read(&metadata(&place.root.join("datapath-ebpf/Cargo.toml"))?);
    names.extend(ebpf_names);
    edges.extend(ebpf_edges);
    let mut complaints: Vec<String> = violations(&names, &edges).iter().map(ToString::to_string).collect();
    complaints.extend(source::unsafe_outside(place)?);
    if complaints.is_empty() {
        eprintln!("deps: {} crates, {} dependencies among them, all as designed", names.len(), edges.len());
        return Ok(());
    }
    bail!("the design's directions are broken:\n  {}", complaints.join("\n  "))
}

/// Our crates and the dependencies between them. A dependency of ours has a path, others have a source.
fn read(metadata: &Value) -> (BTreeSet<String>, BTreeSet<Edge>) {
    let (mut names, mut edges) = (BTreeSet::new(), BTreeSet::new());
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(from) = package["name"].as_str() else { continue };
        names.insert(from.to_owned());
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for to in dependencies.filter(|it| it["path"].is_string()).filter_map(|it| it["name"].as_str()) {
            edges.insert(Edge { from: from.to_owned(), to: to.to_owned() });
        }
    }
    (names, edges)
}

fn violations(names: &BTreeSet<String>, edges: &BTreeSet<Edge>) -> Vec<Violation> {
    let row = |name: &str| MAY_SEE.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
    let unknown = names.iter().filter(|name| row(name).is_none()).cloned().map(Violation::NoRow);
    let wrong = |edge: &&Edge| row(&edge.from).is_some_and(|allowed| !allowed.contains(&edge.to.as_str()));
    unknown.chain(edges.iter().filter(wrong).cloned().map(Violation::Edge)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(packages: Value) -> Vec<String> {
        let (names, edges) = read(&json!({ "packages": packages }));
        violations(&names, &edges).iter().map(ToString::to_string).collect()
    }

    fn package(name: &str, sees: &[&str]) -> Value {
        let ours = sees.iter().map(|to| json!({"name": to, "path": format!("/w/{to}"), "kind": null}));
        let foreign = json!({"name": "tokio", "source": "registry", "kind": null});
        json!({"name": name, "dependencies": ours.chain([foreign]).collect::<Vec<_>>()})
    }

    #[test]
    fn the_design_itself_has_no_violation() {
        let all: Vec<Value> = MAY_SEE.iter().map(|(name, sees)| package(name, sees)).collect();
        assert_eq!(found(json!(all)), Vec::<String>::new());
    }

    #[test]
    fn planted_violations_are_found_each_by_name() {
        for (from, to) in [
            ("bgpd", "routemgr"),
            ("routemgr", "bgpd"),
            ("datapath", "health"),
            ("health", "model"),
            ("bgpd", "proto"),
            ("datapath", "api"),
            ("api", "daemon"),
            ("api", "datapath"),
            ("cli", "daemon"),
            ("cli", "api"),
            ("cli", "model"),
            ("daemon", "labs"),
            ("datapath", "labs"),
            ("model", "proto"),
            ("proto", "model"),
            ("datapath-common", "sockopt"),
            ("xtask", "model"),
        ] {
            let complaint = format!("{from} must not depend on {to}");
            assert_eq!(found(json!([package(from, &[to]), package(to, &[])])), [complaint]);
        }
    }

    #[test]
    fn a_dependency_of_tests_counts_too() {
        let dev =
            json!({"name": "cli", "dependencies": [{"name": "daemon", "path": "/w/daemon", "kind": "dev"}]});
        assert_eq!(found(json!([dev])), ["cli must not depend on daemon"]);
    }

    #[test]
    fn a_crate_nobody_wrote_a_rule_for_is_named() {
        let complaints = found(json!([package("extras", &["model"])]));
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("extras: no row"));
    }
}
