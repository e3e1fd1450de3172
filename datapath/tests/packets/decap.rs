//! The real server's side: what is opened, what is left alone, what is dropped.

use std::net::{IpAddr, Ipv4Addr};

use crate::rig::*;
use crate::scene::*;
use crate::wire::{self, IPIP, IPV6, TCP, UDP, V4, V6, ethernet, tcp, udp};

fn server() -> Rig {
    let mut rig = Rig::decap();
    rig.decap_local(SERVER4.into());
    rig.decap_local(SERVER6.into());
    rig.decap_source(IpAddr::from([10, 1, 0, 0]), 16);
    rig.decap_source(NODE6.into(), 128);
    rig
}

fn inner4(tos: u8) -> Vec<u8> {
    tcp(&V4 { tos, ..V4::new(CLIENT4, VIP4, TCP) }, 4321, 80, b"hello")
}

fn inner6(class: u8) -> Vec<u8> {
    udp(&V6 { class, ..V6::new(CLIENT6, VIP6, UDP) }, 4321, 80, b"hello")
}

fn over4(proto: u8) -> V4 {
    V4::new(NODE4, SERVER4, proto)
}

fn over6(proto: u8) -> V6 {
    V6::new(NODE6, SERVER6, proto)
}

fn framed(packet: &[u8]) -> Vec<u8> {
    ethernet(OWN_MAC, ROUTER_MAC, packet)
}

fn opened(rig: &Rig, outer: &[u8], inner: &[u8]) {
    let ran = rig.run(&framed(outer));
    assert_eq!(ran, Ran { action: XDP_PASS, frame: framed(inner) });
    wire::verify(&ran.frame);
}

fn untouched(rig: &Rig, packet: &[u8], action: u32) {
    let frame = framed(packet);
    assert_eq!(rig.run(&frame), Ran { action, frame });
}

#[test]
fn all_four_kinds_are_opened() {
    let rig = server();
    opened(&rig, &over4(IPIP).bytes(&inner4(0)), &inner4(0));
    opened(&rig, &over4(IPV6).bytes(&inner6(0)), &inner6(0));
    opened(&rig, &over6(IPIP).bytes(&inner4(0)), &inner4(0));
    opened(&rig, &over6(IPV6).bytes(&inner6(0)), &inner6(0));
    assert_eq!(rig.decap_counters(), [("received", 4), ("decapsulated", 4)]);
}

#[test]
fn outer_options_and_extension_headers_are_stripped_too() {
    let rig = server();
    let outer = V4 { options: vec![1; 40], ..over4(IPIP) };
    opened(&rig, &outer.bytes(&inner4(0)), &inner4(0));
    // The tunnel encapsulation limit that Linux adds (RFC 2473 section 4.1.1).
    let outer = V6 { extensions: vec![(60, vec![0, 0, 4, 1, 4, 1, 0, 0])], ..over6(IPV6) };
    opened(&rig, &outer.bytes(&inner6(0)), &inner6(0));
}

#[test]
fn padding_behind_the_packet_stays() {
    let rig = server();
    let mut outer = framed(&over4(IPIP).bytes(&inner4(0)));
    outer.extend([0; 7]);
    let ran = rig.run(&outer);
    assert_eq!(ran.frame, [framed(&inner4(0)), vec![0; 7]].concat());
}

#[test]
fn congestion_marks_move_inwards() {
    let rig = server();
    // Outer, inner, result: the table of RFC 6040 figure 4, with a DSCP that must stay.
    for (outer, inner, wanted) in
        [(3, 0xb9, 0xbb), (3, 0xba, 0xbb), (1, 0xba, 0xb9), (2, 0xb9, 0xb9), (1, 0xb8, 0xb8)]
    {
        let (four, six) = (V4 { tos: outer, ..over4(IPIP) }, V6 { class: outer, ..over6(IPV6) });
        opened(&rig, &four.bytes(&inner4(inner)), &inner4(wanted));
        opened(&rig, &six.bytes(&inner6(inner)), &inner6(wanted));
    }
    untouched(&rig, &V4 { tos: 3, ..over4(IPIP) }.bytes(&inner4(0xb8)), XDP_DROP);
    untouched(&rig, &V6 { class: 3, ..over6(IPIP) }.bytes(&inner4(0)), XDP_DROP);
    assert_eq!(rig.decap_counters(), [("received", 12), ("decapsulated", 10), ("drop-ecn", 2)]);
}

