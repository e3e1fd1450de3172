//! Headers on the way to the ports: link addresses, options, extension headers, lengths, fragments, time to live.

use datapath_common::counters::DropReason;

use crate::rig::*;
use crate::scene::*;
use crate::wire::{self, TCP, UDP, V4, V6, ethernet, tcp, udp};

fn v4() -> V4 {
    V4::new(CLIENT4, VIP4, TCP)
}

fn v6() -> V6 {
    V6::new(CLIENT6, VIP6, TCP)
}

fn rigs() -> [Rig; 2] {
    [with_service4(TCP, 80, &[tunnel4()]), with_service6(TCP, 80, &[tunnel4()])]
}

/// The packet comes out whole behind an outer IPv4 header of 20 bytes, one hop older.
fn forwarded(rig: &Rig, frame: &[u8], aged: &[u8]) {
    let ran = rig.run(frame);
    assert_eq!(ran.action, XDP_REDIRECT, "{:?}", rig.iface_counters());
    assert_eq!(&ran.frame[34..], aged);
    wire::verify(&ran.frame);
}

fn dropped(rig: &Rig, packet: &[u8], reason: DropReason) {
    let frame = ethernet(OWN_MAC, ROUTER_MAC, packet);
    assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame });
    assert!(rig.iface_counters().contains(&(reason.name(), 1)), "{reason:?}: {:?}", rig.iface_counters());
    assert_eq!(rig.vip_counters(), [(reason.name(), 1)]);
}

#[test]
fn frames_for_other_addresses_are_left_alone() {
    let [rig, _] = rigs();
    let (own, mut other) = (tcp(&v4(), 4321, 80, b""), OWN_MAC);
    for bit in 0..48 {
        other[bit / 8] ^= 1 << (bit % 8);
        let frame = ethernet(other, ROUTER_MAC, &own);
        assert_eq!(rig.run(&frame), Ran { action: XDP_PASS, frame }, "bit {bit}");
        other = OWN_MAC;
    }
    let frame = ethernet([0xff; 6], ROUTER_MAC, &own);
    assert_eq!(rig.run(&frame), Ran { action: XDP_PASS, frame });
    assert_eq!(rig.iface_counters(), [("received", 49), ("passed", 49)]);
    assert_eq!(rig.service_traffic(SERVICE.index).packets, 0);
}

#[test]
fn what_is_not_ip_to_a_vip_is_left_alone() {
    let [rig, _] = rigs();
    let mut packets = vec![
        tcp(&V4 { dst: NODE4, ..v4() }, 179, 50000, b"BGP"),
        tcp(&V6 { dst: NODE6, ..v6() }, 179, 50000, b"BGP"),
        udp(&V4 { dst: NODE4, proto: UDP, ..v4() }, 3784, 3784, b"BFD"),
        V4 { dst: NODE4, proto: 89, ..v4() }.bytes(b"OSPF"),
        V4 { dst: NODE4, fragment: 0x2000, ..v4() }.bytes(b"fragment"),
    ];
    let mut lying = tcp(&V4 { dst: NODE4, ..v4() }, 1, 2, b"");
    lying[2] = 0xff;
    packets.push(lying);
    for packet in packets {
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &packet);
        assert_eq!(rig.run(&frame), Ran { action: XDP_PASS, frame });
    }
    for ethertype in [0x0806u16, 0x8100, 0x88cc, 0x05dc] {
        let frame = [&OWN_MAC[..], &ROUTER_MAC, &ethertype.to_be_bytes(), &[0x45; 46]].concat();
        assert_eq!(rig.run(&frame), Ran { action: XDP_PASS, frame });
    }
    assert_eq!(rig.iface_counters(), [("received", 10), ("passed", 10)]);
}

#[test]
fn ipv4_options_of_every_length() {
    let [rig, _] = rigs();
    for words in 0..=10 {
        let ip = V4 { options: [1, 1, 1, 0].repeat(words), ..v4() };
        let aged = tcp(&V4 { ttl: ip.ttl - 1, ..ip.clone() }, 4321, 80, b"data");
        forwarded(&rig, &ethernet(OWN_MAC, ROUTER_MAC, &tcp(&ip, 4321, 80, b"data")), &aged);
    }
}

#[test]
fn up_to_four_extension_headers() {
    let [_, rig] = rigs();
    let chain = [
        (0, vec![0, 0, 5, 2, 0, 0, 1, 0]),
        (60, [vec![0, 2], vec![1, 20], vec![0; 20]].concat()),
        (43, vec![0, 0, 4, 0, 0, 0, 0, 0]),
        (44, vec![0, 0, 0, 0, 1, 2, 3, 4]),
    ];
    for count in 0..=4 {
        let ip = V6 { extensions: chain[..count].to_vec(), ..v6() };
        let aged = tcp(&V6 { limit: ip.limit - 1, ..ip.clone() }, 4321, 80, b"data");
        forwarded(&rig, &ethernet(OWN_MAC, ROUTER_MAC, &tcp(&ip, 4321, 80, b"data")), &aged);
    }
    let ip = V6 { extensions: [&chain[..], &[(60, vec![0; 8])]].concat(), ..v6() };
    dropped(&rig, &tcp(&ip, 4321, 80, b"data"), DropReason::HeaderChain);
}

