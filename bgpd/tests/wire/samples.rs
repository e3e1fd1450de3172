//! Messages to start from: bytes written by hand from the RFCs, and generators.

use std::net::{Ipv4Addr, Ipv6Addr};

use bgpd::wire::{
    AfiSafi, Capability, Context, Family, Framer, GracefulRestart, Notification, Open, Packer, Reason,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const EXTERNAL: Context = Context { four_octet_asn: true, internal: false };
pub(crate) const INTERNAL: Context = Context { four_octet_asn: true, internal: true };
pub(crate) const TWO_OCTET: Context = Context { four_octet_asn: false, internal: false };

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digits = std::str::from_utf8(&digits).unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// A message of `kind` around `body`.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16], &length[..], &[kind], body].concat()
}

/// An UPDATE of its three parts.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let counted = |part: &[u8]| [&u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    message(2, &[counted(withdrawn), counted(attributes), announced.to_vec()].concat())
}

/// Enough cases for seconds, not minutes; the fuzz targets do the rest.
pub(crate) fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The frames of a byte stream.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    framer.push(bytes);
    std::iter::from_fn(|| framer.next_frame().map(|frame| frame.unwrap().to_vec())).collect()
}

/// ORIGIN IGP, AS_PATH 64512, NEXT_HOP 10.0.0.1.
pub(crate) const BASE: &str = "40010100 4002060201 0000fc00 400304 0a000001";

/// One message of each kind, and each attribute somewhere.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let base = hex(BASE);
    let every = hex(concat!(
        "800e1e 0002 01 10 20010db8000000000000000000000001 00 40 20010db800000001",
        "40010100 4002060201 0000fc00 400304 0a000001 800404 00000007 400504 00000064 400600",
        "c00708 0000fc00 0a000001 c00808 ffff0000 fc000014 800904 0a000001 800a08 0a0000010a000002",
        "c01010 0002fc0000000014 4004fc004d3ebc20 c0200c 0000fc00 00000001 00000002 e0f003 010203",
    ));
    let mut out = vec![
        message(4, &[]),
        message(3, &hex("0602 05 68656c6c6f")),
        message(5, &hex("0001 00 01")),
        message(5, &hex("0002 01 01")),
        open().encode().unwrap(),
        update(&hex("20 14141401 18 141414 00"), &[], &[]),
        update(&[], &base, &hex("20 14141401 20 14141402 09 0a80")),
        update(&[], &every, &hex("20 14141401")),
        update(&[], &hex("800f0c 0002 01 40 20010db800000001"), &[]),
        update(&[], &[], &[]),
        update(&[], &hex("900f0003 0002 01"), &[]),
    ];
    let mut packed = Vec::new();
    let mut packer = Packer::announce(&mut packed, Family::Ipv4Unicast, &base, &[]).unwrap();
    while packer.push(&"20.20.20.1/32".parse().unwrap()) {}
    packer.finish();
    out.push(packed);
    out
}

pub(crate) fn open() -> Open {
    Open {
        my_as: 23456,
        hold_time: 9,
        bgp_id: [10, 0, 0, 1].into(),
        capabilities: vec![
            Capability::MultiProtocol(Family::Ipv4Unicast.wire()),
            Capability::MultiProtocol(Family::Ipv6Unicast.wire()),
            Capability::RouteRefresh,
            Capability::FourOctetAsn(4_200_000_001),
            Capability::GracefulRestart(GracefulRestart {
                restarting: true,
                notification: false,
                time: 15,
                families: vec![(Family::Ipv4Unicast.wire(), true), (Family::Ipv6Unicast.wire(), false)],
            }),
            Capability::Other { code: 73, value: b"\x04host\x07example".to_vec() },
        ],
    }
}

pub(crate) fn prefixes(family: Family, most: usize) -> BoxedStrategy<Vec<IpNet>> {
    match family {
        Family::Ipv4Unicast => vec(ipv4().prop_map(IpNet::V4), 1..most).boxed(),
        Family::Ipv6Unicast => vec(ipv6().prop_map(IpNet::V6), 1..most).boxed(),
    }
}

fn ipv4() -> impl Strategy<Value = Ipv4Net> {
    (any::<u32>(), 0..=32u8)
        .prop_map(|(bits, length)| Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap().trunc())
}

fn ipv6() -> impl Strategy<Value = Ipv6Net> {
    (any::<u128>(), 0..=128u8)
        .prop_map(|(bits, length)| Ipv6Net::new(Ipv6Addr::from(bits), length).unwrap().trunc())
}

pub(crate) fn any_open() -> impl Strategy<Value = Open> {
    (any::<u16>(), any::<u16>(), any::<u32>(), vec(capability(), 0..30)).prop_map(
        |(my_as, hold_time, bgp_id, capabilities)| Open {
            my_as,
            hold_time,
            bgp_id: bgp_id.into(),
            capabilities,
        },
    )
}

fn capability() -> impl Strategy<Value = Capability> {
    prop_oneof![
        family().prop_map(Capability::MultiProtocol),
        Just(Capability::RouteRefresh),
        any::<u32>().prop_map(Capability::FourOctetAsn),
        (any::<bool>(), any::<bool>(), 0..4096u16, vec((family(), any::<bool>()), 0..63)).prop_map(
            |(restarting, notification, time, families)| {
                Capability::GracefulRestart(GracefulRestart { restarting, notification, time, families })
            }
        ),
        (66..=255u8, vec(any::<u8>(), 0..100)).prop_map(|(code, value)| Capability::Other { code, value }),
    ]
}

fn family() -> impl Strategy<Value = AfiSafi> {
    (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| AfiSafi { afi, safi })
}

pub(crate) fn any_notification() -> impl Strategy<Value = Notification> {
    (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300))
        .prop_map(|(code, subcode, data)| Notification { reason: Reason::from_wire(code, subcode), data })
}
