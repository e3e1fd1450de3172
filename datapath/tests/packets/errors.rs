//! ICMP errors of the network: they follow the packet that they quote, however little of it they quote.

use datapath_common::abi::{Backend, Service, vip_flag};
use datapath_common::hash::slot;

use crate::rig::*;
use crate::scene::*;
use crate::wire::{self, ICMP, ICMPV6, TCP, UDP, V4, V6, ethernet, icmp4, icmp6, tcp, udp};

/// What a server sent to the client: from the VIP's port.
fn reply4(client_port: u16, options: usize) -> Vec<u8> {
    let ip = V4 { options: [1, 1, 1, 0].repeat(options), ..V4::new(VIP4, CLIENT4, TCP) };
    tcp(&ip, 80, client_port, &[0xd0; 64])
}

fn reply6(client_port: u16) -> Vec<u8> {
    tcp(&V6::new(VIP6, CLIENT6, TCP), 80, client_port, &[0xd0; 64])
}

fn error4(kind: u8, code: u8, ttl: u8, quote: &[u8]) -> Vec<u8> {
    icmp4(&V4 { ttl, ..V4::new(ROUTER4, VIP4, ICMP) }, kind, code, [0, 0, 5, 0x78], quote)
}

fn error6(kind: u8, limit: u8, quote: &[u8]) -> Vec<u8> {
    icmp6(&V6 { limit, ..V6::new(ROUTER6, VIP6, ICMPV6) }, kind, 0, [0, 0, 5, 0x78], quote)
}

/// A service over 16 backends that are told apart by the TTL of the outer header.
fn rig() -> Rig {
    let service = Service { ring_bits: 4, ..SERVICE };
    let mut rig = Rig::ingress();
    rig.vip(VIP4.into(), 0);
    rig.vip(VIP6.into(), 0);
    rig.service(VIP4.into(), TCP, 80, service);
    rig.service(VIP6.into(), TCP, 80, service);
    let backends: Vec<Backend> = (0..16).map(|i| Backend { outer_ttl: 100 + i, ..tunnel6() }).collect();
    rig.pool(&service, &backends);
    rig
}

fn sent(rig: &Rig, error: &[u8]) -> Ran {
    rig.run(&ethernet(OWN_MAC, ROUTER_MAC, error))
}

/// The error left for the backend that the flow's own packets go to, one hop older and otherwise as it was.
fn follows(rig: &Rig, error: &[u8], aged: &[u8], hash: u64) {
    let ran = sent(rig, error);
    assert_eq!(ran.action, XDP_REDIRECT, "{:?}", rig.iface_counters());
    assert_eq!(u32::from(ran.frame[21]), 100 + slot(hash, 4), "backend");
    assert_eq!(&ran.frame[54..], aged);
    wire::verify(&ran.frame);
}

#[test]
fn all_kinds_over_ipv4() {
    let rig = rig();
    for (kind, port) in [3, 4, 11, 12].into_iter().zip(1000..) {
        let quote = &reply4(port, 0)[..28];
        follows(&rig, &error4(kind, 4, 9, quote), &error4(kind, 4, 8, quote), hash4(port, 80, TCP));
    }
    assert_eq!(rig.iface_counters(), [("received", 4), ("icmp-error-forwarded", 4)]);
    assert_eq!(rig.service_traffic(SERVICE.index).packets, 4);
}

#[test]
fn all_kinds_over_ipv6() {
    let rig = rig();
    for (kind, port) in [1, 2, 3, 4].into_iter().zip(1000..) {
        let quote = &reply6(port)[..48];
        follows(&rig, &error6(kind, 9, quote), &error6(kind, 8, quote), hash6(port, 80, TCP));
    }
    assert_eq!(rig.iface_counters(), [("received", 4), ("icmp-error-forwarded", 4)]);
}

#[test]
fn many_flows_follow_their_own_packets() {
    let rig = rig();
    for port in 1..200 {
        let ran = sent(&rig, &tcp(&V4::new(CLIENT4, VIP4, TCP), port, 80, b""));
        let error = sent(&rig, &error4(3, 4, 9, &reply4(port, 0)));
        assert_eq!(ran.frame[21], error.frame[21], "port {port}");
        let ran = sent(&rig, &tcp(&V6::new(CLIENT6, VIP6, TCP), port, 80, b""));
        let error = sent(&rig, &error6(2, 9, &reply6(port)));
        assert_eq!(ran.frame[21], error.frame[21], "port {port}");
    }
}

