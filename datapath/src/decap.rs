//! Real-server side: the decapsulation program, attached to the interfaces that tunnel packets come in on.
//!
//! It has pins of its own, apart from a node's: one machine may be both.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, MapData, PerCpuArray};
use aya::{Ebpf, Pod};
use datapath_common::abi::{ABI_VERSION, map, program};
use datapath_common::counters::{DECAP_COUNTERS, DecapCounter};
use ipnet::IpNet;
use tracing::info;

use crate::loader::pins::{LinkPin, Pins};
use crate::loader::{
    Shape, attach, attachments, check_pinned, devices, load, remove_pins, replace, sums, take, xdp,
};
use crate::{AttachError, Error};

/// Tunnel addresses that a real server may have, per family.
const LOCAL_ENTRIES: u32 = 256;
/// Prefixes of allowed sources, per family.
const SOURCE_ENTRIES: u32 = 1024;

/// What a real server accepts from its load balancer nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecapWanted {
    pub pin_dir: PathBuf,
    /// Interfaces that tunnel packets come in on.
    pub interfaces: BTreeSet<String>,
    /// Outer sources that are decapsulated; others are dropped and counted.
    pub allowed_sources: BTreeSet<IpNet>,
    /// Outer destinations that are ours.
    pub local: BTreeSet<IpAddr>,
}

/// The attached decapsulation program; stays attached (pinned) when dropped.
pub struct Decap {
    pins: Pins,
    stats: PerCpuArray<MapData, [u64; DECAP_COUNTERS]>,
}

impl Decap {
    /// Makes maps and attachments equal to `wanted`: allowed sources and local addresses first, then the programs, in
    /// generic mode where the driver has no native XDP. Running programs are replaced, their counters go on. Fails with
    /// the first interface that cannot be attached; a first call that fails leaves nothing behind.
    pub fn apply(wanted: &DecapWanted) -> Result<Self, Error> {
        let (pins, existed) = Pins::open(&wanted.pin_dir, &format!("decap-{ABI_VERSION}"))?;
        match Self::set_up(&pins, wanted) {
            Ok(stats) => Ok(Self { pins, stats }),
            Err(error) if existed => Err(error),
            Err(error) => {
                pins.remove_all()?;
                Err(error)
            }
        }
    }

    /// Counter name -> value, summed over CPUs: `received`, `decapsulated`, `passed`, `drop-source`, …
    pub fn stats(&self) -> Result<BTreeMap<&'static str, u64>, Error> {
        let sums = sums(map::DECAP_STATS, &self.stats, 0)?;
        Ok(DecapCounter::ALL.iter().map(|counter| counter.name()).zip(sums).collect())
    }

    /// Takes the programs off and removes the pins.
    pub fn detach(self) -> Result<(), Error> {
        self.pins.remove_all()
    }

    /// As [`Self::detach`], for pins of whatever version; nothing to do when there are none.
    pub fn remove(pin_dir: &std::path::Path) -> Result<(), Error> {
        remove_pins(pin_dir)
    }

    fn set_up(
        pins: &Pins,
        wanted: &DecapWanted,
    ) -> Result<PerCpuArray<MapData, [u64; DECAP_COUNTERS]>, Error> {
        let shapes = shapes();
        shapes.iter().try_for_each(|shape| check_pinned(pins, shape))?;
        let mut ebpf = load(pins, &shapes, 0)?;
        fill(&mut ebpf, wanted)?;
        let stats = take(&mut ebpf, map::DECAP_STATS)?;

        let devices = devices()?;
        let mut attached = BTreeSet::new();
        let here = attachments(pins, &devices)?;
        for attachment in here.values() {
            match &attachment.live {
                Some((name, _)) if wanted.interfaces.contains(name) && *name == attachment.pin.interface => {
                    let mut ebpf = load(pins, &shapes, 0)?;
                    replace(pins, &attachment.pin, xdp(&mut ebpf, program::DECAP)?)?;
                    attached.insert(name.clone());
                }
                _ => pins.remove_link(&attachment.pin)?,
            }
        }
        let mut slots = (0u32..).filter(|slot| !here.contains_key(slot));
        for interface in wanted.interfaces.difference(&attached) {
            let failed = |reason| Error::Attach { interface: interface.clone(), reason };
            // Without the snapshot's own attachments: those that were not wanted are gone by now.
            let devices = crate::loader::devices()?;
            let device = devices.get(interface).ok_or_else(|| failed(AttachError::NoInterface))?;
            let slot = slots.next().unwrap_or_default();
            let mut ebpf = load(pins, &shapes, 0)?;
            let program = xdp(&mut ebpf, program::DECAP)?;
            let pin = LinkPin { slot, interface: interface.clone() };
            attach(pins, &pin, device, true, program).map_err(failed)?;
        }
        info!(interfaces = ?wanted.interfaces, sources = wanted.allowed_sources.len(), "decapsulation set up");
        Ok(stats)
    }
}

