//! Echo requests to VIPs.

use datapath_common::abi::{Iface, iface_flag, map, vip_flag};

use crate::rig::*;
use crate::scene::*;
use crate::wire::{self, ICMP, ICMPV6, V4, V6, ethernet, icmp4, icmp6};

fn with_vips(flags: u32) -> Rig {
    let mut rig = Rig::ingress();
    rig.vip(VIP4.into(), flags);
    rig.vip(VIP6.into(), flags);
    rig
}

fn request4(data: &[u8], sequence: u16) -> (Vec<u8>, Vec<u8>) {
    let rest = [0x12, 0x34, (sequence >> 8) as u8, sequence as u8];
    let ip = V4 { tos: 0x10, options: vec![1, 1, 1, 0], ..V4::new(CLIENT4, VIP4, ICMP) };
    let back = V4 { src: VIP4, dst: CLIENT4, ttl: 64, ..ip.clone() };
    (icmp4(&ip, 8, 0, rest, data), icmp4(&back, 0, 0, rest, data))
}

fn request6(data: &[u8], sequence: u16) -> (Vec<u8>, Vec<u8>) {
    let rest = [0x12, 0x34, (sequence >> 8) as u8, sequence as u8];
    let ip = V6::new(CLIENT6, VIP6, ICMPV6);
    let back = V6 { src: VIP6, dst: CLIENT6, limit: 64, ..ip.clone() };
    (icmp6(&ip, 128, 0, rest, data), icmp6(&back, 129, 0, rest, data))
}

fn answer(rig: &Rig, request: &[u8], reply: &[u8], action: u32) {
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, request));
    assert_eq!(ran, Ran { action, frame: ethernet(ROUTER_MAC, OWN_MAC, reply) });
    wire::verify(&ran.frame);
}

#[test]
fn both_families_answer_to_the_sender() {
    let rig = with_vips(vip_flag::ECHO);
    let (request, reply) = request4(b"some payload", 1);
    answer(&rig, &request, &reply, XDP_REDIRECT);
    let (request, reply) = request6(b"some payload", 1);
    answer(&rig, &request, &reply, XDP_REDIRECT);
    assert_eq!(rig.iface_counters(), [("received", 2), ("echo-replied", 2)]);
    assert_eq!(rig.vip_counters(), [("echo-replied", 2)]);
}

/// A checksum that is patched without the end-around carry is wrong for few requests only: so, very many.
#[test]
fn checksums_hold_for_every_sequence_number() {
    let rig = with_vips(vip_flag::ECHO);
    for sequence in (0..=u16::MAX).step_by(7).chain(0..64).chain(0xff00..=0xffff) {
        let (request, reply) = request4(&[], sequence);
        answer(&rig, &request, &reply, XDP_REDIRECT);
        let (request, reply) = request6(&[], sequence);
        answer(&rig, &request, &reply, XDP_REDIRECT);
    }
}

#[test]
fn a_damaged_request_does_not_become_a_valid_reply() {
    let rig = with_vips(vip_flag::ECHO);
    let (mut request, _) = request4(b"payload", 9);
    *request.last_mut().unwrap() ^= 1;
    let ran = rig.run(&ethernet(OWN_MAC, ROUTER_MAC, &request));
    assert_eq!(ran.action, XDP_REDIRECT);
    assert_ne!(wire::checksum(&ran.frame[14 + 24..]), 0);
}

#[test]
fn interfaces_that_return_frames_use_xdp_tx() {
    let mut rig = with_vips(vip_flag::ECHO);
    rig.set(map::IFACES, IFACE_SLOT, Iface { ifindex: 1, mac: OWN_MAC, flags: iface_flag::TX, pad: 0 });
    let (request, reply) = request4(b"", 1);
    answer(&rig, &request, &reply, XDP_TX);
}

#[test]
fn silent_vips_drop_and_count() {
    let rig = with_vips(vip_flag::PASS_UNDEFINED);
    for request in [request4(b"", 1).0, request6(b"", 1).0] {
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &request);
        assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame });
    }
    assert_eq!(rig.iface_counters(), [("received", 2), ("echo-off", 2)]);
    assert_eq!(rig.vip_counters(), [("echo-off", 2)]);
}

#[test]
fn other_addresses_are_left_to_the_kernel() {
    let rig = Rig::ingress();
    for request in [request4(b"", 1).0, request6(b"", 1).0] {
        let frame = ethernet(OWN_MAC, ROUTER_MAC, &request);
        assert_eq!(rig.run(&frame), Ran { action: XDP_PASS, frame });
    }
    assert_eq!(rig.iface_counters(), [("received", 2), ("passed", 2)]);
}
