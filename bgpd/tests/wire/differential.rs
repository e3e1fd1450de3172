//! netgauze-bgp-pkt as oracle: it must read what we write, byte for byte, and agree with us about what both accept.

use std::collections::HashMap;

use bgpd::wire::{AttributeWriter, Family, Message, Packer, Verdict};
use ipnet::IpNet;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::path_attribute::{AsPath, MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::prelude::*;

use crate::samples::{EXTERNAL, any_notification, any_open, config, frames, hex, message, prefixes, seeds};

/// Its strict reading; `None` when it finds any fault.
fn oracle(bytes: &[u8]) -> Option<BgpMessage> {
    let mut context = BgpParsingContext::new(true, HashMap::new(), HashMap::new(), true, true, true, true);
    BgpMessage::parse(&mut SliceReader::new(bytes), &mut context).ok()
}

fn rewritten(message: &BgpMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes).unwrap();
    bytes
}

/// What both can say about an UPDATE, in a form that can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
struct Digest {
    withdrawn: Vec<IpNet>,
    announced: Vec<IpNet>,
    path: Option<Vec<u32>>,
    next_hop: Option<std::net::Ipv4Addr>,
    med: Option<u32>,
    communities: usize,
    large_communities: usize,
    end_of_rib: bool,
}

fn ours(bytes: &[u8]) -> Option<Digest> {
    let Ok(Message::Update(update)) = Message::decode(bytes, &EXTERNAL) else { return None };
    if update.verdict != Verdict::Accept || update.attributes.foreign_family.is_some() {
        return None;
    }
    let seen = &update.attributes;
    let mut digest = Digest {
        withdrawn: update.withdrawn.iter().collect(),
        announced: update.announced.iter().collect(),
        path: seen.as_path.map(|path| path.asns().collect()),
        next_hop: seen.next_hop,
        med: seen.med,
        communities: seen.communities.iter().count(),
        large_communities: seen.large_communities.iter().count(),
        end_of_rib: update.end_of_rib().is_some(),
    };
    digest.withdrawn.extend(seen.mp_unreach.into_iter().flat_map(|prefixes| prefixes.iter()));
    digest.announced.extend(seen.mp_reach.into_iter().flat_map(|reach| reach.prefixes.iter()));
    Some(digest)
}

fn theirs(update: &BgpUpdateMessage) -> Option<Digest> {
    let v4 = |list: &[netgauze_bgp_pkt::nlri::Ipv4UnicastAddress]| -> Vec<IpNet> {
        list.iter().map(|prefix| IpNet::from(prefix.network().address()).trunc()).collect()
    };
    let v6 = |list: &[netgauze_bgp_pkt::nlri::Ipv6UnicastAddress]| -> Vec<IpNet> {
        list.iter().map(|prefix| IpNet::from(prefix.network().address()).trunc()).collect()
    };
    let mut digest = Digest {
        withdrawn: v4(update.withdraw_routes()),
        announced: v4(update.nlri()),
        end_of_rib: update.end_of_rib().is_some(),
        ..Digest::default()
    };
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
                let asns = segments.iter().flat_map(|segment| segment.as_numbers().iter().copied());
                digest.path = Some(asns.collect());
            }
            PathAttributeValue::NextHop(next_hop) => digest.next_hop = Some(next_hop.next_hop()),
            PathAttributeValue::MultiExitDiscriminator(med) => digest.med = Some(med.metric()),
            PathAttributeValue::Communities(list) => digest.communities = list.communities().len(),
            PathAttributeValue::LargeCommunities(list) => digest.large_communities = list.communities().len(),
            PathAttributeValue::MpReach(MpReach::Ipv4Unicast { nlri, .. }) => {
                digest.announced.extend(v4(nlri))
            }
            PathAttributeValue::MpReach(MpReach::Ipv6Unicast { nlri, .. }) => {
                digest.announced.extend(v6(nlri))
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv4Unicast { nlri }) => {
                digest.withdrawn.extend(v4(nlri))
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                digest.withdrawn.extend(v6(nlri))
            }
            PathAttributeValue::MpReach(_) | PathAttributeValue::MpUnreach(_) => return None,
            _ => {}
        }
    }
    Some(digest)
}

/// Compares when both accept; says whether there was anything to compare.
fn agree(bytes: &[u8]) -> bool {
    let Some(BgpMessage::Update(update)) = oracle(bytes) else { return false };
    let (Some(ours), Some(theirs)) = (ours(bytes), theirs(&update)) else { return false };
    assert_eq!(ours, theirs, "{bytes:02x?}");
    true
}

