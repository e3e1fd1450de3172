//! The embedded eBPF object, and loading it with our sizes and pins.

use aya::maps::{Map, MapError, MapInfo};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use datapath_common::abi::{
    Backend, Config, Iface, Service, ServiceKey4, ServiceKey6, Traffic, Vip, map, program,
};
use datapath_common::counters::{IFACE_COUNTERS, VIP_COUNTERS};

use super::Error;
use super::pins::Pins;
use crate::tables::{EGRESS_SLOTS, Limits};

/// Ingress interfaces that the maps hold.
pub(crate) const INGRESS_SLOTS: u32 = 64;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("VIPCAST_XDP_OBJECT"));

/// What a map of the object must look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    name: &'static str,
    key: usize,
    value: usize,
    entries: u32,
}

impl Shape {
    /// Sizes in bytes.
    pub(crate) const fn new(name: &'static str, key: usize, value: usize, entries: u32) -> Self {
        Self { name, key, value, entries }
    }
}

/// The maps of the ingress program, all pinned.
pub(crate) fn shapes(limits: &Limits) -> [Shape; 14] {
    let array = |name, value, entries| Shape::new(name, 4, value, entries);
    let hash = Shape::new;
    [
        array(map::CONFIG, size_of::<Config>(), 1),
        array(map::IFACES, size_of::<Iface>(), INGRESS_SLOTS),
        hash(map::SERVICES4, size_of::<ServiceKey4>(), size_of::<Service>(), limits.services),
        hash(map::SERVICES6, size_of::<ServiceKey6>(), size_of::<Service>(), limits.services),
        hash(map::VIPS4, 4, size_of::<Vip>(), limits.vips),
        hash(map::VIPS6, 16, size_of::<Vip>(), limits.vips),
        array(map::RINGS, 4, limits.ring_slots),
        array(map::BACKENDS, size_of::<Backend>(), limits.backends),
        // struct bpf_devmap_val (include/uapi/linux/bpf.h)
        array(map::EGRESS, 8, EGRESS_SLOTS),
        array(map::SERVICE_STATS, size_of::<Traffic>(), limits.services),
        array(map::BACKEND_STATS, size_of::<Traffic>(), limits.backends),
        array(map::VIP_STATS, size_of::<[u64; VIP_COUNTERS]>(), limits.vips),
        array(map::IFACE_STATS, size_of::<[u64; IFACE_COUNTERS]>(), INGRESS_SLOTS),
        array(map::ICMP_LIMIT, 8, limits.vips),
    ]
}

/// Refuses a pinned map that is not as we would make it; a missing one is fine.
pub(crate) fn check_pinned(pins: &Pins, shape: &Shape) -> Result<(), Error> {
    let path = pins.map(shape.name);
    if !path.exists() {
        return Ok(());
    }
    let info = MapInfo::from_pin(&path).map_err(Error::map(shape.name))?;
    for (what, pinned, wanted) in [
        ("keys of length", info.key_size(), shape.key as u32),
        ("values of length", info.value_size(), shape.value as u32),
        ("a number of entries of", info.max_entries(), shape.entries),
    ] {
        if pinned != wanted {
            return Err(Error::OtherSize { map: shape.name, what, pinned, wanted });
        }
    }
    Ok(())
}

/// Loads the object: `shapes` pinned (made or adopted), the other maps as small as they go.
pub(crate) fn load(pins: &Pins, shapes: &[Shape], iface_slot: u32) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    for name in ALL_SIZED {
        loader.map_max_entries(name, 1);
    }
    for shape in shapes {
        loader.map_max_entries(shape.name, shape.entries).map_pin_path(shape.name, pins.map(shape.name));
    }
    loader.override_global(program::IFACE_SLOT, &iface_slot, true);
    loader.load(OBJECT).map_err(Error::object)
}

/// Loads one program of the object into the kernel.
pub(crate) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    let missing = || Error::Object { cause: format!("it has no XDP program {name}").into() };
    let program: &mut Xdp = ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(Error::object)?;
    program.load().map_err(Error::object)?;
    Ok(program)
}

/// A map of a loaded object, by its type.
pub(crate) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let missing = || Error::Object { cause: format!("it has no map {name}").into() };
    ebpf.take_map(name).ok_or_else(missing)?.try_into().map_err(Error::map(name))
}

/// Maps whose default size in the object is more than a program that does not use them should cost.
const ALL_SIZED: [&str; 10] = [
    map::SERVICES4,
    map::SERVICES6,
    map::VIPS4,
    map::VIPS6,
    map::RINGS,
    map::BACKENDS,
    map::SERVICE_STATS,
    map::BACKEND_STATS,
    map::VIP_STATS,
    map::ICMP_LIMIT,
];
