//! The nodes through their own command line, `vipcast`, over their sockets.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use super::facts::NODES;
use crate::host::{Lab, process};

/// Where the daemon listens, in the node.
const SOCKET: &str = "/run/vipcast/api.sock";
/// What all nodes are told, relative to the lab's files.
const DOCUMENT: &str = "vipcast.yml";
/// Longest run of the command line beyond what it is told to wait.
const LIMIT: Duration = Duration::from_secs(20);

/// Target of a node for `--node`.
pub(super) fn target(lab: &Lab, node: &str) -> Result<String> {
    Ok(format!("unix://{}", lab.node(node)?.path(SOCKET).display()))
}

/// Tells all nodes the lab's document and waits until it is in effect. Returns what was said.
pub(super) fn apply(lab: &Lab, wait: Duration) -> Result<String> {
    let document = lab.place().files().join(DOCUMENT);
    let mut command = vipcast(lab)?;
    command.arg("apply").arg("-f").arg(document).arg("--wait").arg(format!("{}s", wait.as_secs().max(1)));
    let output = process::run(&mut command, wait + LIMIT)?;
    ensure!(output.success, "vipcast apply: {}{}", output.stdout, output.stderr);
    Ok(output.stdout)
}

/// Asks all nodes the same; answers by the nodes' names. `args` without `-o`.
pub(super) fn ask<T: DeserializeOwned>(lab: &Lab, args: &[&str]) -> Result<BTreeMap<&'static str, T>> {
    let output = process::run(vipcast(lab)?.args(args).args(["-o", "json"]), LIMIT)?;
    // Exit code 6 means degraded: the answer is there all the same.
    let mut answers: BTreeMap<String, T> = serde_json::from_str(&output.stdout)
        .with_context(|| format!("vipcast {}: {}", args.join(" "), output.stderr.trim()))?;
    NODES
        .iter()
        .map(|node| {
            let answer = answers.remove(&target(lab, node.name)?);
            Ok((node.name, answer.with_context(|| format!("{} has not answered", node.name))?))
        })
        .collect()
}

/// The command line with all nodes as targets; from the same build as this program.
fn vipcast(lab: &Lab) -> Result<Command> {
    let program = std::env::current_exe().context("own program")?.with_file_name("vipcast");
    let mut command = Command::new(program);
    for node in NODES {
        command.args(["--node", &target(lab, node.name)?]);
    }
    Ok(command)
}
