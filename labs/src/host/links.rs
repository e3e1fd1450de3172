//! Veth pairs, created straight into the namespaces of their ends: no interface ever appears on the host.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::process;
use crate::clab::{Link, Topology};

/// Creates all links; `inits` holds the PID 1 of each node.
pub(super) fn create(topology: &Topology, inits: &BTreeMap<String, i32>) -> Result<()> {
    let mut batch = String::new();
    for link in &topology.links {
        let line = line(link, inits).with_context(|| format!("link {:?}", link.ends))?;
        batch.push_str(&line);
    }
    let output = process::run_with_input(
        Command::new("ip").args(["-batch", "-"]),
        batch.as_bytes(),
        Duration::from_secs(30),
    )?;
    ensure!(output.success, "cannot create the links: {}", output.stderr.trim());
    Ok(())
}

fn line(link: &Link, inits: &BTreeMap<String, i32>) -> Result<String> {
    let [a, b] = &link.ends;
    let netns = |node: &str| inits.get(node).copied().with_context(|| format!("node {node} is not up"));
    let mut line = String::new();
    writeln!(
        line,
        "link add name {} mtu {mtu} netns {} type veth peer name {} mtu {mtu} netns {}",
        a.interface,
        netns(&a.node)?,
        b.interface,
        netns(&b.node)?,
        mtu = link.mtu,
    )?;
    Ok(line)
}

/// Batch that brings a node's interfaces up, as containerlab does.
pub(super) fn up_batch(topology: &Topology, node: &str) -> String {
    topology.interfaces(node).map(|end| format!("link set dev {} up\n", end.interface)).collect()
}
