//! Counters: per-CPU values summed up, indices turned into names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use datapath_common::abi::{Traffic, map};
use datapath_common::counters::{DropReason, IfaceCounter, VIP_EXTRA_NAMES};

use super::Error;
use super::maps::Maps;
use super::pins::LinkPin;
use crate::{BackendId, PoolName, ServiceId};

/// Counters, summed over CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub services: BTreeMap<ServiceId, Traffic>,
    pub backends: BTreeMap<(PoolName, BackendId), Traffic>,
    /// Per VIP: counter name -> value (drop reasons, `echo-replied`, `too-big-sent`, `undefined-passed`).
    pub vips: BTreeMap<IpAddr, BTreeMap<&'static str, u64>>,
    /// Per ingress interface: counter name -> value (`received`, `passed`, …, `drop-<reason>`).
    pub interfaces: BTreeMap<String, BTreeMap<String, u64>>,
}

pub(super) fn read(maps: &Maps, links: &[LinkPin]) -> Result<Stats, Error> {
    let names = maps.names()?;
    let mut stats = Stats::default();
    for (id, entry) in &names.services {
        stats.services.insert(*id, traffic(map::SERVICE_STATS, &maps.service_stats, entry.index)?);
    }
    for place in names.pools.values() {
        for (index, id) in names.identities.range(place.block()) {
            let counted = traffic(map::BACKEND_STATS, &maps.backend_stats, *index)?;
            let sum = stats.backends.entry((place.name.clone(), *id)).or_default();
            sum.packets += counted.packets;
            sum.bytes += counted.bytes;
        }
    }
    let vip_names: Vec<&'static str> =
        DropReason::ALL.iter().map(|reason| reason.name()).chain(VIP_EXTRA_NAMES).collect();
    for (vip, entry) in &names.vips {
        let sums = sums(map::VIP_STATS, &maps.vip_stats, entry.index)?;
        stats.vips.insert(*vip, vip_names.iter().copied().zip(sums).collect());
    }
    let verdicts = IfaceCounter::VERDICTS.iter().map(|counter| counter.name().to_owned());
    let drops = DropReason::ALL.iter().map(|reason| format!("drop-{}", reason.name()));
    let iface_names: Vec<String> = verdicts.chain(drops).collect();
    for pin in links {
        let sums = sums(map::IFACE_STATS, &maps.iface_stats, pin.slot)?;
        stats.interfaces.insert(pin.interface.clone(), iface_names.iter().cloned().zip(sums).collect());
    }
    Ok(stats)
}

fn traffic(name: &'static str, map: &PerCpuArray<MapData, Traffic>, index: u32) -> Result<Traffic, Error> {
    let values = map.get(&index, 0).map_err(Error::map(name))?;
    Ok(values.iter().fold(Traffic::default(), |sum, cpu| Traffic {
        packets: sum.packets + cpu.packets,
        bytes: sum.bytes + cpu.bytes,
    }))
}

pub(crate) fn sums<const N: usize>(
    name: &'static str,
    map: &PerCpuArray<MapData, [u64; N]>,
    index: u32,
) -> Result<[u64; N], Error>
where
    [u64; N]: Pod,
{
    let values = map.get(&index, 0).map_err(Error::map(name))?;
    Ok(values.iter().fold([0; N], |mut sums, cpu| {
        sums.iter_mut().zip(cpu).for_each(|(sum, value)| *sum += value);
        sums
    }))
}
