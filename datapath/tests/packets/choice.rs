//! The backend that the kernel chooses is the one that the host predicts, for any seed and flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath_common::abi::{self, Backend, Config, Service, Slot, map};
use datapath_common::hash::{Ports, flow4, flow6, slot};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};

use crate::rig::*;
use crate::scene::SERVICE;
use crate::wire::{TCP, UDP, V4, V6, ethernet, tcp, udp};

const VIP4: Ipv4Addr = Ipv4Addr::new(20, 20, 20, 2);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x2222);
const BITS: u8 = 10;
const BACKENDS: u16 = 101;

/// A ring whose neighbouring slots have different backends, so that an error of one slot shows.
fn ring() -> Vec<u16> {
    (0..1u32 << BITS).map(|slot| (slot.wrapping_mul(2_654_435_761) >> 7) as u16 % BACKENDS).collect()
}

fn rig(ring: &[u16]) -> Rig {
    let service = Service { ring_bits: BITS, ring_base: 77, backend_base: 9, ..SERVICE };
    let mut rig = Rig::ingress();
    for (at, backend) in ring.iter().enumerate() {
        rig.set(map::RINGS, service.ring_base + at as u32, Slot::stable(*backend).0);
    }
    for i in 0..BACKENDS {
        let dst_mac = [2, 9, 9, 9, (i >> 8) as u8, i as u8];
        rig.set(map::BACKENDS, service.backend_base + u32::from(i), Backend { dst_mac, ..l2_backend() });
    }
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        for proto in [TCP, UDP] {
            rig.service(vip, proto, 80, service);
        }
    }
    rig
}

fn chosen(rig: &Rig, packet: &[u8]) -> u16 {
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, packet));
    assert_eq!(ran.action, XDP_REDIRECT);
    u16::from_be_bytes([ran.frame[4], ran.frame[5]])
}

fn ports(src: u16, proto: u8) -> Ports {
    Ports { src: src.to_be_bytes(), dst: 80u16.to_be_bytes(), proto }
}

#[test]
fn kernel_and_host_agree() {
    let ring = ring();
    let rig = std::cell::RefCell::new(rig(&ring));
    let flows = (any::<[u64; 2]>(), any::<[u8; 4]>(), any::<[u8; 16]>(), any::<u16>());
    let mut runner = TestRunner::new(Runs { cases: 1_000, failure_persistence: None, ..Runs::default() });
    runner
        .run(&flows, |(seed, client4, client6, port)| {
            let mut rig = rig.borrow_mut();
            let config = Config { seed, icmp_errors_per_second: 0, abi_version: abi::ABI_VERSION };
            rig.set(map::CONFIG, 0, config);
            for proto in [TCP, UDP] {
                let ip4 = V4::new(Ipv4Addr::from(client4), VIP4, proto);
                let ip6 = V6::new(Ipv6Addr::from(client6), VIP6, proto);
                let (packet4, packet6) = match proto {
                    TCP => (tcp(&ip4, port, 80, b""), tcp(&ip6, port, 80, b"")),
                    _ => (udp(&ip4, port, 80, b""), udp(&ip6, port, 80, b"")),
                };
                let hash = flow4(seed, client4, VIP4.octets(), ports(port, proto));
                prop_assert_eq!(chosen(&rig, &packet4), ring[slot(hash, BITS) as usize]);
                let hash = flow6(seed, client6, VIP6.octets(), ports(port, proto));
                prop_assert_eq!(chosen(&rig, &packet6), ring[slot(hash, BITS) as usize]);
            }
            Ok(())
        })
        .unwrap();
}