#[test]
fn a_packet_with_segments_left_is_not_at_its_end() {
    let [_, rig] = rigs();
    let ip = V6 { extensions: vec![(43, [vec![0, 2, 0, 1, 0, 0, 0, 0], vec![0xfd; 16]].concat())], ..v6() };
    dropped(&rig, &tcp(&ip, 4321, 80, b""), DropReason::HeaderChain);
}

#[test]
fn an_extension_header_longer_than_the_packet() {
    let [_, rig] = rigs();
    let ip = V6 { extensions: vec![(60, vec![0, 255, 1, 4, 0, 0, 0, 0])], ..v6() };
    dropped(&rig, &tcp(&ip, 4321, 80, b""), DropReason::Malformed);
}

/// Short packets arrive padded to 60 bytes; the padding must not count as part of the packet.
#[test]
fn padding_is_tolerated() {
    let [rig4, rig6] = rigs();
    let (ip4, ip6) = (v4(), v6());
    for padding in [1, 6, 40] {
        let padding = vec![0x5a; padding];
        let frame = [ethernet(OWN_MAC, ROUTER_MAC, &tcp(&ip4, 4321, 80, b"")), padding.clone()].concat();
        let aged = [tcp(&V4 { ttl: ip4.ttl - 1, ..ip4.clone() }, 4321, 80, b""), padding.clone()].concat();
        forwarded(&rig4, &frame, &aged);
        let frame = [ethernet(OWN_MAC, ROUTER_MAC, &tcp(&ip6, 4321, 80, b"")), padding.clone()].concat();
        let aged = [tcp(&V6 { limit: ip6.limit - 1, ..ip6.clone() }, 4321, 80, b""), padding].concat();
        forwarded(&rig6, &frame, &aged);
    }
    assert_eq!(rig4.service_traffic(SERVICE.index).bytes, 3 * 40);
}

#[test]
fn fragments_are_dropped_first_and_later_ones() {
    for fragment in [0x2000, 0x2001, 0x0001, 0x1fff] {
        let [rig, _] = rigs();
        dropped(&rig, &tcp(&V4 { fragment, ..v4() }, 4321, 80, b"12345678"), DropReason::Fragment);
    }
    for offset in [[0, 1], [0, 8], [0, 9], [0xff, 0xf8]] {
        let [_, rig] = rigs();
        let header = vec![0, 0, offset[0], offset[1], 0, 0, 0, 1];
        let ip = V6 { extensions: vec![(44, header)], ..v6() };
        dropped(&rig, &tcp(&ip, 4321, 80, b"12345678"), DropReason::Fragment);
    }
}

#[test]
fn the_last_hop_is_not_taken() {
    for ttl in [0, 1] {
        let [rig4, rig6] = rigs();
        dropped(&rig4, &tcp(&V4 { ttl, ..v4() }, 4321, 80, b""), DropReason::TtlExpired);
        dropped(&rig6, &tcp(&V6 { limit: ttl, ..v6() }, 4321, 80, b""), DropReason::TtlExpired);
    }
}

/// The TTL's checksum update, over every TTL and the checksums that go with it.
#[test]
fn every_other_hop_is_taken() {
    let [rig4, rig6] = rigs();
    for ttl in 2..=255 {
        for id in [0, u16::from(ttl) * 257, 0xfff0 | u16::from(ttl)] {
            let ip = V4 { ttl, id, ..v4() };
            let aged = tcp(&V4 { ttl: ttl - 1, ..ip.clone() }, 4321, 80, b"");
            forwarded(&rig4, &ethernet(OWN_MAC, ROUTER_MAC, &tcp(&ip, 4321, 80, b"")), &aged);
        }
        let aged = tcp(&V6 { limit: ttl - 1, ..v6() }, 4321, 80, b"");
        let packet = tcp(&V6 { limit: ttl, ..v6() }, 4321, 80, b"");
        forwarded(&rig6, &ethernet(OWN_MAC, ROUTER_MAC, &packet), &aged);
    }
}

/// Length fields that contradict each other or the frame.
#[test]
fn lying_lengths_are_dropped() {
    let good = tcp(&v4(), 4321, 80, b"data");
    for (at, value) in [(0, 0x44), (0, 0x40), (0, 0x55), (3, 45), (3, 19), (3, 0), (2, 0xff), (3, 39)] {
        let [rig, _] = rigs();
        let mut packet = good.clone();
        packet[at] = value;
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &good);
        let frame = [&frame[..14], &packet].concat();
        assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame }, "byte {at} = {value}");
        assert_eq!(rig.vip_counters(), [("malformed", 1)], "byte {at} = {value}");
    }
    let good = tcp(&v6(), 4321, 80, b"data");
    for (at, value) in [(0, 0x50), (4, 0xff), (5, 25), (5, 19), (5, 0)] {
        let [_, rig] = rigs();
        let mut packet = good.clone();
        packet[at] = value;
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &good);
        let frame = [&frame[..14], &packet].concat();
        assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame }, "byte {at} = {value}");
        assert_eq!(rig.vip_counters(), [("malformed", 1)], "byte {at} = {value}");
    }
}
