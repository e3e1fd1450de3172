//! Programs, links and pins.
//!
//! Everything that matters is in the kernel and pinned; a [`Datapath`] is a handle on it and may come and go. Dropping
//! one detaches nothing.

mod attach;
mod error;
mod grace;
mod ingress;
mod maps;
mod names;
mod netdev;
mod object;
pub(crate) mod pins;
mod stats;
mod unlink;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use datapath_common::abi::ABI_VERSION;
use tracing::{debug, info, warn};

pub use crate::tables::Limits;
use crate::tables::{View, Want, Write, plan, view};
use crate::{BackendId, PoolName, Ring, ServiceId, VipSpec, Wanted};
pub use error::{AttachError, Error};
use maps::Maps;
use netdev::Netdev;
use pins::Pins;
pub use stats::Stats;

pub(crate) use attach::{Attachment, attach, attachments, replace};
pub(crate) use object::{Shape, check_pinned, load, take, xdp};
pub(crate) use pins::remove as remove_pins;
pub(crate) use stats::sums;

/// Where pins live and how large the maps are. Sizes are part of the ABI of the pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Directory on a bpffs, `/sys/fs/bpf/vipcast` unless said.
    pub pin_dir: PathBuf,
    pub limits: Limits,
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

/// State read back from the maps, in the caller's terms. After an [`Datapath::apply`] it is compared with what that
/// wanted; before the first one it tells what is there and complete in itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Interfaces with our program attached (checked in the kernel), and the mode.
    pub attached: BTreeMap<String, Mode>,
    /// Interfaces that are wanted but could not be attached, and why.
    pub not_attached: BTreeMap<String, String>,
    /// VIPs that are in the VIP maps as wanted.
    pub vips: BTreeMap<IpAddr, VipSpec>,
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

/// The datapath of this node. All calls block for map syscalls only (milliseconds; the first `apply` verifies the
/// programs, which may take a few hundred); call from a blocking context, in the node's network namespace: an interface
/// index means what it means there.
pub struct Datapath {
    pins: Pins,
    limits: Limits,
    maps: Maps,
    /// What the last `apply` wanted, less what could not be.
    applied: Option<Applied>,
    /// Interfaces whose program this process loaded; others run one of an earlier process.
    loaded: BTreeSet<String>,
}

struct Applied {
    wanted: Wanted,
    rings: BTreeMap<PoolName, Ring>,
    bounce: Option<u32>,
    refused: BTreeMap<String, String>,
}

impl Applied {
    fn want(&self) -> Want<'_> {
        Want { wanted: &self.wanted, rings: &self.rings, bounce: self.bounce }
    }
}

impl Datapath {
    /// Adopts what is pinned or prepares a first load; attaches nothing. Refuses pins of another ABI or other sizes,
    /// and a directory that another process works with. Leaves nothing behind when a first load fails.
    pub fn open(options: Options) -> Result<(Self, Found), Error> {
        let Options { pin_dir, limits } = options;
        let (pins, existed) = Pins::open(&pin_dir, &layout())?;
        match Self::adopt(&pins, &limits) {
            Ok(maps) => {
                let datapath = Self { pins, limits, maps, applied: None, loaded: BTreeSet::new() };
                let found = datapath.found(existed)?;
                info!(pins = %pin_dir.display(), ?found, "datapath opened");
                Ok((datapath, found))
            }
            Err(error) => {
                if !existed && let Err(left) = pins.remove_all() {
                    warn!(error = %left, "pins of a first load that failed are left");
                }
                Err(error)
            }
        }
    }

    /// Makes the maps and attachments equal to `wanted`, in an order that never sends a packet to a half-written
    /// entry: records, rings, services, VIPs, then attachment; removals the other way round. Reads back what it wrote.
    ///
    /// A wanted set that does not fit changes nothing. An interface that cannot be attached is named in
    /// [`ReadBack::not_attached`], the others work. A backend whose egress interface is gone gets no slots.
    pub fn apply(&mut self, wanted: &Wanted) -> Result<ReadBack, Error> {
        let devices = devices()?;
        let wanted = without_lost_egress(wanted, &devices);
        let bounce = ingress::bounce(&wanted, &devices);
        let mut rings = self.applied.as_ref().map(|applied| applied.rings.clone()).unwrap_or_default();
        Ring::refresh(&mut rings, &wanted);
        let want = Want { wanted: &wanted, rings: &rings, bounce };
        let writes = plan(&self.maps.contents()?, want, &self.limits)?;

        self.detach_unwanted(&wanted, &devices)?;
        for write in &writes {
            self.write(write)?;
        }
        let refused = self.attach_wanted(&wanted)?;
        self.applied = Some(Applied { wanted, rings, bounce, refused });
        self.read_back()
    }

