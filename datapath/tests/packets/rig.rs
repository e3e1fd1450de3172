//! The object under test, loaded with maps of its own (nothing is pinned or attached), and what a test wants to do
//! with it: fill the maps, run a frame, read the counters.

use std::net::IpAddr;
use std::path::Path;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::xdp::DevMap;
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use datapath_common::abi::{
    self, Backend, Config, Iface, Service, ServiceKey4, ServiceKey6, Slot, Traffic, Vip, map, program,
};
use datapath_common::counters::{
    DECAP_COUNTERS, DecapCounter, DropReason, IFACE_COUNTERS, IfaceCounter, VIP_COUNTERS,
};
use datapath_common::outer::ipv4_csum_base;

/// XDP return values of `linux/bpf.h`.
pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
pub const XDP_REDIRECT: u32 = 4;

/// Address of the ingress interface, and of the router that sends to it.
pub const OWN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
pub const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];
/// Address of the egress interface, and of the next hop behind it.
pub const EGRESS_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0x01];
pub const HOP_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0xaa];

pub const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
/// Not zero, so that a program which ignores the load-time constant finds no interface.
pub const IFACE_SLOT: u32 = 3;
/// The one filled slot of EGRESS.
pub const EGRESS_SLOT: u32 = 5;
/// Index of the VIP that most tests use.
pub const VIP_INDEX: u32 = 7;
const LOOPBACK: u32 = 1;

/// A frame as the program left it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub action: u32,
    pub frame: Vec<u8>,
}

pub struct Rig {
    ebpf: Ebpf,
    program: &'static str,
}

impl Rig {
    /// The ingress program with configuration, interface and egress, and no VIP.
    pub fn ingress() -> Self {
        let mut rig = Self::load(program::INGRESS);
        let config = Config { seed: SEED, icmp_errors_per_second: 10, abi_version: abi::ABI_VERSION };
        rig.set(map::CONFIG, 0, config);
        rig.set(map::IFACES, IFACE_SLOT, Iface { ifindex: LOOPBACK, mac: OWN_MAC, ..Iface::default() });
        let mut egress = DevMap::try_from(rig.map(map::EGRESS)).unwrap();
        egress.set(EGRESS_SLOT, LOOPBACK, None, 0).unwrap();
        rig
    }

    /// The decapsulation program, which accepts nothing yet.
    pub fn decap() -> Self {
        Self::load(program::DECAP)
    }

    fn load(program: &'static str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bpf/vipcast-xdp.o");
        let object = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: `cargo xtask ebpf` builds it", path.display()));
        let mut loader = EbpfLoader::new();
        for name in
            [map::SERVICES4, map::SERVICES6, map::VIPS4, map::VIPS6, map::SERVICE_STATS, map::VIP_STATS]
        {
            loader.map_max_entries(name, 64);
        }
        loader
            .map_max_entries(map::RINGS, 4096)
            .map_max_entries(map::BACKENDS, 256)
            .map_max_entries(map::BACKEND_STATS, 256);
        let mut ebpf = loader
            .override_global(program::IFACE_SLOT, &IFACE_SLOT, true)
            .load(&object)
            .unwrap_or_else(|error| panic!("loading needs root and BTF maps: {error:?}"));
        let xdp: &mut Xdp = ebpf.program_mut(program).unwrap().try_into().unwrap();
        xdp.load().unwrap_or_else(|error| panic!("verifier refused {program}: {error}"));
        Self { ebpf, program }
    }

