//! Packets of services on their way to a backend: MAC rewrite and all four kinds of IP-in-IP.

use datapath_common::abi::{Backend, Service, Traffic, backend_flag, map, service_flag};
use datapath_common::outer::flow_label;

use crate::rig::*;
use crate::scene::*;
use crate::wire::{self, IPIP, IPV6, TCP, UDP, V4, V6, ethernet, tcp, udp};

/// What leaves for a backend: the packet with its TTL lowered by one, behind the outer header that the backend has.
fn leaving(outer: Option<Vec<u8>>, inner: Vec<u8>) -> Ran {
    Ran { action: XDP_REDIRECT, frame: ethernet(HOP_MAC, EGRESS_MAC, &outer.unwrap_or(inner)) }
}

fn aged4(ip: &V4) -> V4 {
    V4 { ttl: ip.ttl - 1, ..ip.clone() }
}

fn aged6(ip: &V6) -> V6 {
    V6 { limit: ip.limit - 1, ..ip.clone() }
}

fn outer4(proto: u8, tos: u8) -> V4 {
    V4 { id: 0, fragment: 0x4000, ttl: 61, tos, ..V4::new(NODE4, SERVER4, proto) }
}

fn outer6(proto: u8, class: u8, hash: u64) -> V6 {
    V6 { limit: 61, class, label: flow_label(hash), ..V6::new(NODE6, SERVER6, proto) }
}

fn check(rig: &Rig, packet: &[u8], wanted: &Ran) {
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, packet));
    assert_eq!(&ran, wanted);
    wire::verify(&ran.frame);
    let traffic = Traffic { packets: 1, bytes: packet.len() as u64 };
    assert_eq!(rig.service_traffic(SERVICE.index), traffic);
    assert_eq!(rig.backend_traffic(SERVICE.backend_base), traffic);
    assert_eq!(rig.iface_counters(), [("received", 1), ("forwarded", 1)]);
    assert_eq!(rig.vip_counters(), []);
}

#[test]
fn l2_rewrites_addresses_and_ages_ipv4() {
    let rig = with_service4(TCP, 80, &[l2_backend()]);
    let ip = V4::new(CLIENT4, VIP4, TCP);
    check(&rig, &tcp(&ip, 4321, 80, b"hello"), &leaving(None, tcp(&aged4(&ip), 4321, 80, b"hello")));
}

#[test]
fn l2_rewrites_addresses_and_ages_ipv6() {
    let rig = with_service6(UDP, 53, &[l2_backend()]);
    let ip = V6::new(CLIENT6, VIP6, UDP);
    check(&rig, &udp(&ip, 4321, 53, b"hello"), &leaving(None, udp(&aged6(&ip), 4321, 53, b"hello")));
}

#[test]
fn ipip_4in4() {
    for (tos, data) in [(0, &b""[..]), (0xb8 | 2, b"odd"), (3, &[0xa5; 1440])] {
        let rig = with_service4(TCP, 80, &[tunnel4()]);
        let ip = V4 { tos, ..V4::new(CLIENT4, VIP4, TCP) };
        let inner = tcp(&aged4(&ip), 4321, 80, data);
        check(&rig, &tcp(&ip, 4321, 80, data), &leaving(Some(outer4(IPIP, tos).bytes(&inner)), inner));
    }
}

#[test]
fn ipip_6in4() {
    let rig = with_service6(TCP, 443, &[tunnel4()]);
    let ip = V6 { class: 0x2d, ..V6::new(CLIENT6, VIP6, TCP) };
    let inner = tcp(&aged6(&ip), 4321, 443, b"hello");
    check(&rig, &tcp(&ip, 4321, 443, b"hello"), &leaving(Some(outer4(IPV6, 0x2d).bytes(&inner)), inner));
}