#[test]
fn quotes_with_options_and_extension_headers() {
    let rig = rig();
    for words in 1..=10 {
        let quote = &reply4(77, words)[..28 + words * 4];
        follows(&rig, &error4(11, 0, 9, quote), &error4(11, 0, 8, quote), hash4(77, 80, TCP));
    }
    // The first fragment still has the ports.
    for extension in [(60, vec![0; 8]), (44, vec![0, 0, 0, 1, 0, 0, 0, 1])] {
        let ip = V6 { extensions: vec![extension], ..V6::new(VIP6, CLIENT6, TCP) };
        let quote = &tcp(&ip, 80, 77, b"")[..56];
        follows(&rig, &error6(2, 9, quote), &error6(2, 8, quote), hash6(77, 80, TCP));
    }
    let first = tcp(&V4 { fragment: 0x2000, ..V4::new(VIP4, CLIENT4, TCP) }, 80, 77, b"12345678");
    follows(&rig, &error4(11, 1, 9, &first), &error4(11, 1, 8, &first), hash4(77, 80, TCP));
}

#[test]
fn quotes_of_an_any_port_service() {
    let mut rig = Rig::ingress();
    rig.vip(VIP4.into(), vip_flag::ANY_PORT_UDP);
    rig.service(VIP4.into(), UDP, 0, SERVICE);
    rig.pool(&SERVICE, &[l2_backend()]);
    let quote = udp(&V4::new(VIP4, CLIENT4, UDP), 9999, 77, b"");
    assert_eq!(sent(&rig, &error4(3, 3, 9, &quote)).action, XDP_REDIRECT);
}

#[test]
fn quotes_that_are_nobodys() {
    let strays4 = [
        tcp(&V4::new(VIP4, CLIENT4, TCP), 81, 77, b""),
        udp(&V4::new(VIP4, CLIENT4, UDP), 80, 77, b""),
        tcp(&V4::new(NODE4, CLIENT4, TCP), 80, 77, b""),
        tcp(&V4 { fragment: 1, ..V4::new(VIP4, CLIENT4, TCP) }, 80, 77, b""),
        V4::new(VIP4, CLIENT4, ICMP).bytes(&[0; 8]),
    ];
    let strays6 = [
        tcp(&V6::new(VIP6, CLIENT6, TCP), 81, 77, b""),
        tcp(&V6::new(NODE6, CLIENT6, TCP), 80, 77, b""),
        V6::new(VIP6, CLIENT6, ICMPV6).bytes(&[0; 8]),
        tcp(
            &V6 { extensions: vec![(44, vec![0, 0, 0, 8, 0, 0, 0, 1])], ..V6::new(VIP6, CLIENT6, TCP) },
            80,
            77,
            b"",
        ),
    ];
    let errors = strays4.iter().map(|quote| error4(3, 1, 9, quote));
    for error in errors.chain(strays6.iter().map(|quote| error6(1, 9, quote))) {
        let rig = rig();
        assert_eq!(sent(&rig, &error).action, XDP_DROP);
        assert_eq!(rig.iface_counters(), [("received", 1), ("icmp-no-service", 1)]);
        assert_eq!(rig.vip_counters(), [("icmp-no-service", 1)]);
    }
}

#[test]
fn quotes_that_are_too_short_or_broken() {
    let mut odd4 = reply4(77, 0);
    odd4[0] = 0x44;
    let mut odd6 = reply6(77);
    odd6[0] = 0x40;
    let errors = [
        error4(3, 4, 9, &reply4(77, 0)[..27]),
        error4(3, 4, 9, &reply4(77, 3)[..39]),
        error4(3, 4, 9, &[]),
        error4(3, 4, 9, &odd4),
        error6(2, 9, &reply6(77)[..47]),
        error6(2, 9, &odd6),
        error6(2, 9, &[]),
    ];
    for error in errors {
        let rig = rig();
        assert_eq!(sent(&rig, &error).action, XDP_DROP);
        assert_eq!(rig.vip_counters(), [("malformed", 1)]);
    }
}

/// An error about the kernel's own use of the address is the kernel's, where the policy gives it such traffic.
#[test]
fn unknown_quotes_are_the_kernels_under_pass() {
    let mut rig = rig();
    rig.vip(VIP4.into(), vip_flag::PASS_UNDEFINED);
    let error = error4(3, 1, 9, &tcp(&V4::new(VIP4, CLIENT4, TCP), 81, 77, b""));
    assert_eq!(sent(&rig, &error).action, XDP_PASS);
    assert_eq!(rig.vip_counters(), [("undefined-passed", 1)]);
}

/// An error is never answered with another error (RFC 1122 section 3.2.2).
#[test]
fn errors_that_do_not_fit_are_dropped_silently() {
    let mut rig = rig();
    let narrow: Vec<Backend> = (0..16).map(|_| Backend { mtu: 100, ..tunnel4() }).collect();
    rig.pool(&Service { ring_bits: 4, ..SERVICE }, &narrow);
    let frame = ethernet(OWN_MAC, ROUTER_MAC, &error4(3, 4, 9, &reply4(77, 0)));
    assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame });
    let frame = ethernet(OWN_MAC, ROUTER_MAC, &error6(2, 9, &[reply6(77), vec![0; 1280]].concat()));
    assert_eq!(rig.run(&frame), Ran { action: XDP_DROP, frame });
    assert_eq!(rig.vip_counters(), [("too-big-silent", 2)]);
}
