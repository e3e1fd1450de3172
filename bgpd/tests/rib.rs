//! Adj-RIB-out: what goes out, in which order, in how many bytes; and that a peer that applies it has what it should.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bgpd::export::{Encoder, NotSendable, Table};
use bgpd::rib::AdjRibOut;
use bgpd::wire::{Context, Family, Framer, Message};
use bgpd::{Community, RouteAttributes, Wanted, WantedRoute};
use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;

const CONTEXT: Context = Context { four_octet_asn: true, internal: false };
const ALL: usize = usize::MAX;

fn rib(families: &[Family]) -> AdjRibOut {
    AdjRibOut::new(encoder(), families)
}

fn encoder() -> Encoder {
    Encoder {
        local_asn: 64512,
        internal: false,
        four_octet_asn: true,
        next_hop_v4: Some([10, 0, 0, 1].into()),
        next_hop_v6: Some("2001:db8::1".parse().unwrap()),
    }
}

fn med(med: u32) -> Option<Arc<RouteAttributes>> {
    Some(Arc::new(RouteAttributes { med: Some(med), ..RouteAttributes::default() }))
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn host(number: u32) -> IpNet {
    Ipv4Net::new((0x1414_0000 + number).into(), 32).unwrap().into()
}

/// What a peer does with a stream of UPDATEs: its table (prefix to MED), and how often it heard of End-of-RIB.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listener {
    table: BTreeMap<IpNet, Option<u32>>,
    end_of_rib: Vec<Family>,
    /// 'w' and 'a' for each message with withdraws or announces, 'e' for End-of-RIB.
    order: String,
}

impl Listener {
    fn hear(&mut self, bytes: &[u8]) {
        let mut framer = Framer::default();
        framer.push(bytes);
        while let Some(frame) = framer.next_frame() {
            let frame = frame.unwrap().to_vec();
            let Message::Update(update) = Message::decode(&frame, &CONTEXT).unwrap() else { panic!() };
            if let Some(family) = update.end_of_rib() {
                self.end_of_rib.push(family);
                self.order.push('e');
                continue;
            }
            let unreach = update.attributes.mp_unreach.into_iter().flat_map(|prefixes| prefixes.iter());
            let reach = update.attributes.mp_reach.into_iter().flat_map(|reach| reach.prefixes.iter());
            let withdrawn: Vec<_> = update.withdrawn.iter().chain(unreach).collect();
            let announced: Vec<_> = update.announced.iter().chain(reach).collect();
            self.order.push(if announced.is_empty() { 'w' } else { 'a' });
            for prefix in withdrawn {
                assert!(
                    self.table.remove(&prefix).is_some(),
                    "{prefix} was withdrawn without having been announced"
                );
            }
            self.table.extend(announced.into_iter().map(|prefix| (prefix, update.attributes.med)));
        }
    }
}

#[test]
fn ten_thousand_withdraws_are_thirteen_messages() {
    let mut rib = rib(&Family::ALL);
    for number in 0..10_000 {
        rib.set(host(number), med(0));
    }
    let mut peer = Listener::default();
    let mut bytes = Vec::new();
    rib.fill(&mut bytes, ALL, true);
    peer.hear(&bytes);
    assert_eq!(peer.table.len(), 10_000);

    for number in 0..10_000 {
        rib.set(host(number), None);
    }
    bytes.clear();
    let batch = rib.fill(&mut bytes, ALL, true);
    assert_eq!((batch.messages, bytes.len()), (13, 50_299));
    assert_eq!(batch.withdrawn.len(), 10_000);
    peer.hear(&bytes);
    assert!(peer.table.is_empty());
}

#[test]
fn withdraws_go_first_also_between_announces() {
    let mut rib = rib(&Family::ALL);
    let mut peer = Listener::default();
    rib.set(net("192.0.2.1/32"), med(1));
    rib.set(net("2001:db8::1/128"), med(1));
    let mut bytes = Vec::new();
    rib.fill(&mut bytes, ALL, true);
    peer.hear(&bytes);

    for number in 0..4000 {
        rib.set(host(number), med(2));
    }
    bytes.clear();
    rib.fill(&mut bytes, 1, true);
    assert!(bytes.len() <= 4096, "one message when the limit is low");
    peer.hear(&bytes);
    rib.set(net("192.0.2.1/32"), None);
    rib.set(net("2001:db8::1/128"), None);
    bytes.clear();
    rib.fill(&mut bytes, ALL, true);
    peer.hear(&bytes);
    assert_eq!(peer.order, "aaeeawwaaaa");
    assert_eq!(peer.table.len(), 4000);
}