#[test]
fn ipip_4in6() {
    let rig = with_service4(UDP, 53, &[tunnel6()]);
    let ip = V4 { tos: 0x49, ..V4::new(CLIENT4, VIP4, UDP) };
    let inner = udp(&aged4(&ip), 4321, 53, b"hello");
    let outer = outer6(IPIP, 0x49, hash4(4321, 53, UDP)).bytes(&inner);
    check(&rig, &udp(&ip, 4321, 53, b"hello"), &leaving(Some(outer), inner));
}

#[test]
fn ipip_6in6() {
    let rig = with_service6(TCP, 443, &[tunnel6()]);
    let ip = V6 { class: 0xff, ..V6::new(CLIENT6, VIP6, TCP) };
    let inner = tcp(&aged6(&ip), 4321, 443, b"hello");
    let outer = outer6(IPV6, 0xff, hash6(4321, 443, TCP)).bytes(&inner);
    check(&rig, &tcp(&ip, 4321, 443, b"hello"), &leaving(Some(outer), inner));
}

#[test]
fn one_arm_backends_leave_by_xdp_tx() {
    let rig = with_service4(TCP, 80, &[Backend { flags: backend_flag::TX, egress: 0, ..tunnel4() }]);
    let ip = V4::new(CLIENT4, VIP4, TCP);
    let inner = tcp(&aged4(&ip), 4321, 80, b"");
    let wanted = leaving(Some(outer4(IPIP, 0).bytes(&inner)), inner);
    check(&rig, &tcp(&ip, 4321, 80, b""), &Ran { action: XDP_TX, ..wanted });
}

#[test]
fn any_port_services_take_what_exact_ones_leave() {
    let exact = Service { index: 30, backend_base: 60, ..SERVICE };
    for (port, index) in [(80, 30), (81, SERVICE.index)] {
        let mut rig = with_service4(TCP, 0, &[l2_backend()]);
        rig.vip(VIP4.into(), datapath_common::abi::vip_flag::ANY_PORT_TCP);
        rig.set(map::BACKENDS, 60, tunnel4());
        rig.service(VIP4.into(), TCP, 80, exact);
        let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &tcp(&V4::new(CLIENT4, VIP4, TCP), 9, port, b"")));
        assert_eq!(ran.action, XDP_REDIRECT, "port {port}");
        assert_eq!(rig.service_traffic(index).packets, 1, "port {port}");
    }
}

#[test]
fn any_port_over_ipv6_is_per_protocol() {
    let mut rig = with_service6(UDP, 0, &[l2_backend()]);
    rig.vip(VIP6.into(), datapath_common::abi::vip_flag::ANY_PORT_UDP);
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &udp(&V6::new(CLIENT6, VIP6, UDP), 9, 7777, b"")));
    assert_eq!(ran.action, XDP_REDIRECT);
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &tcp(&V6::new(CLIENT6, VIP6, TCP), 9, 7777, b"")));
    assert_eq!(ran.action, XDP_DROP);
    assert_eq!(rig.vip_counters(), [("undefined", 1)]);
}

#[test]
fn source_services_ignore_ports_but_label_by_flow() {
    let service = Service { flags: service_flag::HASH_SOURCE, ring_bits: 4, ..SERVICE };
    let mut rig = Rig::ingress();
    rig.vip(VIP6.into(), 0);
    rig.service(VIP6.into(), TCP, 80, service);
    let backends: Vec<Backend> = (0..16).map(|i| Backend { outer_ttl: 100 + i, ..tunnel6() }).collect();
    rig.pool(&service, &backends);
    let frames: Vec<Vec<u8>> = (1..=32)
        .map(|port| {
            let packet = tcp(&V6::new(CLIENT6, VIP6, TCP), port, 80, b"");
            rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &packet)).frame
        })
        .collect();
    let slot = datapath_common::hash::slot(datapath_common::hash::source6(SEED, CLIENT6.octets()), 4);
    for (frame, port) in frames.iter().zip(1..) {
        assert_eq!(u32::from(frame[21]), 100 + slot, "hop limit tells the backend");
        let label = u32::from_be_bytes([0, frame[15] & 15, frame[16], frame[17]]);
        assert_eq!(label, flow_label(hash6(port, 80, TCP)));
    }
}