fn shapes() -> [Shape; 5] {
    let counters = size_of::<[u64; DECAP_COUNTERS]>();
    [
        Shape::new(map::DECAP_LOCAL4, 4, 4, LOCAL_ENTRIES),
        Shape::new(map::DECAP_LOCAL6, 16, 4, LOCAL_ENTRIES),
        Shape::new(map::DECAP_SOURCES4, 4 + 4, 4, SOURCE_ENTRIES),
        Shape::new(map::DECAP_SOURCES6, 4 + 16, 4, SOURCE_ENTRIES),
        Shape::new(map::DECAP_STATS, 4, counters, 1),
    ]
}

fn fill(ebpf: &mut Ebpf, wanted: &DecapWanted) -> Result<(), Error> {
    let split = |addr: &IpAddr| match addr {
        IpAddr::V4(v4) => (Some(v4.octets()), None),
        IpAddr::V6(v6) => (None, Some(v6.octets())),
    };
    let (local4, local6): (Vec<_>, Vec<_>) = wanted.local.iter().map(split).unzip();
    set(map::DECAP_LOCAL4, take(ebpf, map::DECAP_LOCAL4)?, local4.into_iter().flatten().collect())?;
    set(map::DECAP_LOCAL6, take(ebpf, map::DECAP_LOCAL6)?, local6.into_iter().flatten().collect())?;

    let prefix = |net: &IpNet| match net.trunc() {
        IpNet::V4(v4) => (Some((v4.prefix_len(), v4.addr().octets())), None),
        IpNet::V6(v6) => (None, Some((v6.prefix_len(), v6.addr().octets()))),
    };
    let (sources4, sources6): (Vec<_>, Vec<_>) = wanted.allowed_sources.iter().map(prefix).unzip();
    set_prefixes(
        map::DECAP_SOURCES4,
        take(ebpf, map::DECAP_SOURCES4)?,
        sources4.into_iter().flatten().collect(),
    )?;
    set_prefixes(
        map::DECAP_SOURCES6,
        take(ebpf, map::DECAP_SOURCES6)?,
        sources6.into_iter().flatten().collect(),
    )
}

/// Makes a hash used as a set hold exactly `wanted`; what is new goes in first.
fn set<K: Pod + Ord>(
    name: &'static str,
    mut map: HashMap<MapData, K, u32>,
    wanted: BTreeSet<K>,
) -> Result<(), Error> {
    for key in &wanted {
        map.insert(key, 1, 0).map_err(Error::map(name))?;
    }
    let there: Vec<K> = map.keys().collect::<Result<_, _>>().map_err(Error::map(name))?;
    for key in there.iter().filter(|key| !wanted.contains(*key)) {
        map.remove(key).map_err(Error::map(name))?;
    }
    Ok(())
}

/// As [`set`], for prefixes (length, address).
fn set_prefixes<K: Pod + Ord + Hash>(
    name: &'static str,
    mut map: LpmTrie<MapData, K, u32>,
    wanted: BTreeSet<(u8, K)>,
) -> Result<(), Error> {
    for (len, addr) in &wanted {
        map.insert(&Key::new(u32::from(*len), *addr), 1, 0).map_err(Error::map(name))?;
    }
    let there: Vec<Key<K>> = map.keys().collect::<Result<_, _>>().map_err(Error::map(name))?;
    for key in there.iter().filter(|key| !wanted.contains(&(key.prefix_len() as u8, key.data()))) {
        map.remove(key).map_err(Error::map(name))?;
    }
    Ok(())
}
