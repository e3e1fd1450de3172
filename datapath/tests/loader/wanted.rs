//! Wanted sets and frames that the tests share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use datapath::{
    Backend, BackendId, Datapath, Egress, Forwarding, Found, Ingress, Limits, Options, PoolName, PoolSpec,
    Protocol, ServiceId, ServiceSpec, Undefined, VipSpec, Wanted,
};

use crate::node::Node;

pub(crate) const LIMITS: Limits = Limits { vips: 16, services: 16, backends: 1024, ring_slots: 1 << 14 };
pub(crate) const VIP: [u8; 4] = [20, 20, 20, 1];
pub(crate) const NODE: [u8; 4] = [10, 0, 0, 100];

pub(crate) fn options(node: &Node) -> Options {
    Options { pin_dir: node.pin_dir(), limits: LIMITS }
}

pub(crate) fn open(node: &Node) -> (Datapath, Found) {
    Datapath::open(options(node)).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn backend(n: u8) -> BackendId {
    BackendId(IpAddr::from([10, 0, 0, n]))
}

pub(crate) fn pool() -> PoolName {
    PoolName("web/ipip".into())
}

pub(crate) fn service() -> ServiceId {
    ServiceId { vip: VIP.into(), protocol: Protocol::Tcp, port: 80 }
}

/// One service over backends `ids`, which are reached by IPIP through `egress`, whose peer is `peer`.
pub(crate) fn wanted(node: &Node, ingress: &[&str], egress: &str, peer: &str, ids: &[u8]) -> Wanted {
    let backend_at = |n: &u8| {
        let forwarding = Forwarding::IpIp { source: NODE.into(), destination: backend(*n).0 };
        let egress = Egress {
            forwarding,
            ifindex: node.ifindex(egress),
            src_mac: node.mac(egress),
            dst_mac: node.mac(peer),
            mtu: 1500,
        };
        (backend(*n), Backend { weight: 1, in_ring: true, egress: Some(egress) })
    };
    let spec = ServiceSpec { name: "web".into(), pool: pool(), hash_source: false };
    Wanted {
        seed: [0x0123_4567_89ab_cdef, 42],
        icmp_errors_per_second: 100,
        ingress: ingress.iter().map(|name| (name.to_string(), Ingress::default())).collect(),
        vips: BTreeMap::from([(VIP.into(), VipSpec { undefined: Undefined::Drop, echo: true })]),
        pools: BTreeMap::from([(
            pool(),
            PoolSpec { ring_bits: 10, backends: ids.iter().map(backend_at).collect() },
        )]),
        services: BTreeMap::from([(service(), spec)]),
    }
}

/// A TCP SYN from 1.1.1.1 to the VIP, port 80.
pub(crate) fn syn(to: [u8; 6], source_port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(to);
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend([0x08, 0x00]);
    let mut ip = [0x45u8, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0];
    ip[16..].copy_from_slice(&VIP);
    let sum: u32 = ip.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame.extend(ip);
    frame.extend(source_port.to_be_bytes());
    frame.extend(80u16.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}
