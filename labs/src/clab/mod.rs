//! Topology files in containerlab's own format (<https://containerlab.dev/manual/topo-def-file/>), as far as this runner
//! realises them: `kind: linux` nodes and veth links.
//!
//! What the runner would have to ignore is an error that names the key: a lab must not mean one thing here and another
//! in containerlab. [`Topology`] is what is left after inheritance (defaults, kinds, groups, node) and is legal by
//! construction.

mod file;
mod resolve;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// MTU of a link that says nothing, as in containerlab.
pub const DEFAULT_MTU: u32 = 9500;

/// A lab as it is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    pub name: String,
    pub nodes: BTreeMap<String, Node>,
    pub links: Vec<Link>,
}

/// One machine of the lab.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Set before any interface exists, in this order.
    pub sysctls: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub binds: Vec<Bind>,
    /// Commands after all links are there, split as a shell would.
    pub exec: Vec<Vec<String>>,
}

/// A file or directory of the lab that a node sees at a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// As written: relative paths start at the topology file's directory.
    pub source: PathBuf,
    /// Absolute, in the node.
    pub target: PathBuf,
    pub read_only: bool,
}

/// One veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub ends: [End; 2],
    pub mtu: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    pub node: String,
    pub interface: String,
}

impl Topology {
    /// Reads and checks a topology file. The error lists every problem at once.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} cannot be run", path.display()))
    }

    /// As [`Topology::load`], from text.
    pub fn parse(text: &str) -> Result<Self> {
        let file: file::File = serde_saphyr::from_str(text).context("not a topology")?;
        match resolve::resolve(file) {
            Ok(topology) => Ok(topology),
            Err(problems) => bail!("{}", problems.join("\n")),
        }
    }

    /// Interfaces of a node in the order of the links.
    pub fn interfaces<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a End> {
        self.links.iter().flat_map(|link| &link.ends).filter(move |end| end.node == node)
    }
}