#[test]
fn differences_not_history() {
    let mut rib = rib(&Family::ALL);
    let prefix = net("20.20.20.1/32");
    let mut bytes = Vec::new();
    rib.set(prefix, med(1));
    rib.set(prefix, None);
    assert!(rib.is_settled());
    for number in 0..100 {
        rib.set(prefix, med(number));
    }
    let batch = rib.fill(&mut bytes, ALL, false);
    assert_eq!((batch.messages, batch.announced.as_slice()), (1, &[prefix][..]));

    rib.set(prefix, med(7));
    rib.set(prefix, med(99));
    assert!(rib.is_settled(), "the peer has exactly that");
    rib.set(prefix, None);
    rib.set(prefix, med(99));
    assert!(rib.is_settled());
    rib.set(prefix, med(99));
    assert_eq!(rib.fill(&mut bytes, ALL, false).messages, 0);
}

#[test]
fn end_of_rib_waits_for_a_whole_set_and_comes_once_for_each_family() {
    let mut rib = rib(&Family::ALL);
    let mut peer = Listener::default();
    rib.set(net("20.20.20.1/32"), med(1));
    let mut bytes = Vec::new();
    assert!(!rib.fill(&mut bytes, ALL, false).completes_end_of_rib);
    rib.set(net("2001:db8::1/128"), med(1));
    assert!(!rib.fill(&mut bytes, ALL, false).completes_end_of_rib);
    peer.hear(&bytes);
    assert_eq!(peer.order, "aa");

    bytes.clear();
    assert!(rib.fill(&mut bytes, ALL, true).completes_end_of_rib);
    peer.hear(&bytes);
    assert_eq!(peer.end_of_rib, Family::ALL);
    bytes.clear();
    assert_eq!(rib.fill(&mut bytes, ALL, true), bgpd::rib::Batch::default());
    assert!(bytes.is_empty());
}

#[test]
fn family_that_was_not_negotiated_is_never_mentioned() {
    let mut rib = rib(&[Family::Ipv4Unicast]);
    let mut peer = Listener::default();
    rib.set(net("2001:db8::1/128"), med(1));
    rib.set(net("20.20.20.1/32"), med(1));
    rib.refresh(Family::Ipv6Unicast);
    let mut bytes = Vec::new();
    rib.fill(&mut bytes, ALL, true);
    peer.hear(&bytes);
    assert_eq!(peer.end_of_rib, [Family::Ipv4Unicast]);
    assert_eq!(peer.table.keys().copied().collect::<Vec<_>>(), [net("20.20.20.1/32")]);
}

#[test]
fn refresh_sends_all_of_the_family_again() {
    let mut rib = rib(&Family::ALL);
    for number in 0..1000 {
        rib.set(host(number), med(number % 2));
    }
    rib.set(net("2001:db8::1/128"), med(1));
    let mut bytes = Vec::new();
    rib.fill(&mut bytes, ALL, true);

    rib.refresh(Family::Ipv4Unicast);
    rib.set(host(0), None);
    bytes.clear();
    let batch = rib.fill(&mut bytes, ALL, true);
    assert_eq!((batch.announced.len(), batch.withdrawn.len()), (999, 1));
    assert!(!batch.completes_end_of_rib, "only the initial dump ends with End-of-RIB");
    assert!(!batch.announced.contains(&net("2001:db8::1/128")));
}

#[test]
fn another_next_hop_goes_out_with_everything() {
    let mut rib = rib(&Family::ALL);
    rib.set(net("20.20.20.1/32"), med(1));
    let mut bytes = Vec::new();
    rib.fill(&mut bytes, ALL, true);
    rib.set_encoder(encoder());
    assert!(rib.is_settled(), "the same next hop is no news");
    rib.set_encoder(Encoder { next_hop_v4: Some([10, 0, 0, 9].into()), ..encoder() });
    bytes.clear();
    rib.fill(&mut bytes, ALL, true);
    assert!(bytes.windows(4).any(|window| window == [10, 0, 0, 9]));
}