    /// Runs one frame through the program.
    pub fn run(&self, frame: &[u8]) -> Ran {
        let xdp: &Xdp = self.ebpf.program(self.program).unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len() + 256];
        let result = xdp
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::new()
            })
            .unwrap();
        out.truncate(result.data_size_out as usize);
        Ran { action: result.return_value, frame: out }
    }

    fn map(&mut self, name: &str) -> &mut aya::maps::Map {
        self.ebpf.map_mut(name).unwrap()
    }

    /// Sets an element of an array.
    pub fn set<T: Pod>(&mut self, name: &str, at: u32, value: T) {
        Array::<&mut MapData, T>::try_from(self.map(name)).unwrap().set(at, value, 0).unwrap();
    }

    pub fn insert<K: Pod, V: Pod>(&mut self, name: &str, key: K, value: V) {
        HashMap::<&mut MapData, K, V>::try_from(self.map(name)).unwrap().insert(key, value, 0).unwrap();
    }

    fn per_cpu<T: Pod>(&self, name: &str, at: u32) -> Vec<T> {
        let array: PerCpuArray<_, T> = PerCpuArray::try_from(self.ebpf.map(name).unwrap()).unwrap();
        array.get(&at, 0).unwrap().to_vec()
    }

    pub fn vip(&mut self, addr: IpAddr, flags: u32) {
        let vip = Vip { index: VIP_INDEX, flags };
        match addr {
            IpAddr::V4(addr) => self.insert(map::VIPS4, addr.octets(), vip),
            IpAddr::V6(addr) => self.insert(map::VIPS6, addr.octets(), vip),
        }
    }

    pub fn service(&mut self, addr: IpAddr, proto: u8, port: u16, service: Service) {
        let port = port.to_be_bytes();
        match addr {
            IpAddr::V4(addr) => {
                self.insert(map::SERVICES4, ServiceKey4 { addr: addr.octets(), port, proto, pad: 0 }, service)
            }
            IpAddr::V6(addr) => {
                self.insert(map::SERVICES6, ServiceKey6 { addr: addr.octets(), port, proto, pad: 0 }, service)
            }
        }
    }

    /// Writes `backends` from index `base` on, and a ring at `ring_base` that deals its slots out to them in turn.
    pub fn pool(&mut self, service: &Service, backends: &[Backend]) {
        for (i, backend) in backends.iter().enumerate() {
            self.set(map::BACKENDS, service.backend_base + i as u32, *backend);
        }
        for slot in 0..1u32 << service.ring_bits {
            let word = Slot::stable((slot as usize % backends.len()) as u16);
            self.set(map::RINGS, service.ring_base + slot, word.0);
        }
    }

    pub fn decap_local(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => self.insert(map::DECAP_LOCAL4, addr.octets(), 1u32),
            IpAddr::V6(addr) => self.insert(map::DECAP_LOCAL6, addr.octets(), 1u32),
        }
    }

    pub fn decap_source(&mut self, addr: IpAddr, bits: u32) {
        match addr {
            IpAddr::V4(addr) => LpmTrie::<_, [u8; 4], u32>::try_from(self.map(map::DECAP_SOURCES4))
                .unwrap()
                .insert(&Key::new(bits, addr.octets()), 1, 0)
                .unwrap(),
            IpAddr::V6(addr) => LpmTrie::<_, [u8; 16], u32>::try_from(self.map(map::DECAP_SOURCES6))
                .unwrap()
                .insert(&Key::new(bits, addr.octets()), 1, 0)
                .unwrap(),
        }
    }

    /// All counters of the ingress interface that are not zero, by name.
    pub fn iface_counters(&self) -> Vec<(&'static str, u64)> {
        let values = sum(self.per_cpu::<[u64; IFACE_COUNTERS]>(map::IFACE_STATS, IFACE_SLOT));
        let names = IfaceCounter::VERDICTS.map(IfaceCounter::name).into_iter();
        nonzero(names.chain(DropReason::ALL.map(DropReason::name)), values)
    }

    /// All counters of the VIP that are not zero, by name.
    pub fn vip_counters(&self) -> Vec<(&'static str, u64)> {
        let values = sum(self.per_cpu::<[u64; VIP_COUNTERS]>(map::VIP_STATS, VIP_INDEX));
        let names = DropReason::ALL.map(DropReason::name).into_iter();
        nonzero(names.chain(datapath_common::counters::VIP_EXTRA_NAMES), values)
    }

    pub fn decap_counters(&self) -> Vec<(&'static str, u64)> {
        let values = sum(self.per_cpu::<[u64; DECAP_COUNTERS]>(map::DECAP_STATS, 0));
        nonzero(DecapCounter::ALL.map(DecapCounter::name).into_iter(), values)
    }

    pub fn service_traffic(&self, index: u32) -> Traffic {
        self.traffic(map::SERVICE_STATS, index)
    }

    pub fn backend_traffic(&self, index: u32) -> Traffic {
        self.traffic(map::BACKEND_STATS, index)
    }

    fn traffic(&self, name: &str, index: u32) -> Traffic {
        self.per_cpu::<Traffic>(name, index).into_iter().fold(Traffic::default(), |a, b| Traffic {
            packets: a.packets + b.packets,
            bytes: a.bytes + b.bytes,
        })
    }
}

fn sum<const N: usize>(cpus: Vec<[u64; N]>) -> [u64; N] {
    let mut total = [0; N];
    for cpu in cpus {
        for (to, from) in total.iter_mut().zip(cpu) {
            *to += from;
        }
    }
    total
}

fn nonzero(
    names: impl Iterator<Item = &'static str>,
    values: impl IntoIterator<Item = u64>,
) -> Vec<(&'static str, u64)> {
    names.zip(values).filter(|(_, value)| *value != 0).collect()
}

/// A backend behind the egress interface that takes packets of up to 1500 bytes with a MAC rewrite.
pub fn l2_backend() -> Backend {
    Backend {
        kind: abi::forward::L2,
        mtu: 1500,
        egress: EGRESS_SLOT,
        dst_mac: HOP_MAC,
        src_mac: EGRESS_MAC,
        ..Backend::default()
    }
}

/// A tunnel to a backend over a path of 1500 bytes.
pub fn ipip_backend(source: IpAddr, destination: IpAddr) -> Backend {
    let mut backend = Backend { outer_ttl: 61, ..l2_backend() };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            backend.kind = abi::forward::IPIP_OUTER4;
            backend.mtu = 1480;
            backend.csum_base = ipv4_csum_base(source, destination, backend.outer_ttl);
            backend.outer_src[..4].copy_from_slice(&source);
            backend.outer_dst[..4].copy_from_slice(&destination);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            backend.kind = abi::forward::IPIP_OUTER6;
            backend.mtu = 1460;
            backend.outer_src = source.octets();
            backend.outer_dst = destination.octets();
        }
        _ => panic!("a tunnel has ends of one family"),
    }
    backend
}
