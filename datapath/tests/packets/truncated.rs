//! Every kind of packet, cut at every length: it is passed or dropped as it came, and nothing leaves. From 14 bytes: a
//! driver gives a program no frame without a whole Ethernet header, and `BPF_PROG_TEST_RUN` takes none (ETH_HLEN).

use datapath_common::abi::vip_flag;

use crate::rig::*;
use crate::scene::*;
use crate::wire::{ICMP, ICMPV6, TCP, UDP, V4, V6, ethernet, icmp4, icmp6, tcp, udp};

fn rig() -> Rig {
    let mut rig = with_service4(TCP, 80, &[tunnel4(), tunnel6(), l2_backend()]);
    for vip in [VIP4.into(), VIP6.into()] {
        rig.vip(vip, vip_flag::ECHO | vip_flag::ANY_PORT_UDP);
        rig.service(vip, TCP, 80, SERVICE);
        rig.service(vip, UDP, 0, SERVICE);
    }
    rig
}

fn packets() -> Vec<Vec<u8>> {
    let four = |proto| V4::new(CLIENT4, VIP4, proto);
    let six = |proto| V6::new(CLIENT6, VIP6, proto);
    let chain = vec![(0, vec![0; 8]), (60, [vec![0, 1], vec![0; 14]].concat()), (44, vec![0; 8])];
    let reply4 = tcp(&V4::new(VIP4, CLIENT4, TCP), 80, 4321, b"");
    let reply6 = tcp(&V6 { extensions: chain.clone(), ..V6::new(VIP6, CLIENT6, TCP) }, 80, 4321, b"");
    vec![
        tcp(&four(TCP), 4321, 80, b"data"),
        tcp(&V4 { options: vec![1; 40], ..four(TCP) }, 4321, 80, b"data"),
        udp(&four(UDP), 4321, 7, b"data"),
        icmp4(&four(ICMP), 8, 0, [0; 4], b"data"),
        icmp4(&V4 { options: vec![1; 12], ..four(ICMP) }, 3, 4, [0; 4], &reply4),
        tcp(&six(TCP), 4321, 80, b"data"),
        tcp(&V6 { extensions: chain.clone(), ..six(TCP) }, 4321, 80, b"data"),
        udp(&six(UDP), 4321, 7, b"data"),
        icmp6(&six(ICMPV6), 128, 0, [0; 4], b"data"),
        icmp6(&V6 { extensions: chain, ..six(ICMPV6) }, 2, 0, [0; 4], &reply6),
        tcp(&four(TCP), 4321, 80, &[0xaa; 1460]),
        tcp(&six(TCP), 4321, 80, &[0xaa; 1440]),
    ]
}

#[test]
fn a_cut_frame_never_leaves() {
    let rig = rig();
    for packet in packets() {
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &packet);
        assert!(matches!(rig.run(&frame).action, XDP_REDIRECT), "whole: {:?}", rig.iface_counters());
        for length in 14..frame.len() {
            let ran = rig.run(&frame[..length]);
            let headers = if packet[0] >> 4 == 4 { 34 } else { 54 };
            let wanted = if length < headers { XDP_PASS } else { XDP_DROP };
            assert_eq!(ran, Ran { action: wanted, frame: frame[..length].to_vec() }, "at {length}");
        }
    }
}

/// The same cuts, but with length fields that agree with what is left: the transport header itself is short.
#[test]
fn a_short_packet_never_leaves() {
    let rig = rig();
    for (packet, headers) in [
        (tcp(&V4::new(CLIENT4, VIP4, TCP), 4321, 80, b""), 20),
        (udp(&V4::new(CLIENT4, VIP4, UDP), 4321, 80, b""), 20),
        (icmp4(&V4::new(CLIENT4, VIP4, ICMP), 8, 0, [0; 4], b""), 20),
    ] {
        for length in headers..packet.len() {
            let mut packet = packet[..length].to_vec();
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            // Padded, so that the bytes behind the packet are there to be misread.
            let frame = ethernet(OWN_MAC, ROUTER_MAC, &[packet, vec![0; 40]].concat());
            assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame }, "at {length}");
        }
    }
    for packet in [
        tcp(&V6::new(CLIENT6, VIP6, TCP), 4321, 80, b""),
        udp(&V6::new(CLIENT6, VIP6, UDP), 4321, 80, b""),
        icmp6(&V6::new(CLIENT6, VIP6, ICMPV6), 128, 0, [0; 4], b""),
    ] {
        for length in 40..packet.len() {
            let mut packet = packet[..length].to_vec();
            packet[4..6].copy_from_slice(&(length as u16 - 40).to_be_bytes());
            let frame = ethernet(OWN_MAC, ROUTER_MAC, &[packet, vec![0; 40]].concat());
            assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame }, "at {length}");
        }
    }
    let counters = rig.vip_counters();
    assert_eq!(counters, [("malformed", 20 + 8 + 8 + 20 + 8 + 8)]);
}
