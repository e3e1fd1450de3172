//! The datapath outlives the process that set it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use datapath::{Datapath, Found, Limits, Mode, Options};

use crate::node::{Node, Port, in_node, run, wait};
use crate::wanted::{LIMITS, VIP, backend, open, options, pool, service, syn, wanted};

fn two_links(node: &Node) {
    node.veth("client", "in0");
    node.veth("out0", "server");
}

fn is_ip(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0])
}

#[test]
fn a_new_process_adopts_maps_counters_and_attachment() {
    in_node(|node| {
        two_links(node);
        let (mut first, found) = open(node);
        assert_eq!(found, Found::Nothing);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1, 2, 3]);
        let before = first.apply(&wanted).expect("applied");
        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        let send = |count: u16| {
            (0..count).for_each(|port| client.send(&syn(node.mac("in0"), port)));
            assert_eq!(server.receive(count.into(), is_ip).len(), usize::from(count));
        };
        send(20);
        let counted = first.stats().expect("counters");
        drop(first);
        send(10);

        let (mut second, found) = open(node);
        assert_eq!(found, Found::Adopted { attached: vec!["in0".into()] });
        let adopted = second.read_back().expect("read back");
        assert_eq!(adopted, before, "before the first apply everything is known");
        let stats = second.stats().expect("counters");
        assert_eq!(stats.services[&service()].packets, 30);
        assert!(
            stats.backends[&(pool(), backend(1))].packets >= counted.backends[&(pool(), backend(1))].packets
        );

        let old_program = node.program_id("in0");
        assert_eq!(second.apply(&wanted).expect("applied"), before);
        let new_program = node.program_id("in0");
        assert!(new_program.is_some() && new_program != old_program, "the new process's program runs");
        send(10);
        assert_eq!(second.stats().expect("counters").services[&service()].packets, 40);
        second.apply(&wanted).expect("applied");
        assert_eq!(node.program_id("in0"), new_program, "a program is loaded once");
    });
}

#[test]
fn no_packet_is_lost_while_the_program_is_replaced() {
    in_node(|node| {
        two_links(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1, 2]);
        let (mut first, _) = open(node);
        first.apply(&wanted).expect("applied");
        drop(first);
        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        let mac = node.mac("in0");
        let old_program = node.program_id("in0");
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sender = std::thread::spawn({
            let (stop, sent) = (stop.clone(), sent.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    client.send(&syn(mac, sent.fetch_add(1, Ordering::Relaxed) as u16));
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let more = |count| {
            let before = sent.load(Ordering::Relaxed);
            wait(|| sent.load(Ordering::Relaxed) > before + count);
        };
        more(100);
        let (mut second, _) = open(node);
        second.apply(&wanted).expect("applied");
        more(100);
        stop.store(true, Ordering::Relaxed);
        sender.join().expect("sender");
        let sent = sent.load(Ordering::Relaxed) as usize;
        assert_eq!(server.receive(sent, is_ip).len(), sent);
        assert_ne!(node.program_id("in0"), old_program);
    });
}

#[test]
fn an_interface_that_was_made_again_is_attached_again() {
    in_node(|node| {
        two_links(node);
        let (mut first, _) = open(node);
        first.apply(&wanted(node, &["in0"], "out0", "server", &[1])).expect("applied");
        drop(first);
        run("ip", &["link", "del", "in0"]);
        let (mut second, found) = open(node);
        assert_eq!(found, Found::Adopted { attached: vec![] });
        node.veth("client", "in0");
        let wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        let read_back = second.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached, [("in0".to_owned(), Mode::Native)].into());
        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        client.send(&syn(node.mac("in0"), 5));
        assert_eq!(server.receive(1, is_ip).len(), 1);
    });
}

#[test]
fn interfaces_come_and_go_and_change_their_names() {
    in_node(|node| {
        two_links(node);
        node.veth("other", "in1");
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["in0", "in1", "in2"], "out0", "server", &[1]);
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached.keys().collect::<Vec<_>>(), ["in0", "in1"]);
        assert_eq!(read_back.not_attached, [("in2".to_owned(), "no such interface".to_owned())].into());

        let program = node.program_id("in1");
        run("ip", &["link", "set", "in1", "down"]);
        run("ip", &["link", "set", "in1", "name", "in.2"]);
        wanted.ingress.remove("in1");
        wanted.ingress.remove("in2");
        wanted.ingress.insert("in.2".into(), datapath::Ingress::default());
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached.keys().collect::<Vec<_>>(), ["in.2", "in0"]);
        assert_eq!(node.program_id("in.2"), program, "the same link, under its new name");

        wanted.ingress.remove("in0");
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached.keys().collect::<Vec<_>>(), ["in.2"]);
        assert_eq!(node.program_id("in0"), None);
    });
}

