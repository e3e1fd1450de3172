//! What a run has made, on disk before it is made, so that another process can take it away.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::process::ProcessId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    pub runner: ProcessId,
    /// Seconds since 1970.
    pub started_at: u64,
    /// The runner has left on purpose and the lab stays up.
    pub kept: bool,
    /// The directory of named network namespaces was not there before.
    pub made_netns_dir: bool,
    pub nodes: BTreeMap<String, NodeEntry>,
}

/// Empty until the node is up: its name alone says which files and mounts may exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// PID 1 of the node, as numbered here.
    pub init: Option<ProcessId>,
    /// Inode of its network namespace.
    pub netns_inode: Option<u64>,
}

impl Journal {
    pub fn new(nodes: impl IntoIterator<Item = String>) -> Result<Self> {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let nodes = nodes.into_iter().map(|name| (name, NodeEntry::default())).collect();
        let runner = ProcessId::myself()?;
        Ok(Self { runner, started_at, kept: false, made_netns_dir: false, nodes })
    }

    /// `None` when there is none.
    pub fn read(place: &Place) -> Result<Option<Self>> {
        let path = place.journal();
        match fs::read(&path) {
            Ok(bytes) => {
                let journal = serde_json::from_slice(&bytes);
                journal.map(Some).with_context(|| format!("{} is no journal", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Replaces the file in one step: a runner that is killed while writing leaves the previous state.
    pub fn write(&self, place: &Place) -> Result<()> {
        let path = place.journal();
        let new = path.with_extension("new");
        let bytes = serde_json::to_vec_pretty(self).context("journal")?;
        fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Any node still held by its process.
    pub fn running(&self) -> bool {
        self.nodes.values().filter_map(|node| node.init).any(ProcessId::alive)
    }
}
