//! Taking a lab away by its journal: processes by number and start time, names and mounts by path.
//!
//! Works from what is on disk alone, so that it serves the end of a run, a run that failed half-way, and the repair after
//! a killed one.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::journal::Journal;
use super::mounts;
use super::place::{NETNS, Place};
use super::process::ProcessId;

/// PID 1 takes its whole namespace with it; waiting for that needs no more than this.
const DEATH: Duration = Duration::from_secs(10);

/// Removes everything that the journal names. Returns what could not be removed.
pub fn teardown(place: &Place, journal: &Journal) -> Vec<String> {
    let mut problems = Vec::new();
    end_processes(journal, &mut problems);
    for node in journal.nodes.keys() {
        remove_name(&place.netns_path(node), &mut problems);
    }
    if journal.made_netns_dir {
        // Stays when somebody else has put a name there since.
        let _ = std::fs::remove_dir(NETNS);
    }
    remove_dir(&place.dir(), &mut problems);
    problems
}

/// Everything of the lab that can still be seen on this machine.
pub fn leftovers(place: &Place, journal: &Journal) -> Vec<String> {
    let mut found = Vec::new();
    for (name, node) in &journal.nodes {
        let path = place.netns_path(name);
        if path.exists() {
            found.push(format!("namespace {}", place.netns(name)));
        }
        if node.init.is_some_and(ProcessId::alive) {
            found.push(format!("process of node {name}"));
        }
    }
    let inodes: Vec<u64> = journal.nodes.values().filter_map(|node| node.netns_inode).collect();
    found.extend(
        processes_in(&inodes).into_iter().map(|pid| format!("process {pid} in a namespace of the lab")),
    );
    let names = journal.nodes.keys().map(|node| place.netns_path(node));
    for dir in names.chain([place.dir()]) {
        let points = mounts::below(&dir).unwrap_or_default();
        found.extend(points.into_iter().map(|point| format!("mount {}", point.display())));
    }
    if place.dir().exists() {
        found.push(format!("directory {}", place.dir().display()));
    }
    found
}

fn end_processes(journal: &Journal, problems: &mut Vec<String>) {
    let inits: Vec<ProcessId> = journal.nodes.values().filter_map(|node| node.init).collect();
    for init in &inits {
        init.signal(Signal::SIGKILL);
    }
    let end = Instant::now() + DEATH;
    while inits.iter().any(|init| init.alive()) {
        if Instant::now() >= end {
            problems.push("processes of the lab do not end".to_owned());
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes whose network namespace is one of these.
fn processes_in(netns_inodes: &[u64]) -> Vec<i32> {
    let links: Vec<String> = netns_inodes.iter().map(|inode| format!("net:[{inode}]")).collect();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap_or_default();
            link.to_str().is_some_and(|link| links.iter().any(|ours| ours == link))
        })
        .collect()
}

fn remove_name(path: &Path, problems: &mut Vec<String>) {
    for point in mounts::below(path).unwrap_or_default() {
        note(mounts::detach(&point), problems);
    }
    if path.exists() {
        note(std::fs::remove_file(path).map_err(anyhow::Error::from), problems);
    }
}

/// Removes a directory, never what is mounted below it.
fn remove_dir(dir: &Path, problems: &mut Vec<String>) {
    for point in mounts::below(dir).unwrap_or_default() {
        note(mounts::detach(&point), problems);
    }
    match mounts::below(dir) {
        Ok(left) if left.is_empty() && dir.exists() => {
            note(std::fs::remove_dir_all(dir).map_err(anyhow::Error::from), problems);
        }
        Ok(left) => problems.extend(left.iter().map(|point| format!("{} is still mounted", point.display()))),
        Err(error) => problems.push(error.to_string()),
    }
}

fn note(result: anyhow::Result<()>, problems: &mut Vec<String>) {
    if let Err(error) = result {
        problems.push(format!("{error:#}"));
    }
}