#[test]
fn a_detached_program_is_seen_and_put_back() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        datapath.apply(&wanted).expect("applied");
        std::fs::remove_file(node.pin_dir().join("links/0-in0")).expect("the pin is there");
        wait(|| node.program_id("in0").is_none());
        let read_back = datapath.read_back().expect("read back");
        assert_eq!(read_back.attached, BTreeMap::new());
        assert_eq!(read_back.not_attached.keys().collect::<Vec<_>>(), ["in0"]);
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached.keys().collect::<Vec<_>>(), ["in0"]);
    });
}

#[test]
fn what_someone_else_changed_in_the_maps_is_repaired() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1, 2]);
        let good = datapath.apply(&wanted).expect("applied");
        {
            use aya::maps::{Array, Map, MapData};
            let data = MapData::from_pin(node.pin_dir().join("maps/RINGS")).expect("pinned");
            let mut rings: Array<_, u32> = Map::from_map_data(data).and_then(Array::try_from).expect("array");
            rings.set(7, 0x7fff_ffff, 0).expect("written");
        }
        let bad = datapath.read_back().expect("read back");
        assert_ne!(bad.ring_digests, good.ring_digests);
        assert_eq!(bad.services, BTreeMap::new());
        assert_eq!(datapath.apply(&wanted).expect("applied"), good);
    });
}

#[test]
fn detach_leaves_nothing() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        datapath.apply(&wanted(node, &["in0"], "out0", "server", &[1])).expect("applied");
        assert!(node.program_id("in0").is_some());
        datapath.detach().expect("detached");
        assert_eq!(node.program_id("in0"), None);
        assert!(node.pinned().is_empty(), "{:?}", node.pinned());
        let (_, found) = open(node);
        assert_eq!(found, Found::Nothing);
    });
}

#[test]
fn pins_of_any_version_can_be_removed() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        datapath.apply(&wanted(node, &["in0"], "out0", "server", &[1])).expect("applied");
        drop(datapath);
        let limits = Limits { services: 32, ..LIMITS };
        let other =
            Datapath::open(Options { limits, ..options(node) }).err().expect("other sizes").to_string();
        assert!(other.contains("SERVICES4") && other.contains("vipcastd detach"), "{other}");
        assert!(node.program_id("in0").is_some(), "nothing was touched");
        Datapath::remove(&node.pin_dir()).expect("removed");
        assert_eq!(node.program_id("in0"), None);
        assert!(!node.pin_dir().exists());
        Datapath::remove(&node.pin_dir()).expect("nothing to remove is fine");
    });
}

#[test]
fn vips_and_services_go_and_come_back_with_fresh_counters() {
    in_node(|node| {
        two_links(node);
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        datapath.apply(&wanted).expect("applied");
        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        client.send(&syn(node.mac("in0"), 5));
        assert_eq!(server.receive(1, is_ip).len(), 1);
        let mut nothing = wanted.clone();
        nothing.vips.clear();
        nothing.services.clear();
        nothing.pools.clear();
        let read_back = datapath.apply(&nothing).expect("applied");
        assert_eq!((read_back.vips, read_back.ring_digests), Default::default());
        datapath.apply(&wanted).expect("applied");
        let stats = datapath.stats().expect("counters");
        assert_eq!(stats.services[&service()].packets, 0);
        assert_eq!(stats.backends[&(pool(), backend(1))].packets, 0);
        assert!(stats.vips[&VIP.into()].values().all(|value| *value == 0));
    });
}
