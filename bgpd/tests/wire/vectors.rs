//! Bytes written by hand from the RFCs, both ways.

use bgpd::wire::{
    AfiSafi, Capability, Family, Framer, KEEPALIVE, Message, Notification, Open, Packer, Reason,
    RouteRefresh, Update, Verdict, reach::NextHop,
};

use crate::samples::{BASE, EXTERNAL, INTERNAL, TWO_OCTET, frames, hex, message, open, update};

fn decoded(bytes: &[u8]) -> Message<'_> {
    Message::decode(bytes, &EXTERNAL).unwrap()
}

fn refused(bytes: &[u8]) -> Notification {
    Message::decode(bytes, &EXTERNAL).unwrap_err()
}

fn as_update(bytes: &[u8]) -> Update<'_> {
    match decoded(bytes) {
        Message::Update(update) => update,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keepalive() {
    assert_eq!(KEEPALIVE.to_vec(), message(4, &[]));
    assert_eq!(decoded(&KEEPALIVE), Message::Keepalive);
}

#[test]
fn open_both_ways() {
    assert_eq!(decoded(&message(1, &hex(OPEN))), Message::Open(open()));
    assert_eq!(open().encode().unwrap(), message(1, &hex(OPEN)));
    assert_eq!(open().asn(), 4_200_000_001);
}

const OPEN: &str = "04 5ba0 0009 0a000001 3b
    0206 0104 0001 00 01   0206 0104 0002 00 01   0202 0200   0206 4104 fa56ea01
    020c 400a 800f 0001 01 80 0002 01 00   020f 490d 04686f7374 076578616d706c65";

#[test]
fn open_with_several_capabilities_in_one_parameter() {
    let body = hex("04 fc00 005a 0a000002 10 020e 0104 00010001 0200 4104 0000fc00");
    let Message::Open(open) = decoded(&message(1, &body)).clone() else { panic!() };
    assert_eq!(open.capabilities.len(), 3);
    assert_eq!(open.asn(), 64512);
}

#[test]
fn open_with_extended_parameters() {
    let body = hex("04 fc00 005a 0a000002 ff ff 0009 02 0006 4104 0000fc00");
    let Message::Open(open) = decoded(&message(1, &body)) else { panic!() };
    assert_eq!(open.capabilities, [Capability::FourOctetAsn(64512)]);

    let many = Open {
        capabilities: (0..60)
            .map(|code| Capability::Other { code: 100 + code, value: vec![0; 10] })
            .collect(),
        ..open
    };
    let bytes = many.encode().unwrap();
    assert_eq!(&bytes[28..30], [255, 255], "too long for one octet of length");
    assert_eq!(decoded(&bytes), Message::Open(many));
}

#[test]
fn open_that_cannot_be_read() {
    assert_eq!(
        refused(&message(1, &hex("03 fc00 005a 0a000002 00"))),
        Notification::with_data(Reason::UnsupportedVersion, &[0, 4])
    );
    for (body, reason) in [
        ("04 fc00 005a 0a000002 01", Reason::OpenMalformed),
        ("04 fc00 005a 0a000002 00 00", Reason::OpenMalformed),
        ("04 fc00 005a 0a000002 04 0202 4104", Reason::OpenMalformed),
        ("04 fc00 005a 0a000002 03 0201 41", Reason::OpenMalformed),
        ("04 fc00 005a 0a000002 02 0100", Reason::UnsupportedOptionalParameter),
    ] {
        assert_eq!(refused(&message(1, &hex(body))).reason, reason, "{body}");
    }
}

#[test]
fn known_capability_of_a_wrong_length_is_kept_and_means_nothing() {
    let body = hex("04 fc00 005a 0a000002 07 0205 4103 00fc00");
    let Message::Open(open) = decoded(&message(1, &body)) else { panic!() };
    assert_eq!(open.capabilities, [Capability::Other { code: 65, value: hex("00fc00") }]);
}

#[test]
fn header_errors_carry_their_data() {
    let mut unsynchronized = KEEPALIVE;
    unsynchronized[3] = 0;
    assert_eq!(refused(&unsynchronized), Notification::new(Reason::ConnectionNotSynchronized));
    let with = |length: u16, kind: u8| {
        let mut bytes = KEEPALIVE;
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
        bytes[18] = kind;
        let mut framer = Framer::default();
        framer.push(&bytes);
        framer.next_frame().unwrap().unwrap_err()
    };
    let length = |length: u16| Notification::with_data(Reason::BadMessageLength, &length.to_be_bytes());
    assert_eq!(with(18, 4), length(18));
    assert_eq!(with(4097, 2), length(4097));
    assert_eq!(with(20, 4), length(20), "a KEEPALIVE has no body");
    assert_eq!(with(28, 1), length(28));
    assert_eq!(with(22, 2), length(22));
    assert_eq!(with(20, 3), length(20));
    assert_eq!(with(19, 6), Notification::with_data(Reason::BadMessageType, &[6]));
    assert_eq!(refused(&message(5, &[0, 1])).reason, Reason::RefreshLength);
}

#[test]
fn stream_in_pieces() {
    let all = [KEEPALIVE.to_vec(), update(&[], &hex(BASE), &hex("20 14141401")), KEEPALIVE.to_vec()];
    let stream = all.concat();
    for size in 1..stream.len() {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        for chunk in stream.chunks(size) {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame() {
                seen.push(frame.unwrap().to_vec());
            }
        }
        assert_eq!(seen, all, "in pieces of {size}");
    }
}

#[test]
fn notification_and_its_text() {
    let bytes = message(3, &hex("0602 05 68656c6c6f"));
    assert_eq!(Notification::shutdown("hello").encode(), bytes);
    let Message::Notification(notification) = decoded(&bytes) else { panic!() };
    assert_eq!(notification.text().as_deref(), Some("hello"));
    assert_eq!(notification.to_string(), "6/2 Cease, administrative shutdown \"hello\"");

    let long = Notification::shutdown(&"ü".repeat(200));
    assert_eq!(long.data.len(), 255, "254 octets of whole characters and their length");
    assert_eq!(long.text().unwrap().chars().count(), 127);
    assert_eq!(Notification::shutdown("").data, []);
    let lies = Notification::with_data(Reason::AdministrativeShutdown, &[200, b'x']);
    assert_eq!(lies.text(), None);
    let controls = Notification::with_data(Reason::AdministrativeReset, b"\x04a\x1bb\n");
    assert_eq!(controls.text().as_deref(), Some("ab"));
    let unknown = Notification { reason: Reason::from_wire(9, 9), data: vec![1] };
    assert_eq!(unknown.encode(), message(3, &[9, 9, 1]));
}

#[test]
fn route_refresh_both_ways() {
    let refresh = RouteRefresh { family: Family::Ipv6Unicast.wire(), subtype: 0 };
    assert_eq!(refresh.encode(), message(5, &hex("0002 00 01")));
    assert_eq!(decoded(&refresh.encode()), Message::RouteRefresh(refresh));
    let foreign = RouteRefresh { family: AfiSafi { afi: 25, safi: 70 }, subtype: 0 };
    assert_eq!(decoded(&foreign.encode()), Message::RouteRefresh(foreign));
}

#[test]
fn update_with_every_attribute() {
    let attributes = hex(concat!(
        "900e002b 0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00 00 20 20010db8",
        "40010101 400210 0202 0000fc00 fa56ea01 0101 00000007 400304 0a000001 800404 00000007",
        "400504 00000064 400600 c00708 0000fc00 0a000002 c00808 ffff0000 fc000014 800904 0a000003",
        "800a04 0a000004 c01008 0002fc0000000014 c0200c 0000fc00 00000001 00000002 e0f003 010203",
    ));
    let bytes = update(&hex("18 0a0102"), &attributes, &hex("20 14141401 00"));
    let Message::Update(update) = Message::decode(&bytes, &INTERNAL).unwrap() else { panic!() };
    let seen = &update.attributes;
    assert_eq!(update.verdict, Verdict::Accept);
    assert_eq!(update.withdrawn.iter().map(|p| p.to_string()).collect::<Vec<_>>(), ["10.1.2.0/24"]);
    assert_eq!(
        update.announced.iter().map(|p| p.to_string()).collect::<Vec<_>>(),
        ["20.20.20.1/32", "0.0.0.0/0"]
    );
    assert_eq!(seen.origin, Some(1));
    let path = seen.as_path.unwrap();
    assert_eq!(path.segments().map(|s| s.kind).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(path.asns().collect::<Vec<_>>(), [64512, 4_200_000_001, 7]);
    assert_eq!(seen.next_hop, Some([10, 0, 0, 1].into()));
    assert_eq!((seen.med, seen.local_pref, seen.atomic_aggregate), (Some(7), Some(100), true));
    assert_eq!(seen.aggregator, Some((64512, [10, 0, 0, 2].into())));
    assert_eq!(
        seen.communities.iter().map(u32::from_be_bytes).collect::<Vec<_>>(),
        [0xffff_0000, 0xfc00_0014]
    );
    assert_eq!(seen.originator_id, Some([10, 0, 0, 3].into()));
    assert_eq!(seen.cluster_list.iter().collect::<Vec<_>>(), [[10, 0, 0, 4]]);
    assert_eq!(seen.extended_communities.iter().count(), 1);
    assert_eq!(seen.large_communities.iter().next().unwrap()[3], 0);
    let reach = seen.mp_reach.unwrap();
    assert_eq!(
        reach.next_hop,
        NextHop::V6LinkLocal("2001:db8::1".parse().unwrap(), "fe80::1".parse().unwrap())
    );
    assert_eq!(reach.prefixes.iter().map(|p| p.to_string()).collect::<Vec<_>>(), ["::/0", "2001:db8::/32"]);
    let unknown: Vec<_> = seen.unknown().map(|raw| (raw.flags, raw.code, raw.value.to_vec())).collect();
    assert_eq!(unknown, [(0xe0, 240, vec![1, 2, 3])]);
}

#[test]
fn two_octet_path_with_its_four_octet_twin() {
    let attributes = hex("40010100 400206 0202 fc00 5ba0 400304 0a000001 c0110a 0202 0000fc00 fa56ea01");
    let bytes = update(&[], &attributes, &hex("20 14141401"));
    let Message::Update(update) = Message::decode(&bytes, &TWO_OCTET).unwrap() else { panic!() };
    assert_eq!(update.verdict, Verdict::Accept);
    assert_eq!(update.attributes.as_path.unwrap().asns().collect::<Vec<_>>(), [64512, 23456]);
    assert_eq!(update.attributes.as4_path.unwrap().asns().collect::<Vec<_>>(), [64512, 4_200_000_001]);
}

#[test]
fn end_of_rib_both_ways() {
    for family in Family::ALL {
        let mut bytes = Vec::new();
        Packer::withdraw(&mut bytes, family).finish();
        assert_eq!(as_update(&bytes).end_of_rib(), Some(family));
    }
    let mut bytes = Vec::new();
    Packer::withdraw(&mut bytes, Family::Ipv4Unicast).finish();
    assert_eq!(bytes, update(&[], &[], &[]));
    bytes.clear();
    Packer::withdraw(&mut bytes, Family::Ipv6Unicast).finish();
    assert_eq!(bytes, update(&[], &hex("900f0003 0002 01"), &[]));

    for not in [
        update(&hex("20 14141401"), &[], &[]),
        update(&[], &hex("800f05 0002 01 08 20"), &[]),
        update(&[], &hex(&format!("{BASE} 800f03 0002 01")), &[]),
    ] {
        assert_eq!(as_update(&not).end_of_rib(), None, "{not:02x?}");
    }
}

#[test]
fn packing_is_byte_exact() {
    let mut bytes = Vec::new();
    let base = hex(BASE);
    let mut packer = Packer::announce(&mut bytes, Family::Ipv4Unicast, &base, &[]).unwrap();
    assert!(packer.push(&"20.20.20.1/32".parse().unwrap()));
    assert!(packer.push(&"10.128.0.0/9".parse().unwrap()));
    packer.finish();
    let mut packer = Packer::withdraw(&mut bytes, Family::Ipv4Unicast);
    assert!(packer.push(&"20.20.20.1/32".parse().unwrap()));
    packer.finish();
    let origin = hex("40010100 40020602010000fc00");
    let next_hop = hex("20010db8000000000000000000000001");
    let mut packer = Packer::announce(&mut bytes, Family::Ipv6Unicast, &origin, &next_hop).unwrap();
    assert!(packer.push(&"2001:db8::/32".parse().unwrap()));
    packer.finish();
    let expected = [
        update(&[], &base, &hex("20 14141401 09 0a80")),
        update(&hex("20 14141401"), &[], &[]),
        update(
            &[],
            &hex("900e001a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8
                  40010100 40020602010000fc00"),
            &[],
        ),
    ];
    assert_eq!(frames(&bytes), expected);
}

#[test]
fn attributes_that_leave_no_room_are_refused() {
    let mut bytes = vec![7];
    let long = vec![0; 4096 - 23 - 4];
    assert!(Packer::announce(&mut bytes, Family::Ipv4Unicast, &long, &[]).is_err());
    assert_eq!(bytes, [7], "nothing was written");
    let fits = vec![0; 4096 - 23 - 5];
    let mut packer = Packer::announce(&mut bytes, Family::Ipv4Unicast, &fits, &[]).unwrap();
    assert!(packer.push(&"20.20.20.1/32".parse().unwrap()));
    assert!(!packer.push(&"0.0.0.0/0".parse().unwrap()));
    packer.finish();
    assert_eq!(bytes.len(), 1 + 4096);
}
