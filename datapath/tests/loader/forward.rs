//! Real frames through the attached program.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use datapath::{BackendId, Flow, Forwarding, Mode, Model, Protocol, ServiceId, Undefined, VipSpec};

use crate::node::{Node, Port, in_node, wait};
use crate::wanted::{NODE, VIP, backend, open, pool, service, syn, wanted};

fn is_ipip(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&4)
}

fn flow(source_port: u16) -> Flow {
    Flow {
        client: SocketAddr::from(([1, 1, 1, 1], source_port)),
        vip: SocketAddr::from((VIP, 80)),
        protocol: Protocol::Tcp,
    }
}

/// Outer destination of an IPIP frame, by the source port inside.
fn destinations(frames: &[Vec<u8>]) -> BTreeMap<u16, BackendId> {
    frames.iter().map(|f| (u16::from_be_bytes([f[54], f[55]]), outer_destination(f))).collect()
}

fn two_links(node: &Node) {
    node.veth("client", "in0");
    node.veth("out0", "server");
}

#[test]
fn frames_reach_the_backend_that_the_model_says() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1, 2, 3]);
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached, [("in0".to_owned(), Mode::Native)].into());
        assert_eq!(read_back.not_attached, BTreeMap::new());
        assert_eq!(read_back.services, [(service(), pool())].into());
        assert_eq!(read_back.vips, wanted.vips);
        assert_eq!(read_back.members[&pool()], [backend(1), backend(2), backend(3)]);

        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        let model = Model::new(&wanted);
        (1000..1060).for_each(|port| client.send(&syn(node.mac("in0"), port)));
        let frames = server.receive(60, is_ipip);
        let predicted =
            (1000..1060).map(|port| (port, model.choose(&flow(port)).expect("a backend"))).collect();
        assert_eq!(destinations(&frames), predicted);
        let frame = &frames[0];
        assert_eq!((&frame[0..6], &frame[6..12]), (&node.mac("server")[..], &node.mac("out0")[..]));
        assert_eq!(frame[26..30], NODE);
        assert_eq!(frame.len(), 14 + 20 + 40);

        let stats = datapath.stats().expect("counters");
        assert_eq!((stats.services[&service()].packets, stats.services[&service()].bytes), (60, 60 * 40));
        for n in 1..=3 {
            let share = predicted_share(&predicted, n);
            assert_eq!(stats.backends[&(pool(), backend(n))].packets, share, "backend {n}");
            assert!(share > 5, "{share} of 60 to backend {n}");
        }
        assert_eq!(stats.interfaces["in0"]["forwarded"], 60);
        assert_eq!(stats.vips[&VIP.into()]["undefined"], 0);
    });
}

fn predicted_share(predicted: &BTreeMap<u16, BackendId>, n: u8) -> u64 {
    predicted.values().filter(|id| **id == backend(n)).count() as u64
}

#[test]
fn one_arm_sends_back_through_the_same_interface() {
    in_node(|node| {
        node.veth("client", "in0");
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "in0", "client", &[1]);
        datapath.apply(&wanted).expect("applied");
        let client = Port::open(node, "client");
        client.send(&syn(node.mac("in0"), 7));
        let frames = client.receive(1, is_ipip);
        assert_eq!(destinations(&frames), [(7, backend(1))].into());
    });
}

#[test]
fn mac_rewrite_to_a_backend_on_the_segment() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        let backends = wanted.pools.values_mut().flat_map(|pool| pool.backends.values_mut());
        backends.filter_map(|b| b.egress.as_mut()).for_each(|egress| egress.forwarding = Forwarding::L2);
        datapath.apply(&wanted).expect("applied");
        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        client.send(&syn(node.mac("in0"), 9));
        let frames = server.receive(1, |frame| frame.get(12..14) == Some(&[8, 0]));
        assert_eq!(frames.len(), 1);
        assert_eq!((&frames[0][0..6], frames[0][23]), (&node.mac("server")[..], 6));
    });
}

#[test]
fn a_backend_out_of_the_ring_gets_nothing_and_others_keep_theirs() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["in0"], "out0", "server", &[1, 2, 3]);
        let before = datapath.apply(&wanted).expect("applied");
        let spec = wanted.pools.get_mut(&pool()).expect("pool");
        spec.backends.get_mut(&backend(2)).expect("backend").in_ring = false;
        let after = datapath.apply(&wanted).expect("applied");
        assert_ne!(before.ring_digests, after.ring_digests);
        assert_eq!(after.members[&pool()], [backend(1), backend(3)]);

        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        (1000..1030).for_each(|port| client.send(&syn(node.mac("in0"), port)));
        let reached = destinations(&server.receive(30, is_ipip));
        assert_eq!(reached.len(), 30);
        assert!(reached.values().all(|id| *id != backend(2)));

        wanted.pools.values_mut().for_each(|p| p.backends.values_mut().for_each(|b| b.in_ring = false));
        let none = datapath.apply(&wanted).expect("applied");
        assert_eq!(none.members[&pool()], []);
        client.send(&syn(node.mac("in0"), 1));
        wait(|| datapath.stats().expect("counters").interfaces["in0"]["drop-no-backend"] == 1);
    });
}

