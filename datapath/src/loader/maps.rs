//! The opened maps: reading them into [`Contents`], and taking [`Write`]s.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use aya::maps::{Array, DevMap, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::{Ebpf, Pod};
use datapath_common::abi::{
    Backend, Config, Iface, Service, ServiceKey4, ServiceKey6, Slot, Traffic, Vip, map,
};
use datapath_common::counters::{IFACE_COUNTERS, VIP_COUNTERS};

use super::names::{IDENTITIES, POOLS, RawIdentity, RawPool};
use super::object::take;
use super::pins::Pins;
use super::words::Words;
use super::{Error, grace};
use crate::tables::{Contents, EGRESS_SLOTS, Limits, PoolPlace, Write};
use crate::{Protocol, ServiceId};

/// Memory is taken for entries in use only (include/uapi/linux/bpf.h).
const BPF_F_NO_PREALLOC: u32 = 1;

pub(crate) struct Maps {
    limits: Limits,
    config: Array<MapData, Config>,
    ifaces: Array<MapData, Iface>,
    services4: HashMap<MapData, ServiceKey4, Service>,
    services6: HashMap<MapData, ServiceKey6, Service>,
    vips4: HashMap<MapData, [u8; 4], Vip>,
    vips6: HashMap<MapData, [u8; 16], Vip>,
    rings: Words,
    backends: Array<MapData, Backend>,
    egress: DevMap<MapData>,
    pools: HashMap<MapData, u32, RawPool>,
    identities: HashMap<MapData, u32, RawIdentity>,
    pub(super) service_stats: PerCpuArray<MapData, Traffic>,
    pub(super) backend_stats: PerCpuArray<MapData, Traffic>,
    pub(super) vip_stats: PerCpuArray<MapData, [u64; VIP_COUNTERS]>,
    pub(super) iface_stats: PerCpuArray<MapData, [u64; IFACE_COUNTERS]>,
}

impl Maps {
    /// Takes the maps out of a loaded object; makes or adopts the two of the host's own.
    pub(crate) fn new(ebpf: &mut Ebpf, pins: &Pins, limits: Limits) -> Result<Self, Error> {
        let rings = MapData::from_pin(pins.map(map::RINGS)).map_err(Error::map(map::RINGS))?;
        let words = Words::map(rings.fd().as_fd(), limits.ring_slots);
        Ok(Self {
            limits,
            config: take(ebpf, map::CONFIG)?,
            ifaces: take(ebpf, map::IFACES)?,
            services4: take(ebpf, map::SERVICES4)?,
            services6: take(ebpf, map::SERVICES6)?,
            vips4: take(ebpf, map::VIPS4)?,
            vips6: take(ebpf, map::VIPS6)?,
            rings: words.map_err(Error::map(map::RINGS))?,
            backends: take(ebpf, map::BACKENDS)?,
            egress: take(ebpf, map::EGRESS)?,
            pools: host_map(&pins.map(POOLS), POOLS, limits.services.saturating_mul(2))?,
            identities: host_map(&pins.map(IDENTITIES), IDENTITIES, limits.backends)?,
            service_stats: take(ebpf, map::SERVICE_STATS)?,
            backend_stats: take(ebpf, map::BACKEND_STATS)?,
            vip_stats: take(ebpf, map::VIP_STATS)?,
            iface_stats: take(ebpf, map::IFACE_STATS)?,
        })
    }

