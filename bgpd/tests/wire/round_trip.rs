//! What is encoded is decoded again, for generated messages.

use bgpd::export::{Encoder, Table};
use bgpd::rib::AdjRibOut;
use bgpd::wire::reach::NextHop;
use bgpd::wire::{Context, Family, Message, Notification, Packer, RouteRefresh, Verdict};
use bgpd::{Community, LargeCommunity, RouteAttributes, Wanted, WantedRoute};
use proptest::collection::btree_set;
use proptest::prelude::*;

use crate::samples::{EXTERNAL, any_notification, any_open, config, frames, prefixes};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn open(open in any_open()) {
        // What does not fit says so; what fits comes back.
        if let Ok(bytes) = open.encode() {
            prop_assert!(bytes.len() <= 4096);
            prop_assert_eq!(Message::decode(&bytes, &EXTERNAL).unwrap(), Message::Open(open));
        }
    }

    #[test]
    fn notification(notification in any_notification()) {
        let bytes = notification.encode();
        prop_assert_eq!(Message::decode(&bytes, &EXTERNAL).unwrap(), Message::Notification(notification));
    }

    #[test]
    fn shutdown_text(text in "\\PC{0,300}") {
        let sent = Notification::shutdown(&text);
        let seen = sent.text().unwrap_or_default();
        prop_assert!(text.starts_with(&seen));
        prop_assert!(text.len() <= 255 && seen == text || seen.len() > 251);
    }

    #[test]
    fn refresh(afi: u16, safi: u8, subtype: u8) {
        let refresh = RouteRefresh { family: bgpd::wire::AfiSafi { afi, safi }, subtype };
        let bytes = refresh.encode();
        prop_assert_eq!(Message::decode(&bytes, &EXTERNAL).unwrap(), Message::RouteRefresh(refresh));
    }

    #[test]
    fn withdraws(v6: bool, seed in prefixes(Family::Ipv4Unicast, 2000), seed6 in prefixes(Family::Ipv6Unicast, 700)) {
        let (family, wanted) = if v6 { (Family::Ipv6Unicast, seed6) } else { (Family::Ipv4Unicast, seed) };
        let mut bytes = Vec::new();
        let mut packer = Packer::withdraw(&mut bytes, family);
        let fitting = wanted.iter().take_while(|prefix| packer.push(prefix)).count();
        packer.finish();
        prop_assert!(bytes.len() <= 4096);
        let Message::Update(update) = Message::decode(&bytes, &EXTERNAL).unwrap() else { panic!() };
        let seen: Vec<_> = match update.attributes.mp_unreach {
            Some(unreach) => unreach.iter().collect(),
            None => update.withdrawn.iter().collect(),
        };
        prop_assert_eq!(&seen, &wanted[..fitting]);
    }

    /// Any wanted set through table, adj-RIB-out, packer and decoder comes out as it went in.
    #[test]
    fn announces(
        attributes in proptest::collection::vec(attributes(), 1..4),
        v4 in prefixes(Family::Ipv4Unicast, 300),
        v6 in prefixes(Family::Ipv6Unicast, 300),
        internal: bool,
        four_octet_asn: bool,
    ) {
        let prefixes = v4.into_iter().chain(v6).enumerate();
        let routes = prefixes.map(|(at, prefix)| {
            (prefix, WantedRoute { attributes: attributes[at % attributes.len()].clone(), peers: None })
        });
        let wanted = Wanted { routes: routes.collect(), complete: true, ..Wanted::default() };
        let (table, changed) = Table::default().next(&wanted);
        prop_assert_eq!(changed.len(), wanted.routes.len());
        let encoder = Encoder {
            local_asn: 4_200_000_001,
            internal,
            four_octet_asn,
            next_hop_v4: Some([10, 0, 0, 1].into()),
            next_hop_v6: Some("2001:db8::1".parse().unwrap()),
        };
        let mut rib = AdjRibOut::new(encoder, &Family::ALL);
        for (prefix, attributes) in table.all_for_peer("any") {
            rib.set(prefix, Some(attributes));
        }
        let mut bytes = Vec::new();
        let batch = rib.fill(&mut bytes, usize::MAX, true);
        prop_assert!(batch.not_sendable.is_empty());
        let seen = read(&bytes, &Context { four_octet_asn, internal });
        let expected: Vec<_> = wanted.routes.iter().map(|(prefix, route)| {
            let mut attributes = route.attributes.clone();
            attributes.local_pref = internal.then(|| attributes.local_pref.unwrap_or(100));
            attributes.prepend = if internal { 0 } else { attributes.prepend };
            (*prefix, attributes)
        }).collect();
        prop_assert_eq!(seen, expected);
    }
}

/// All announced routes of a stream of UPDATEs, in order of prefix; checks what must be the same in all.
fn read(bytes: &[u8], context: &Context) -> Vec<(ipnet::IpNet, RouteAttributes)> {
    let mut routes = Vec::new();
    for frame in frames(bytes) {
        assert!(frame.len() <= 4096);
        let Message::Update(update) = Message::decode(&frame, context).unwrap() else { panic!() };
        assert_eq!(update.verdict, Verdict::Accept);
        if update.end_of_rib().is_some() {
            continue;
        }
        let seen = &update.attributes;
        assert_eq!(seen.origin, Some(0));
        let path: Vec<u32> = seen.as4_path.or(seen.as_path).unwrap().asns().collect();
        assert_eq!(path.is_empty(), context.internal);
        assert!(path.iter().all(|asn| *asn == 4_200_000_001), "{path:?}");
        let attributes = RouteAttributes {
            communities: seen.communities.iter().map(|c| Community(u32::from_be_bytes(c))).collect(),
            large_communities: seen.large_communities.iter().map(large).collect(),
            med: seen.med,
            prepend: u8::try_from(path.len().saturating_sub(1)).unwrap(),
            local_pref: seen.local_pref,
        };
        if let Some(reach) = seen.mp_reach {
            assert_eq!(reach.next_hop, NextHop::V6("2001:db8::1".parse().unwrap()));
            assert_eq!(seen.next_hop, None);
            routes.extend(reach.prefixes.iter().map(|prefix| (prefix, attributes.clone())));
        } else {
            assert_eq!(seen.next_hop, Some([10, 0, 0, 1].into()));
        }
        routes.extend(update.announced.iter().map(|prefix| (prefix, attributes.clone())));
    }
    routes.sort_unstable();
    routes
}

fn large(bytes: [u8; 12]) -> LargeCommunity {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    LargeCommunity(word(0), word(4), word(8))
}

fn attributes() -> impl Strategy<Value = RouteAttributes> {
    let communities = btree_set(any::<u32>().prop_map(Community), 0..70);
    let large = btree_set(any::<(u32, u32, u32)>().prop_map(|(a, b, c)| LargeCommunity(a, b, c)), 0..30);
    (communities, large, any::<Option<u32>>(), any::<u8>(), any::<Option<u32>>()).prop_map(
        |(communities, large_communities, med, prepend, local_pref)| RouteAttributes {
            communities,
            large_communities,
            med,
            prepend,
            local_pref,
        },
    )
}