    /// Reads the maps and attachments without changing them.
    pub fn read_back(&self) -> Result<ReadBack, Error> {
        let contents = self.maps.contents()?;
        let want = self.applied.as_ref().map(Applied::want);
        let View { vips, services, ring_digests, members } = view(&contents, want);
        let attached = self.attached()?;
        let mut not_attached = BTreeMap::new();
        if let Some(applied) = &self.applied {
            for name in applied.wanted.ingress.keys().filter(|name| !attached.contains_key(*name)) {
                let reason = applied.refused.get(name).map_or(CHANGED, String::as_str);
                not_attached.insert(name.clone(), reason.to_owned());
            }
        }
        Ok(ReadBack { attached, not_attached, vips, services, ring_digests, members })
    }

    pub fn stats(&self) -> Result<Stats, Error> {
        stats::read(&self.maps, &self.pins.links()?)
    }

    /// Removes every link and map that this pin directory holds, and the directory.
    pub fn detach(self) -> Result<(), Error> {
        self.pins.remove_all()
    }

    /// As [`Self::detach`], for pins of whatever ABI and sizes; nothing to do when there are none.
    pub fn remove(pin_dir: &Path) -> Result<(), Error> {
        remove_pins(pin_dir)
    }

    fn adopt(pins: &Pins, limits: &Limits) -> Result<Maps, Error> {
        let shapes = object::shapes(limits);
        shapes.iter().try_for_each(|shape| check_pinned(pins, shape))?;
        let mut ebpf = load(pins, &shapes, 0)?;
        Maps::new(&mut ebpf, pins, *limits)
    }

    fn found(&self, existed: bool) -> Result<Found, Error> {
        if !existed {
            return Ok(Found::Nothing);
        }
        Ok(Found::Adopted { attached: self.attached()?.into_keys().collect() })
    }

    /// Interfaces that a pinned link is attached to now and whose frames it takes: with an address of before it would
    /// leave them all to the kernel.
    fn attached(&self) -> Result<BTreeMap<String, Mode>, Error> {
        let devices = devices()?;
        let mut attached = BTreeMap::new();
        for Attachment { pin, live } in attachments(&self.pins, &devices)?.into_values() {
            let Some((name, mode)) = live else { continue };
            let record = devices.get(&name).and_then(|device| ingress::iface(device).ok());
            if record == Some(self.maps.iface(pin.slot)?) {
                attached.insert(name, mode);
            }
        }
        Ok(attached)
    }

    fn write(&mut self, write: &Write) -> Result<(), Error> {
        match write {
            Write::PutSlots { pool, base, words } => debug!(pool, base, words = words.len(), "ring words"),
            other => debug!(?other, "map write"),
        }
        self.maps.apply(write)
    }
}

/// Why an interface is not attached that was after the last `apply`.
const CHANGED: &str = "the program was detached, or the interface changed";

fn layout() -> String {
    format!("{ABI_VERSION}-{}", names::HOST_LAYOUT)
}

pub(crate) fn devices() -> Result<BTreeMap<String, Netdev>, Error> {
    netdev::all().map_err(|e| Error::io("list interfaces", e))
}

/// A DEVMAP takes only interfaces that exist: a backend behind one that went away a moment ago is unresolved.
fn without_lost_egress(wanted: &Wanted, devices: &BTreeMap<String, Netdev>) -> Wanted {
    let there: BTreeSet<u32> = devices.values().map(|dev| dev.ifindex).collect();
    let mut wanted = wanted.clone();
    for (pool, spec) in &mut wanted.pools {
        for (backend, spec) in &mut spec.backends {
            if let Some(egress) = spec.egress.take_if(|egress| !there.contains(&egress.ifindex)) {
                warn!(pool = %pool.0, backend = %backend.0, ifindex = egress.ifindex, "egress interface is gone");
            }
        }
    }
    wanted
}
