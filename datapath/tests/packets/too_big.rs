//! Packets that do not fit the tunnel: the answer of the VIP, byte for byte.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use datapath_common::abi::{Backend, Config, map};

use crate::rig::*;
use crate::scene::*;
use crate::wire::{self, ICMP, ICMPV6, TCP, UDP, V4, V6, ethernet, icmp4, icmp6, tcp, udp};

fn packet4(length: usize, ip: &V4) -> Vec<u8> {
    tcp(ip, 4321, 80, &(0..length - 40).map(|i| i as u8).collect::<Vec<_>>())
}

fn packet6(length: usize, ip: &V6) -> Vec<u8> {
    tcp(ip, 4321, 80, &(0..length - 60).map(|i| i as u8).collect::<Vec<_>>())
}

fn v4() -> V4 {
    V4 { tos: 0x20, ..V4::new(CLIENT4, VIP4, TCP) }
}

fn v6() -> V6 {
    V6::new(CLIENT6, VIP6, TCP)
}

/// Fragmentation needed: type 3 code 4 with the MTU, quoting what fits in 576 bytes.
fn wanted4(packet: &[u8], mtu: u16) -> Vec<u8> {
    let ip = V4 { tos: 0xc0, id: 0, fragment: 0x4000, ttl: 64, ..V4::new(VIP4, CLIENT4, ICMP) };
    let [high, low] = mtu.to_be_bytes();
    icmp4(&ip, 3, 4, [0, 0, high, low], &packet[..packet.len().min(548)])
}

fn wanted6(packet: &[u8], mtu: u32) -> Vec<u8> {
    let ip = V6 { label: 0, limit: 64, ..V6::new(VIP6, CLIENT6, ICMPV6) };
    icmp6(&ip, 2, 0, mtu.to_be_bytes(), &packet[..packet.len().min(1232)])
}

fn answered(rig: &Rig, packet: &[u8], wanted: &[u8]) {
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, packet));
    assert_eq!(ran, Ran { action: XDP_REDIRECT, frame: ethernet(ROUTER_MAC, OWN_MAC, wanted) });
    wire::verify(&ran.frame);
}

fn silent(rig: &Rig, packet: &[u8]) {
    let frame = ethernet(OWN_MAC, ROUTER_MAC, packet);
    assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame });
}

#[test]
fn fragmentation_needed_from_the_first_byte_too_many() {
    let rig = with_service4(TCP, 80, &[tunnel4()]);
    assert_eq!(rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &packet4(1480, &v4()))).frame.len(), 14 + 1500);
    for length in [1481, 1482, 1500] {
        let packet = packet4(length, &v4());
        answered(&rig, &packet, &wanted4(&packet, 1480));
    }
    let counters = [("received", 4), ("forwarded", 1), ("too-big-sent", 3), ("too-big", 3)];
    assert_eq!(rig.iface_counters(), counters);
    assert_eq!(rig.vip_counters(), [("too-big", 3), ("too-big-sent", 3)]);
    assert_eq!(rig.service_traffic(SERVICE.index).packets, 1);
}

#[test]
fn packet_too_big_from_the_first_byte_too_many() {
    let rig = with_service6(TCP, 80, &[tunnel6()]);
    assert_eq!(rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &packet6(1460, &v6()))).frame.len(), 14 + 1500);
    for length in [1461, 1462, 1500] {
        let packet = packet6(length, &v6());
        answered(&rig, &packet, &wanted6(&packet, 1460));
    }
    let counters = [("received", 4), ("forwarded", 1), ("too-big-sent", 3), ("too-big", 3)];
    assert_eq!(rig.iface_counters(), counters);
    assert_eq!(rig.vip_counters(), [("too-big", 3), ("too-big-sent", 3)]);
}

/// The quote ends where the packet ends, at every remainder of the summing loops, and padding is not quoted.
#[test]
fn short_packets_are_quoted_whole() {
    let mut rig = with_service4(TCP, 80, &[Backend { mtu: 68, ..tunnel4() }]);
    let config = Config { seed: SEED, icmp_errors_per_second: 100_000, abi_version: 1 };
    rig.set(map::CONFIG, 0, config);
    for length in (69..140).chain(540..560) {
        let packet = packet4(length, &V4 { options: vec![1; 8], ..v4() });
        let padded = [packet.clone(), vec![0xee; 9]].concat();
        answered(&rig, &padded, &wanted4(&packet, 68));
    }
}

