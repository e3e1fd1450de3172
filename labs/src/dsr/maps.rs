//! A node's datapath as the kernel has it: its pinned maps, read by their ABI without the daemon.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use datapath_common::abi::{Backend, Service, ServiceKey4, ServiceKey6, Slot, Traffic, Vip, forward, map};
use datapath_common::counters::{DropReason, VIP_COUNTERS, VIP_ECHO_REPLIED};

use super::facts::LbService;
use crate::host::Node;

/// Where the daemon pins, below the node's bpffs.
const PINS: &str = "vipcast";

/// The pinned maps of a node.
#[derive(Debug)]
pub(super) struct Maps {
    node: String,
    dir: PathBuf,
}

impl Maps {
    pub(super) fn of(node: &Node) -> Self {
        Self { node: node.name().to_owned(), dir: node.bpffs().join(PINS).join("maps") }
    }

    /// Tunnel ends that the ring of a service leads to now; empty when there is no such service or nobody in its ring.
    pub(super) fn members(&self, service: LbService) -> Result<BTreeSet<IpAddr>> {
        let Some(entry) = self.service(service)? else { return Ok(BTreeSet::new()) };
        if entry.ring_bits == 0 {
            return Ok(BTreeSet::new());
        }
        let rings: Array<_, u32> = self.open(map::RINGS)?;
        let mut positions = BTreeSet::new();
        for slot in 0..1u32 << entry.ring_bits {
            positions.insert(Slot(rings.get(&(entry.ring_base + slot), 0)?).current());
        }
        positions.remove(&Slot::EMPTY);
        let backends: Array<_, Backend> = self.open(map::BACKENDS)?;
        let record = |position: u16| -> Result<Option<IpAddr>> {
            let backend = backends.get(&(entry.backend_base + u32::from(position)), 0)?;
            Ok(tunnel_end(&backend))
        };
        let ends = positions.into_iter().map(record).collect::<Result<Vec<_>>>()?;
        Ok(ends.into_iter().flatten().collect())
    }

    /// Packets that a service has forwarded.
    pub(super) fn packets(&self, service: LbService) -> Result<u64> {
        let Some(entry) = self.service(service)? else { return Ok(0) };
        let stats: PerCpuArray<_, Traffic> = self.open(map::SERVICE_STATS)?;
        Ok(stats.get(&entry.index, 0)?.iter().map(|traffic| traffic.packets).sum())
    }

    /// Packets to a VIP that were dropped for this reason.
    pub(super) fn dropped(&self, vip: IpAddr, reason: DropReason) -> Result<u64> {
        self.vip_counter(vip, reason as usize)
    }

    /// Echo requests that were answered.
    pub(super) fn echo_replied(&self, vip: IpAddr) -> Result<u64> {
        self.vip_counter(vip, VIP_ECHO_REPLIED)
    }

    /// Takes a VIP out of the map, so that the datapath does not know it any more: its undefined traffic goes to the
    /// kernel.
    pub(super) fn forget(&self, vip: IpAddr) -> Result<()> {
        match vip {
            IpAddr::V4(vip) => {
                let mut vips: HashMap<_, [u8; 4], Vip> = self.open(map::VIPS4)?;
                vips.remove(&vip.octets())?;
            }
            IpAddr::V6(vip) => {
                let mut vips: HashMap<_, [u8; 16], Vip> = self.open(map::VIPS6)?;
                vips.remove(&vip.octets())?;
            }
        }
        Ok(())
    }

    /// Removes every pin of the node's datapath: the programs go with their links.
    pub(super) fn unpin_all(node: &Node) -> Result<()> {
        let dir = node.bpffs().join(PINS);
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
    }

    fn vip_counter(&self, vip: IpAddr, counter: usize) -> Result<u64> {
        let entry = match vip {
            IpAddr::V4(vip) => {
                found(self.open::<HashMap<_, [u8; 4], Vip>>(map::VIPS4)?.get(&vip.octets(), 0))?
            }
            IpAddr::V6(vip) => {
                found(self.open::<HashMap<_, [u8; 16], Vip>>(map::VIPS6)?.get(&vip.octets(), 0))?
            }
        };
        let Some(entry) = entry else { return Ok(0) };
        let stats: PerCpuArray<_, [u64; VIP_COUNTERS]> = self.open(map::VIP_STATS)?;
        Ok(stats.get(&entry.index, 0)?.iter().filter_map(|values| values.get(counter)).sum())
    }

    fn service(&self, service: LbService) -> Result<Option<Service>> {
        let (port, proto) = (service.port.to_be_bytes(), service.protocol.number());
        match service.vip {
            IpAddr::V4(vip) => {
                let key = ServiceKey4 { addr: vip.octets(), port, proto, pad: 0 };
                found(self.open::<HashMap<_, ServiceKey4, Service>>(map::SERVICES4)?.get(&key, 0))
            }
            IpAddr::V6(vip) => {
                let key = ServiceKey6 { addr: vip.octets(), port, proto, pad: 0 };
                found(self.open::<HashMap<_, ServiceKey6, Service>>(map::SERVICES6)?.get(&key, 0))
            }
        }
    }

    fn open<M: TryFrom<Map, Error = MapError>>(&self, name: &str) -> Result<M> {
        let open = || M::try_from(Map::from_map_data(MapData::from_pin(self.dir.join(name))?)?);
        open().with_context(|| format!("map {name} of {}", self.node))
    }
}

fn found<V>(answer: Result<V, MapError>) -> Result<Option<V>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn tunnel_end(backend: &Backend) -> Option<IpAddr> {
    let [a, b, c, d, ..] = backend.outer_dst;
    match backend.kind {
        forward::IPIP_OUTER4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        forward::IPIP_OUTER6 => Some(Ipv6Addr::from(backend.outer_dst).into()),
        _ => None,
    }
}