    /// Everything that the maps say.
    pub(crate) fn contents(&self) -> Result<Contents, Error> {
        let mut contents = self.names()?;
        for (&id, place) in &contents.pools {
            let in_map = place.ring_bits < 32 && place.ring_base < self.limits.ring_slots;
            let end = if in_map { place.ring_base.saturating_add(place.ring_slots()) } else { 0 };
            let words = (place.ring_base..end).map_while(|at| self.rings.load(at).map(Slot));
            contents.rings.insert(id, words.collect());
        }
        for &index in contents.identities.keys() {
            let record = self.backends.get(&index, 0).map_err(Error::map(map::BACKENDS))?;
            contents.backends.insert(index, record);
        }
        for slot in 0..EGRESS_SLOTS {
            match self.egress.get(slot, 0) {
                Ok(value) => drop(contents.egress.insert(slot, value.if_index)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(Error::map(map::EGRESS)(error)),
            }
        }
        Ok(contents)
    }

    /// As [`Self::contents`], without rings, records and egress: enough to name counters.
    pub(crate) fn names(&self) -> Result<Contents, Error> {
        let mut services = BTreeMap::new();
        for (key, entry) in entries(map::SERVICES4, &self.services4)? {
            let parts = (IpAddr::from(key.addr), key.port, key.proto);
            services.extend(service_id(parts).map(|id| (id, entry)));
        }
        for (key, entry) in entries(map::SERVICES6, &self.services6)? {
            let parts = (IpAddr::from(key.addr), key.port, key.proto);
            services.extend(service_id(parts).map(|id| (id, entry)));
        }
        let vips4 = entries(map::VIPS4, &self.vips4)?.into_iter().map(|(a, vip)| (IpAddr::from(a), vip));
        let vips6 = entries(map::VIPS6, &self.vips6)?.into_iter().map(|(a, vip)| (IpAddr::from(a), vip));
        let pools = entries(POOLS, &self.pools)?;
        let identities = entries(IDENTITIES, &self.identities)?;
        Ok(Contents {
            config: self.config.get(&0, 0).map_err(Error::map(map::CONFIG))?,
            services,
            vips: vips4.chain(vips6).collect(),
            pools: pools.into_iter().map(|(id, raw)| (id, raw.to_place())).collect(),
            identities: identities.into_iter().map(|(index, raw)| (index, raw.to_id())).collect(),
            ..Contents::default()
        })
    }

    pub(crate) fn apply(&mut self, write: &Write) -> Result<(), Error> {
        match write {
            Write::Config(config) => self.config.set(0, config, 0).map_err(Error::map(map::CONFIG)),
            Write::PutPool(id, place) => self.put_pool(*id, place),
            Write::RemovePool(id) => absent_is_fine(POOLS, self.pools.remove(id)),
            Write::PutIdentity(index, id) => {
                self.identities.insert(index, RawIdentity::from_id(*id), 0).map_err(Error::map(IDENTITIES))
            }
            Write::RemoveIdentity(index) => absent_is_fine(IDENTITIES, self.identities.remove(index)),
            Write::PutEgress(slot, ifindex) => {
                self.egress.set(*slot, *ifindex, None, 0).map_err(Error::map(map::EGRESS))
            }
            Write::RemoveEgress(slot) => self.remove_egress(*slot),
            Write::PutBackend { index, record, fresh } => self.put_backend(*index, record, *fresh),
            Write::ClearBackend(index) => self.put_backend(*index, &Backend::default(), false),
            Write::PutSlots { base, words, .. } => self.put_slots(*base, words),
            Write::PutService(id, entry) => self.put_service(id, entry),
            Write::RemoveService(id) => self.remove_service(id),
            Write::PutVip(IpAddr::V4(vip), entry) => {
                self.vips4.insert(vip.octets(), entry, 0).map_err(Error::map(map::VIPS4))
            }
            Write::PutVip(IpAddr::V6(vip), entry) => {
                self.vips6.insert(vip.octets(), entry, 0).map_err(Error::map(map::VIPS6))
            }
            Write::RemoveVip(IpAddr::V4(vip)) => absent_is_fine(map::VIPS4, self.vips4.remove(&vip.octets())),
            Write::RemoveVip(IpAddr::V6(vip)) => absent_is_fine(map::VIPS6, self.vips6.remove(&vip.octets())),
            Write::ZeroServiceStats(index) => zero(map::SERVICE_STATS, &mut self.service_stats, *index),
            Write::ZeroBackendStats(index) => zero(map::BACKEND_STATS, &mut self.backend_stats, *index),
            Write::ZeroVipStats(index) => zero(map::VIP_STATS, &mut self.vip_stats, *index),
            Write::Grace => {
                grace::period();
                Ok(())
            }
        }
    }

    pub(crate) fn iface(&self, slot: u32) -> Result<Iface, Error> {
        self.ifaces.get(&slot, 0).map_err(Error::map(map::IFACES))
    }

    /// Writes an ingress slot when it differs; `fresh` ones begin to count at zero.
    pub(crate) fn put_iface(&mut self, slot: u32, iface: Iface, fresh: bool) -> Result<(), Error> {
        if fresh {
            zero(map::IFACE_STATS, &mut self.iface_stats, slot)?;
        }
        if self.iface(slot)? == iface {
            return Ok(());
        }
        self.ifaces.set(slot, iface, 0).map_err(Error::map(map::IFACES))
    }

    fn put_pool(&mut self, id: u32, place: &PoolPlace) -> Result<(), Error> {
        self.pools.insert(id, RawPool::from_place(place), 0).map_err(Error::map(POOLS))
    }

    /// The generation is the record's own: up by one for a new owner, else as it was.
    fn put_backend(&mut self, index: u32, record: &Backend, fresh: bool) -> Result<(), Error> {
        let there = self.backends.get(&index, 0).map_err(Error::map(map::BACKENDS))?;
        let generation = there.generation.wrapping_add(fresh.into());
        self.backends.set(index, Backend { generation, ..*record }, 0).map_err(Error::map(map::BACKENDS))
    }

    fn put_slots(&mut self, base: u32, words: &[(u32, Slot)]) -> Result<(), Error> {
        let outside = words.iter().find(|(offset, word)| !self.rings.store(base + offset, word.0));
        match outside {
            Some((offset, _)) => {
                let cause = format!("word {} lies outside", base + offset).into();
                Err(Error::Map { map: map::RINGS, cause })
            }
            None => Ok(()),
        }
    }

    fn put_service(&mut self, id: &ServiceId, entry: &Service) -> Result<(), Error> {
        match service_key(id) {
            Key::V4(key) => self.services4.insert(key, entry, 0).map_err(Error::map(map::SERVICES4)),
            Key::V6(key) => self.services6.insert(key, entry, 0).map_err(Error::map(map::SERVICES6)),
        }
    }

    fn remove_service(&mut self, id: &ServiceId) -> Result<(), Error> {
        match service_key(id) {
            Key::V4(key) => absent_is_fine(map::SERVICES4, self.services4.remove(&key)),
            Key::V6(key) => absent_is_fine(map::SERVICES6, self.services6.remove(&key)),
        }
    }

    /// A DEVMAP entry goes with ifindex 0 (kernel/bpf/devmap.c, `__dev_map_update_elem`).
    fn remove_egress(&mut self, slot: u32) -> Result<(), Error> {
        self.egress.set(slot, 0, None, 0).map_err(Error::map(map::EGRESS))
    }
}

enum Key {
    V4(ServiceKey4),
    V6(ServiceKey6),
}

fn service_key(id: &ServiceId) -> Key {
    let (port, proto) = (id.port.to_be_bytes(), id.protocol.number());
    match id.vip {
        IpAddr::V4(vip) => Key::V4(ServiceKey4 { addr: vip.octets(), port, proto, pad: 0 }),
        IpAddr::V6(vip) => Key::V6(ServiceKey6 { addr: vip.octets(), port, proto, pad: 0 }),
    }
}

fn service_id((vip, port, proto): (IpAddr, [u8; 2], u8)) -> Option<ServiceId> {
    let protocol = Protocol::from_number(proto)?;
    Some(ServiceId { vip, protocol, port: u16::from_be_bytes(port) })
}

/// A map of the host's own: adopted when it is pinned, else made and pinned.
fn host_map<V: Pod>(
    path: &Path,
    name: &'static str,
    entries: u32,
) -> Result<HashMap<MapData, u32, V>, Error> {
    if !path.exists() {
        let made =
            HashMap::<MapData, u32, V>::create(entries, BPF_F_NO_PREALLOC).map_err(Error::map(name))?;
        made.pin(path).map_err(Error::map(name))?;
    }
    let data = MapData::from_pin(path).map_err(Error::map(name))?;
    let info = data.info().map_err(Error::map(name))?;
    if info.max_entries() != entries {
        let (pinned, wanted) = (info.max_entries(), entries);
        return Err(Error::OtherSize { map: name, what: "a number of entries of", pinned, wanted });
    }
    Map::from_map_data(data).and_then(HashMap::try_from).map_err(Error::map(name))
}

fn entries<K: Pod, V: Pod>(name: &'static str, map: &HashMap<MapData, K, V>) -> Result<Vec<(K, V)>, Error> {
    map.iter().collect::<Result<_, _>>().map_err(Error::map(name))
}

fn absent_is_fine(name: &'static str, result: Result<(), MapError>) -> Result<(), Error> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) | Ok(()) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(Error::map(name)(error)),
    }
}

fn zero<V: Pod + Zeroed>(
    name: &'static str,
    map: &mut PerCpuArray<MapData, V>,
    index: u32,
) -> Result<(), Error> {
    let cpus = aya::util::nr_cpus().map_err(|(what, e)| Error::io(what, e))?;
    let values = PerCpuValues::try_from(vec![V::ZEROED; cpus]).map_err(|e| Error::io("count CPUs", e))?;
    map.set(index, values, 0).map_err(Error::map(name))
}

/// Counters at their start.
trait Zeroed {
    const ZEROED: Self;
}

impl Zeroed for Traffic {
    const ZEROED: Self = Traffic { packets: 0, bytes: 0 };
}

impl<const N: usize> Zeroed for [u64; N] {
    const ZEROED: Self = [0; N];
}
