//! The addresses of all tests, and rigs with one service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath_common::abi::{Backend, Service};
use datapath_common::hash::{Ports, flow4, flow6};

use crate::rig::{Rig, SEED, VIP_INDEX, ipip_backend};

pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 33);
pub const VIP4: Ipv4Addr = Ipv4Addr::new(20, 20, 20, 1);
pub const NODE4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 2, 255, 254);
pub const ROUTER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x33, 0, 0, 0, 0, 0x21);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1);
pub const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0xffff, 0, 0, 0xfe);
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9);

/// The service of most tests: nothing in it is zero or in the place of something else.
pub const SERVICE: Service = Service {
    index: 20,
    vip_index: VIP_INDEX,
    ring_base: 1000,
    backend_base: 50,
    ring_bits: 6,
    flags: 0,
    pad: [0; 6],
};

pub fn tunnel4() -> Backend {
    ipip_backend(NODE4.into(), SERVER4.into())
}

pub fn tunnel6() -> Backend {
    ipip_backend(NODE6.into(), SERVER6.into())
}

/// A VIP with one service and its backends.
pub fn with_service(vip: IpAddr, proto: u8, port: u16, backends: &[Backend]) -> Rig {
    let mut rig = Rig::ingress();
    rig.vip(vip, 0);
    rig.service(vip, proto, port, SERVICE);
    rig.pool(&SERVICE, backends);
    rig
}

pub fn with_service4(proto: u8, port: u16, backends: &[Backend]) -> Rig {
    with_service(VIP4.into(), proto, port, backends)
}

pub fn with_service6(proto: u8, port: u16, backends: &[Backend]) -> Rig {
    with_service(VIP6.into(), proto, port, backends)
}

/// Hash of a flow from the client to the VIP.
pub fn hash4(src: u16, dst: u16, proto: u8) -> u64 {
    let ports = Ports { src: src.to_be_bytes(), dst: dst.to_be_bytes(), proto };
    flow4(SEED, CLIENT4.octets(), VIP4.octets(), ports)
}

pub fn hash6(src: u16, dst: u16, proto: u8) -> u64 {
    let ports = Ports { src: src.to_be_bytes(), dst: dst.to_be_bytes(), proto };
    flow6(SEED, CLIENT6.octets(), VIP6.octets(), ports)
}
