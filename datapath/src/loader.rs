//! Programs, links and pins.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::{BackendId, PoolName, ServiceId, Wanted};

/// Where pins live and how large the maps are. Sizes are part of the ABI of the pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Directory on a bpffs, `/sys/fs/bpf/vipcast` unless said.
    pub pin_dir: PathBuf,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub vips: u32,
    pub services: u32,
    pub backends: u32,
    pub ring_slots: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { vips: 10_000, services: 20_000, backends: 65_535, ring_slots: 1 << 20 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Placeholder(String),
}

/// What [`Datapath::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No pins: nothing of vipcast was there.
    Nothing,
    /// Pins of a running datapath were adopted; traffic went on the whole time. The interfaces whose pinned link is
    /// still attached.
    Adopted { attached: Vec<String> },
}

/// State read back from the maps, in the caller's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Interfaces with our program attached (checked in the kernel), and the mode.
    pub attached: BTreeMap<String, Mode>,
    /// Interfaces that are wanted but could not be attached, and why.
    pub not_attached: BTreeMap<String, String>,
    /// VIPs that are in the VIP maps as wanted.
    pub vips: BTreeMap<IpAddr, crate::VipSpec>,
    /// Services whose entry, ring and backend records are in the maps as wanted.
    pub services: BTreeMap<ServiceId, PoolName>,
    /// Digest over each pool's ring as read back from the map.
    pub ring_digests: BTreeMap<PoolName, u64>,
    /// Backends of each pool that have slots, from the ring as read back.
    pub members: BTreeMap<PoolName, Vec<BackendId>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Native,
    Generic,
}

/// Counters, summed over CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub services: BTreeMap<ServiceId, datapath_common::abi::Traffic>,
    pub backends: BTreeMap<(PoolName, BackendId), datapath_common::abi::Traffic>,
    /// Per VIP: counter name -> value (drop reasons, `echo-replied`, `too-big-sent`).
    pub vips: BTreeMap<IpAddr, BTreeMap<&'static str, u64>>,
    /// Per ingress interface: counter name -> value (`received`, `passed`, …, `drop-<reason>`).
    pub interfaces: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The datapath of this node. All calls block for map syscalls only (milliseconds); call from a blocking context.
pub struct Datapath {}

impl Datapath {
    /// Adopts what is pinned or prepares a first load; attaches nothing. Refuses pins of another ABI or other sizes.
    pub fn open(_options: Options) -> Result<(Self, Found), Error> {
        Err(Error::Placeholder("not written".into()))
    }

    /// Makes the maps and attachments equal to `wanted`, in an order that never sends a packet to a half-written
    /// entry: records, rings, services, VIPs, then attachment; removals the other way round. Reads back what it wrote.
    pub fn apply(&mut self, _wanted: &Wanted) -> Result<ReadBack, Error> {
        Err(Error::Placeholder("not written".into()))
    }

    /// Reads the maps and attachments without changing them.
    pub fn read_back(&self) -> Result<ReadBack, Error> {
        Err(Error::Placeholder("not written".into()))
    }

    pub fn stats(&self) -> Result<Stats, Error> {
        Err(Error::Placeholder("not written".into()))
    }

    /// Removes every link, program and map that this pin directory holds.
    pub fn detach(self) -> Result<(), Error> {
        Err(Error::Placeholder("not written".into()))
    }
}