#[test]
fn undefined_traffic_is_dropped_or_passed_and_counted() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        wanted.services.clear();
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.services, BTreeMap::new());
        let client = Port::open(node, "client");
        client.send(&syn(node.mac("in0"), 1));
        wait(|| datapath.stats().expect("counters").vips[&VIP.into()]["undefined"] == 1);

        wanted.vips.values_mut().for_each(|vip| vip.undefined = Undefined::Pass);
        datapath.apply(&wanted).expect("applied");
        client.send(&syn(node.mac("in0"), 2));
        wait(|| datapath.stats().expect("counters").vips[&VIP.into()]["undefined-passed"] == 1);
    });
}

#[test]
fn a_changed_mac_address_is_followed() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        datapath.apply(&wanted).expect("applied");
        crate::node::run("ip", &["link", "set", "in0", "address", "02:00:00:00:aa:bb"]);
        let stale = datapath.read_back().expect("read back");
        assert_eq!(
            stale.not_attached.keys().collect::<Vec<_>>(),
            ["in0"],
            "its frames would go to the kernel"
        );
        let followed = datapath.apply(&wanted).expect("applied");
        assert_eq!(followed.attached.keys().collect::<Vec<_>>(), ["in0"]);
        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        client.send(&syn([2, 0, 0, 0, 0xaa, 0xbb], 5));
        assert_eq!(destinations(&server.receive(1, is_ipip)), [(5, backend(1))].into());
    });
}

#[test]
fn any_port_of_an_ipv6_vip_through_an_ipv4_tunnel() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["in0"], "out0", "server", &[1, 2]);
        let vip: std::net::Ipv6Addr = "2001:db8::20".parse().expect("address");
        let spec = wanted.services[&service()].clone();
        let any_port = ServiceId { vip: vip.into(), protocol: Protocol::Udp, port: 0 };
        wanted.services.insert(any_port, spec);
        wanted.vips.insert(vip.into(), VipSpec { undefined: Undefined::Drop, echo: false });
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.services.keys().collect::<Vec<_>>(), [&service(), &any_port]);
        assert_eq!(read_back.vips, wanted.vips);

        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        let from: std::net::Ipv6Addr = "2001:db8:1::1".parse().expect("address");
        let flow = |port: u16| Flow {
            client: (from, port).into(),
            vip: (vip, 4000 + port).into(),
            protocol: Protocol::Udp,
        };
        (1..=20).for_each(|port| client.send(&udp6(node.mac("in0"), flow(port))));
        let frames = server.receive(20, |f| f.get(12..14) == Some(&[8, 0]) && f.get(23) == Some(&41));
        let reached: BTreeMap<u16, BackendId> =
            frames.iter().map(|f| (source_port6(f), outer_destination(f))).collect();
        let model = Model::new(&wanted);
        let predicted = (1..=20).map(|port| (port, model.choose(&flow(port)).expect("a backend"))).collect();
        assert_eq!(reached, predicted);
        assert_eq!(datapath.stats().expect("counters").services[&any_port].packets, 20);
    });
}

fn udp6(to: [u8; 6], flow: Flow) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(vip)) = (flow.client.ip(), flow.vip.ip()) else { panic!("IPv6") };
    let mut frame = Vec::from(to);
    frame.extend([2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
    frame.extend(from.octets());
    frame.extend(vip.octets());
    frame.extend(flow.client.port().to_be_bytes());
    frame.extend(flow.vip.port().to_be_bytes());
    frame.extend([0, 8, 0xff, 0xff]);
    frame
}

/// Of an inner IPv6 packet behind an outer IPv4 header.
fn source_port6(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[14 + 20 + 40], frame[14 + 20 + 41]])
}

fn outer_destination(frame: &[u8]) -> BackendId {
    BackendId(IpAddr::from([frame[30], frame[31], frame[32], frame[33]]))
}

#[test]
fn a_handle_may_move_between_threads() {
    fn moves<T: Send>() {}
    moves::<datapath::Datapath>();
    moves::<datapath::Decap>();
}
