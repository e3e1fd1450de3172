//! Real-server side: the decapsulation program, attached to one interface.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::Error;

/// What a real server accepts from its load balancer nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecapWanted {
    pub pin_dir: PathBuf,
    /// Interfaces that tunnel packets come in on.
    pub interfaces: BTreeSet<String>,
    /// Outer sources that are decapsulated; others are dropped and counted.
    pub allowed_sources: BTreeSet<ipnet::IpNet>,
    /// Outer destinations that are ours.
    pub local: BTreeSet<IpAddr>,
}

/// The attached decapsulation program; stays attached (pinned) when dropped.
pub struct Decap {}

impl Decap {
    pub fn apply(_wanted: &DecapWanted) -> Result<Self, Error> {
        Err(Error::Placeholder("not written".into()))
    }

    /// Counter name -> value: `decapsulated`, `passed`, `drop-source`, …
    pub fn stats(&self) -> Result<std::collections::BTreeMap<&'static str, u64>, Error> {
        Err(Error::Placeholder("not written".into()))
    }

    pub fn detach(self) -> Result<(), Error> {
        Err(Error::Placeholder("not written".into()))
    }
}