#[test]
fn what_cannot_be_sent_is_said_and_does_not_stay_with_old_attributes() {
    let mut rib = rib(&Family::ALL);
    let prefix = net("20.20.20.1/32");
    let mut bytes = Vec::new();
    rib.set(prefix, med(1));
    rib.fill(&mut bytes, ALL, true);
    let many =
        RouteAttributes { communities: (0..2000).map(Community).collect(), ..RouteAttributes::default() };
    rib.set(prefix, Some(Arc::new(many)));
    rib.set(net("20.20.20.2/32"), med(1));
    bytes.clear();
    let mut batch = rib.fill(&mut bytes, ALL, true);
    assert_eq!(batch.not_sendable, [(prefix, NotSendable::TooLong)]);
    assert_eq!(batch.announced, [net("20.20.20.2/32")]);
    batch = rib.fill(&mut bytes, ALL, true);
    assert_eq!(batch.withdrawn, [prefix]);
    assert!(rib.is_settled());

    let no_v6 = Encoder { next_hop_v6: None, ..encoder() };
    let mut rib = AdjRibOut::new(no_v6, &Family::ALL);
    rib.set(net("2001:db8::1/128"), med(1));
    let batch = rib.fill(&mut bytes, ALL, true);
    assert_eq!(batch.not_sendable, [(net("2001:db8::1/128"), NotSendable::NoNextHop)]);
    assert!(batch.completes_end_of_rib);
}

#[test]
fn routes_go_to_the_peers_that_they_name() {
    let route = |peers: Option<&[&str]>| WantedRoute {
        peers: peers.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        ..WantedRoute::default()
    };
    let mut wanted = Wanted::default();
    wanted.routes.insert(net("20.20.20.1/32"), route(None));
    wanted.routes.insert(net("20.20.20.2/32"), route(Some(&["a", "b"])));
    wanted.routes.insert(net("20.20.20.3/32"), route(Some(&[])));
    let (table, _) = Table::default().next(&wanted);
    let of = |name: &str| table.all_for_peer(name).map(|(prefix, _)| prefix.to_string()).collect::<Vec<_>>();
    assert_eq!(of("a"), ["20.20.20.1/32", "20.20.20.2/32"]);
    assert_eq!(of("c"), ["20.20.20.1/32"]);

    wanted.routes.insert(net("20.20.20.2/32"), route(Some(&["b"])));
    wanted.routes.remove(&net("20.20.20.1/32"));
    let (next, changed) = table.next(&wanted);
    assert_eq!(changed, [net("20.20.20.1/32"), net("20.20.20.2/32")]);
    assert_eq!(next.for_peer(&net("20.20.20.2/32"), "a"), None);
    assert_eq!(next.next(&wanted).1, []);
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Option<u32>),
    Refresh,
    Fill(usize),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However changes, refreshes and a slow reader interleave, the peer ends up with what it should have.
    #[test]
    fn peer_ends_up_with_the_wanted_set(steps in proptest::collection::vec(
        prop_oneof![
            6 => (any::<u8>(), proptest::option::of(0..4u32)).prop_map(|(at, med)| Step::Set(at, med)),
            1 => Just(Step::Refresh),
            3 => (0..200usize).prop_map(Step::Fill),
        ],
        0..200,
    )) {
        let prefix = |at: u8| if at.is_multiple_of(2) {
            host(at.into())
        } else {
            net(&format!("2001:db8::{at:x}/128"))
        };
        let mut rib = rib(&Family::ALL);
        let mut peer = Listener::default();
        let mut wanted = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Fill(ALL)]) {
            match step {
                Step::Set(at, value) => {
                    rib.set(prefix(at), value.and_then(med));
                    match value {
                        Some(value) => drop(wanted.insert(prefix(at), Some(value))),
                        None => drop(wanted.remove(&prefix(at))),
                    }
                }
                Step::Refresh => Family::ALL.into_iter().for_each(|family| rib.refresh(family)),
                Step::Fill(limit) => {
                    let mut bytes = Vec::new();
                    rib.fill(&mut bytes, limit, true);
                    peer.hear(&bytes);
                    prop_assert!(rib.sent().eq(peer.table.keys()));
                }
            }
        }
        prop_assert_eq!(peer.table, wanted);
        prop_assert_eq!(peer.end_of_rib, Family::ALL);
    }
}