fn is_unicast(prefix: &IpNet) -> bool {
    // The oracle refuses what is not a unicast range, which is not the wire format's business.
    !prefix.addr().is_multicast() && !prefix.addr().is_unspecified() && prefix.prefix_len() > 8
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn updates_are_read_and_rewritten_byte_for_byte(
        v4 in prefixes(Family::Ipv4Unicast, 900),
        v6 in prefixes(Family::Ipv6Unicast, 300),
        asns in proptest::collection::vec(1..u32::MAX, 1..20),
        med: Option<u32>,
        communities in proptest::collection::btree_set(any::<u32>(), 0..40),
        large in proptest::collection::vec(any::<[u32; 3]>(), 0..10),
    ) {
        let mut bytes = Vec::new();
        for (family, prefixes) in [(Family::Ipv4Unicast, v4), (Family::Ipv6Unicast, v6)] {
            let prefixes: Vec<_> = prefixes.into_iter().filter(is_unicast).collect();
            let mut writer = AttributeWriter::default();
            writer.origin(0).as_path(&asns, true);
            if family == Family::Ipv4Unicast {
                writer.next_hop([10, 0, 0, 1].into());
            }
            if let Some(med) = med {
                writer.med(med);
            }
            writer.communities(communities.iter().copied()).large_communities(large.iter().copied());
            let section = writer.finish().unwrap();
            let mut packer = Packer::announce(&mut bytes, family, &section, &[0x20; 16]).unwrap();
            prefixes.iter().take_while(|prefix| packer.push(prefix)).count();
            packer.finish();
            let mut packer = Packer::withdraw(&mut bytes, family);
            prefixes.iter().take_while(|prefix| packer.push(prefix)).count();
            packer.finish();
        }
        for frame in frames(&bytes) {
            let read = oracle(&frame);
            prop_assert!(read.is_some(), "the oracle refuses {:02x?}", frame);
            prop_assert_eq!(rewritten(&read.unwrap()), frame.clone());
            prop_assert!(agree(&frame));
        }
    }

    #[test]
    fn opens_are_read(open in any_open()) {
        let mut open = open;
        open.capabilities.retain(|capability| matches!(
            capability,
            bgpd::wire::Capability::RouteRefresh | bgpd::wire::Capability::FourOctetAsn(_)
        ));
        // The oracle wants a unicast address, which RFC 6286 does not.
        let open = bgpd::wire::Open { bgp_id: [10, 0, 0, 1].into(), ..open };
        let bytes = open.encode().unwrap();
        prop_assert!(matches!(oracle(&bytes), Some(BgpMessage::Open(_))));
    }

    #[test]
    fn known_notifications_are_read(notification in any_notification()) {
        let (code, subcode) = notification.reason.wire();
        if code == 6 && (1..=8).contains(&subcode) && subcode != 2 && subcode != 4 {
            prop_assert!(matches!(oracle(&notification.encode()), Some(BgpMessage::Notification(_))));
        }
    }
}

#[test]
fn our_open_is_read_and_rewritten() {
    let open = crate::samples::open();
    let open = bgpd::wire::Open { capabilities: open.capabilities[..5].to_vec(), ..open };
    let bytes = open.encode().unwrap();
    let Some(read @ BgpMessage::Open(_)) = oracle(&bytes) else { panic!("the oracle refuses our OPEN") };
    assert_eq!(rewritten(&read), bytes);
    let Some(BgpMessage::Open(read)) = oracle(&bytes) else { unreachable!() };
    assert_eq!(read.my_asn4(), 4_200_000_001);
    assert_eq!((read.hold_time(), read.bgp_id()), (9, [10, 0, 0, 1].into()));
}

#[test]
fn keepalive_and_refresh_are_read() {
    assert_eq!(oracle(&bgpd::wire::KEEPALIVE), Some(BgpMessage::KeepAlive));
    assert!(matches!(oracle(&message(5, &hex("0002 00 01"))), Some(BgpMessage::RouteRefresh(_))));
}

#[test]
fn both_agree_on_mutations_that_both_accept() {
    let seeds: Vec<_> = seeds().into_iter().filter(|seed| seed[18] == 2 && seed.len() < 300).collect();
    let mut compared = 0;
    for seed in &seeds {
        for at in 19..seed.len() {
            for bit in 0..8 {
                let mut bytes = seed.clone();
                bytes[at] ^= 1 << bit;
                compared += u32::from(agree(&bytes));
            }
        }
    }
    assert!(compared > 250, "only {compared} mutations were accepted by both");
}
