//! Packets to a VIP that nothing takes, and services that have nowhere to go.

use datapath_common::abi::{Backend, Service, Slot, forward, map, vip_flag};

use crate::rig::*;
use crate::scene::*;
use crate::wire::{ICMP, ICMPV6, TCP, UDP, V4, V6, ethernet, icmp4, icmp6, tcp, udp};

/// Packets that belong to no service, and the counter of each when it is dropped.
fn strays() -> Vec<(Vec<u8>, &'static str)> {
    let (four, six) = (|proto| V4::new(CLIENT4, VIP4, proto), |proto| V6::new(CLIENT6, VIP6, proto));
    vec![
        (tcp(&four(TCP), 4321, 81, b""), "undefined"),
        (udp(&four(UDP), 4321, 80, b""), "undefined"),
        (four(47).bytes(&[0; 24]), "undefined"),
        (four(4).bytes(&tcp(&four(TCP), 4321, 80, b"")), "undefined"),
        (tcp(&six(TCP), 4321, 81, b""), "undefined"),
        (udp(&six(UDP), 4321, 80, b""), "undefined"),
        (six(59).bytes(&[]), "undefined"),
        (icmp4(&four(ICMP), 13, 0, [0; 4], &[0; 12]), "icmp-unhandled"),
        (icmp4(&four(ICMP), 5, 1, [0; 4], &[0; 28]), "icmp-unhandled"),
        (icmp4(&four(ICMP), 0, 0, [0; 4], &[]), "icmp-unhandled"),
        (icmp6(&six(ICMPV6), 135, 0, [0; 4], &VIP6.octets()), "icmp-unhandled"),
        (icmp6(&six(ICMPV6), 137, 0, [0; 4], &[0; 32]), "icmp-unhandled"),
    ]
}

fn with_vips(flags: u32) -> Rig {
    let mut rig = with_service4(TCP, 80, &[l2_backend()]);
    rig.service(VIP6.into(), TCP, 80, SERVICE);
    rig.vip(VIP4.into(), flags);
    rig.vip(VIP6.into(), flags);
    rig
}

#[test]
fn dropped_by_default_and_counted_by_reason() {
    for (packet, reason) in strays() {
        let rig = with_vips(vip_flag::ECHO);
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &packet);
        assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame });
        assert_eq!(rig.vip_counters(), [(reason, 1)]);
        assert_eq!(rig.iface_counters(), [("received", 1), (reason, 1)]);
    }
}

#[test]
fn given_to_the_kernel_when_the_policy_says_so() {
    let rig = with_vips(vip_flag::PASS_UNDEFINED);
    let strays = strays();
    for (packet, _) in &strays {
        let frame = ethernet(OWN_MAC, ROUTER_MAC, packet);
        assert_eq!(rig.run(&frame), Ran { action: XDP_PASS, frame });
    }
    let count = strays.len() as u64;
    assert_eq!(rig.vip_counters(), [("undefined-passed", count)]);
    assert_eq!(rig.iface_counters(), [("received", count), ("passed", count)]);
}

#[test]
fn an_any_port_flag_without_its_service_changes_nothing() {
    let rig = with_vips(vip_flag::ANY_PORT_TCP | vip_flag::ANY_PORT_UDP);
    for packet in [tcp(&V4::new(CLIENT4, VIP4, TCP), 1, 2, b""), udp(&V6::new(CLIENT6, VIP6, UDP), 1, 2, b"")]
    {
        assert_eq!(rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &packet)).action, XDP_DROP);
    }
    assert_eq!(rig.vip_counters(), [("undefined", 2)]);
}

/// A service whose tables say, in every way there is, that nobody can take its packets.
#[test]
fn services_without_a_usable_backend() {
    let empty = Slot::stable(Slot::EMPTY).0;
    let cases: [(&str, Service, u32, Backend, &str); 6] = [
        ("no ring", Service { ring_bits: 0, ..SERVICE }, 0, l2_backend(), "no-backend"),
        ("empty slots", SERVICE, empty, l2_backend(), "no-backend"),
        ("ring out of range", Service { ring_base: 2 << 20, ..SERVICE }, 0, l2_backend(), "no-backend"),
        ("record out of range", SERVICE, Slot::stable(30_000).0, l2_backend(), "backend-unusable"),
        ("unused record", SERVICE, 0, Backend { kind: forward::NONE, ..l2_backend() }, "backend-unusable"),
        ("egress without a device", SERVICE, 0, Backend { egress: 9, ..l2_backend() }, "backend-unusable"),
    ];
    for (what, service, slot, backend, reason) in cases {
        for vip in [VIP4.into(), VIP6.into()] {
            let mut rig = Rig::ingress();
            rig.vip(vip, 0);
            rig.service(vip, TCP, 80, service);
            rig.set(map::BACKENDS, service.backend_base, backend);
            for at in 0..64 {
                rig.set(map::RINGS, SERVICE.ring_base + at, slot);
            }
            let packet = match vip {
                std::net::IpAddr::V4(vip) => tcp(&V4::new(CLIENT4, vip, TCP), 4321, 80, b""),
                std::net::IpAddr::V6(vip) => tcp(&V6::new(CLIENT6, vip, TCP), 4321, 80, b""),
            };
            assert_eq!(rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &packet)).action, XDP_DROP, "{what}");
            assert_eq!(rig.vip_counters(), [(reason, 1)], "{what}");
            assert_eq!(rig.iface_counters(), [("received", 1), (reason, 1)], "{what}");
            assert_eq!(rig.service_traffic(service.index).packets, 0, "{what}");
        }
    }
}