#[test]
fn strangers_are_dropped() {
    let rig = server();
    let stranger = V4 { src: Ipv4Addr::new(10, 3, 0, 1), ..over4(IPIP) };
    untouched(&rig, &stranger.bytes(&inner4(0)), XDP_DROP);
    let stranger = V6 { src: CLIENT6, ..over6(IPIP) };
    untouched(&rig, &stranger.bytes(&inner4(0)), XDP_DROP);
    assert_eq!(rig.decap_counters(), [("received", 2), ("drop-source", 2)]);
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let rig = server();
    untouched(&rig, &V4 { dst: VIP4, ..over4(IPIP) }.bytes(&inner4(0)), XDP_PASS);
    untouched(&rig, &V6 { dst: VIP6, ..over6(IPV6) }.bytes(&inner6(0)), XDP_PASS);
    untouched(&rig, &tcp(&over4(TCP), 1, 2, b""), XDP_PASS);
    untouched(&rig, &tcp(&over6(TCP), 1, 2, b""), XDP_PASS);
    // A fragmented packet that is no tunnel packet.
    let fragment = V6 { extensions: vec![(44, vec![0, 0, 0, 9, 0, 0, 0, 1])], ..over6(TCP) };
    untouched(&rig, &tcp(&fragment, 1, 2, b""), XDP_PASS);
    let arp = [&[0xff; 6][..], &ROUTER_MAC, &[8, 6], &[0; 46]].concat();
    assert_eq!(rig.run(&arp), Ran { action: XDP_PASS, frame: arp });
    assert_eq!(rig.decap_counters(), [("received", 6), ("passed", 6)]);
}

#[test]
fn fragments_of_tunnel_packets_are_dropped() {
    let rig = server();
    untouched(&rig, &V4 { fragment: 0x2000, ..over4(IPIP) }.bytes(&inner4(0)), XDP_DROP);
    untouched(&rig, &V4 { fragment: 7, ..over4(IPIP) }.bytes(&inner4(0)), XDP_DROP);
    let fragment = V6 { extensions: vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 1])], ..over6(IPV6) };
    untouched(&rig, &fragment.bytes(&inner6(0)), XDP_DROP);
    assert_eq!(rig.decap_counters(), [("received", 3), ("drop-fragment", 3)]);
}

#[test]
fn contradictions_are_dropped() {
    let rig = server();
    // The wrong family inside, an inner packet that is longer than the outer one says, none at all.
    untouched(&rig, &over4(IPIP).bytes(&inner6(0)), XDP_DROP);
    untouched(&rig, &over6(IPV6).bytes(&inner4(0)), XDP_DROP);
    let whole = inner4(0);
    untouched(&rig, &over4(IPIP).bytes(&whole[..whole.len() - 1]), XDP_DROP);
    let whole = inner6(0);
    untouched(&rig, &over6(IPV6).bytes(&whole[..whole.len() - 1]), XDP_DROP);
    untouched(&rig, &over4(IPIP).bytes(&[]), XDP_DROP);
    assert_eq!(rig.decap_counters(), [("received", 5), ("drop-malformed", 5)]);
}

/// Cut at every length: nothing is opened that is not whole, and nothing is written to.
#[test]
fn truncated_at_every_length() {
    let rig = server();
    for whole in [
        over4(IPIP).bytes(&inner4(0)),
        over4(IPV6).bytes(&inner6(0)),
        over6(IPIP).bytes(&inner4(0)),
        V6 { extensions: vec![(60, vec![0, 0, 4, 1, 4, 1, 0, 0])], ..over6(IPV6) }.bytes(&inner6(0)),
    ] {
        let frame = framed(&whole);
        for length in 14..frame.len() {
            let ran = rig.run(&frame[..length]);
            assert!(matches!(ran.action, XDP_PASS | XDP_DROP), "action {} at {length}", ran.action);
            assert_eq!(ran.frame, &frame[..length], "frame at {length}");
        }
    }
    let counters = rig.decap_counters();
    assert!(counters.iter().all(|(name, _)| *name != "decapsulated"), "{counters:?}");
}
