//! Where a running lab keeps its things, and what they are called.

use std::path::{Path, PathBuf};

/// Directory of all running labs.
const ROOT: &str = "/run/vipcast-labs";
/// Where `ip netns` looks for names.
pub(super) const NETNS: &str = "/run/netns";

/// Paths and names of one lab; unique per lab name, so that a second run of it meets the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    lab: String,
    root: PathBuf,
}

impl Place {
    pub fn new(lab: &str) -> Self {
        Self { lab: lab.to_owned(), root: PathBuf::from(ROOT) }
    }

    pub fn lab(&self) -> &str {
        &self.lab
    }

    /// Directory of all running labs.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of this lab.
    pub fn dir(&self) -> PathBuf {
        self.root.join(&self.lab)
    }

    pub fn journal(&self) -> PathBuf {
        self.dir().join("journal.json")
    }

    /// Beside the directory, because the directory goes while the lock is held.
    pub fn lock(&self) -> PathBuf {
        self.root.join(format!("{}.lock", self.lab))
    }

    /// The lab's files as this run sees them, planted faults included.
    pub fn files(&self) -> PathBuf {
        self.dir().join("lab")
    }

    pub fn node(&self, node: &str) -> PathBuf {
        self.dir().join("nodes").join(node)
    }

    /// Name of a node's network namespace for `ip netns`.
    pub fn netns(&self, node: &str) -> String {
        format!("vc-{}-{node}", self.lab)
    }

    pub fn netns_path(&self, node: &str) -> PathBuf {
        Path::new(NETNS).join(self.netns(node))
    }
}

/// Labs that have a journal, running or left over.
pub fn present() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(ROOT) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("journal.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