#[test]
fn long_ipv6_packets_of_every_kind_of_length() {
    let mut rig = with_service6(TCP, 80, &[Backend { mtu: 1280, ..tunnel6() }]);
    let config = Config { seed: SEED, icmp_errors_per_second: 100_000, abi_version: 1 };
    rig.set(map::CONFIG, 0, config);
    for length in 1281..1330 {
        let packet = packet6(length, &V6 { extensions: vec![(60, vec![0; 8])], ..v6() });
        let padded = [packet.clone(), vec![0xee; 9]].concat();
        answered(&rig, &padded, &wanted6(&packet, 1280));
    }
}

/// No sender goes below the minimum MTU of IPv6: the value is never lower, and what is within it gets no answer.
#[test]
fn the_minimum_mtu_of_ipv6_is_respected() {
    let rig = with_service6(TCP, 80, &[Backend { mtu: 1200, ..tunnel6() }]);
    let packet = packet6(1281, &v6());
    answered(&rig, &packet, &wanted6(&packet, 1280));
    silent(&rig, &packet6(1280, &v6()));
    assert_eq!(rig.vip_counters(), [("too-big", 1), ("too-big-silent", 1), ("too-big-sent", 1)]);
}

#[test]
fn l2_backends_have_an_mtu_too() {
    let rig = with_service4(TCP, 80, &[l2_backend()]);
    let packet = packet4(1501, &v4());
    answered(&rig, &packet, &wanted4(&packet, 1500));
}

#[test]
fn packets_that_may_be_fragmented_get_no_answer() {
    let rig = with_service4(UDP, 53, &[tunnel4()]);
    let ip = V4 { fragment: 0, ..V4::new(CLIENT4, VIP4, UDP) };
    silent(&rig, &udp(&ip, 4321, 53, &[0; 1472]));
    assert_eq!(rig.iface_counters(), [("received", 1), ("too-big-silent", 1)]);
    assert_eq!(rig.vip_counters(), [("too-big-silent", 1)]);
}

#[test]
fn sources_that_are_no_single_host_get_no_answer() {
    let rig = with_service4(TCP, 80, &[tunnel4()]);
    let sources = [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [239, 1, 1, 1], [255; 4]];
    for src in sources {
        silent(&rig, &packet4(1500, &V4 { src: Ipv4Addr::from(src), ..v4() }));
    }
    assert_eq!(rig.vip_counters(), [("too-big-silent", 5)]);
    let rig = with_service6(TCP, 80, &[tunnel4()]);
    for src in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)] {
        silent(&rig, &packet6(1500, &V6 { src, ..v6() }));
    }
    assert_eq!(rig.vip_counters(), [("too-big-silent", 2)]);
}

#[test]
fn answers_are_limited_per_vip() {
    let mut rig = with_service4(TCP, 80, &[tunnel4()]);
    let packet = packet4(1500, &v4());
    let frame = ethernet(OWN_MAC, ROUTER_MAC, &packet);
    rig.set(map::CONFIG, 0, Config { seed: SEED, icmp_errors_per_second: 1, abi_version: 1 });
    // Two packets within one second, however busy the machine is.
    let second = (0..100).find_map(|_| {
        rig.set(map::ICMP_LIMIT, VIP_INDEX, 0u64);
        let start = Instant::now();
        assert_eq!(rig.run(&frame).action, XDP_REDIRECT);
        let second = rig.run(&frame);
        (start.elapsed() < Duration::from_secs(1)).then_some(second)
    });
    assert_eq!(second.unwrap(), Ran { action: XDP_DROP, frame: frame.clone() });
    rig.set(map::CONFIG, 0, Config { seed: SEED, icmp_errors_per_second: 0, abi_version: 1 });
    rig.set(map::ICMP_LIMIT, VIP_INDEX, 0u64);
    silent(&rig, &packet);
}
