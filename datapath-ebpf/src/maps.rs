//! The maps of the object. Names and layouts: `datapath_common::abi`. Sizes are defaults; the loader overrides them.

use aya_ebpf::btf_maps::{Array, DevMap, HashMap, LpmTrie, PerCpuArray};
use aya_ebpf::macros::btf_map;
use datapath_common::abi::{Backend, Config, Iface, Service, ServiceKey4, ServiceKey6, Traffic, Vip};
use datapath_common::counters::{DECAP_COUNTERS, IFACE_COUNTERS, VIP_COUNTERS};

/// `BPF_F_MMAPABLE`: the values start on a page, so that a 64-byte record is one cache line, and the host can map them.
const MMAPABLE: usize = 1 << 10;

#[btf_map]
pub(crate) static CONFIG: Array<Config, 1> = Array::new();
#[btf_map]
pub(crate) static IFACES: Array<Iface, 64> = Array::new();
#[btf_map]
pub(crate) static SERVICES4: HashMap<ServiceKey4, Service, 20_000> = HashMap::new();
#[btf_map]
pub(crate) static SERVICES6: HashMap<ServiceKey6, Service, 20_000> = HashMap::new();
#[btf_map]
pub(crate) static VIPS4: HashMap<[u8; 4], Vip, 10_000> = HashMap::new();
#[btf_map]
pub(crate) static VIPS6: HashMap<[u8; 16], Vip, 10_000> = HashMap::new();
#[btf_map]
pub(crate) static RINGS: Array<u32, 1_048_576, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static BACKENDS: Array<Backend, 65_535, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static EGRESS: DevMap<256> = DevMap::new();
#[btf_map]
pub(crate) static SERVICE_STATS: PerCpuArray<Traffic, 20_000> = PerCpuArray::new();
#[btf_map]
pub(crate) static BACKEND_STATS: PerCpuArray<Traffic, 65_535> = PerCpuArray::new();
#[btf_map]
pub(crate) static VIP_STATS: PerCpuArray<[u64; VIP_COUNTERS], 10_000> = PerCpuArray::new();
#[btf_map]
pub(crate) static IFACE_STATS: PerCpuArray<[u64; IFACE_COUNTERS], 64> = PerCpuArray::new();
#[btf_map]
pub(crate) static ICMP_LIMIT: Array<u64, 10_000> = Array::new();

#[btf_map]
pub(crate) static DECAP_LOCAL4: HashMap<[u8; 4], u32, 256> = HashMap::new();
#[btf_map]
pub(crate) static DECAP_LOCAL6: HashMap<[u8; 16], u32, 256> = HashMap::new();
#[btf_map]
pub(crate) static DECAP_SOURCES4: LpmTrie<[u8; 4], u32, 1_024> = LpmTrie::new();
#[btf_map]
pub(crate) static DECAP_SOURCES6: LpmTrie<[u8; 16], u32, 1_024> = LpmTrie::new();
#[btf_map]
pub(crate) static DECAP_STATS: PerCpuArray<[u64; DECAP_COUNTERS], 1> = PerCpuArray::new();
