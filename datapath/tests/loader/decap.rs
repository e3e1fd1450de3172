//! The real server's side.

use std::collections::BTreeMap;

use datapath::{BackendId, Decap, DecapWanted};

use crate::node::{Node, Port, in_node, wait};
use crate::wanted::{NODE, backend, open, syn, wanted};

fn decap_wanted(node: &Node, interfaces: &[&str]) -> DecapWanted {
    DecapWanted {
        pin_dir: node.bpffs().join("real-server"),
        interfaces: interfaces.iter().map(|name| name.to_string()).collect(),
        allowed_sources: [format!("{}/32", std::net::Ipv4Addr::from(NODE)).parse().expect("prefix")].into(),
        local: [backend(1).0].into(),
    }
}

#[test]
fn tunnel_packets_come_out_as_the_client_sent_them() {
    in_node(|node| {
        node.veth("client", "in0");
        node.veth("out0", "server");
        let (mut datapath, _) = open(node);
        datapath.apply(&wanted(node, &["in0"], "out0", "server", &[1, 2])).expect("applied");
        let decap = Decap::apply(&decap_wanted(node, &["server"])).expect("set up");
        assert!(node.program_id("server").is_some());

        let (client, server) = (Port::open(node, "client"), Port::open(node, "server"));
        (0..20).for_each(|port| client.send(&syn(node.mac("in0"), port)));
        let to_one = datapath_share(&datapath, 1, 20);
        let inner = server.receive(to_one, |f| f.get(12..14) == Some(&[8, 0]) && f.get(23) == Some(&6));
        assert_eq!(inner.len(), to_one);
        assert_eq!(inner[0].len(), 14 + 40);
        let stats = decap.stats().expect("counters");
        assert_eq!(stats["decapsulated"], to_one as u64);

        drop(decap);
        let mut other = decap_wanted(node, &["server"]);
        other.allowed_sources = ["192.0.2.0/24".parse().expect("prefix")].into();
        let decap = Decap::apply(&other).expect("applied again");
        (0..20).for_each(|port| client.send(&syn(node.mac("in0"), port)));
        wait(|| decap.stats().expect("counters")["drop-source"] == to_one as u64);
        assert_eq!(decap.stats().expect("counters")["decapsulated"], to_one as u64, "counters go on");

        decap.detach().expect("detached");
        assert_eq!(node.program_id("server"), None);
        assert!(!node.bpffs().join("real-server").exists());
    });
}

/// Packets to a backend once `total` were counted.
fn datapath_share(datapath: &datapath::Datapath, n: u8, total: u64) -> usize {
    let counted = || -> BTreeMap<BackendId, u64> {
        let stats = datapath.stats().expect("counters");
        stats.backends.iter().map(|((_, id), traffic)| (*id, traffic.packets)).collect()
    };
    wait(|| counted().values().sum::<u64>() == total);
    counted()[&backend(n)] as usize
}

#[test]
fn a_first_call_that_fails_leaves_nothing() {
    in_node(|node| {
        node.veth("client", "in0");
        let error =
            Decap::apply(&decap_wanted(node, &["in0", "missing"])).err().expect("refused").to_string();
        assert!(error.contains("missing") && error.contains("no such interface"), "{error}");
        assert_eq!(node.program_id("in0"), None);
        assert!(node.pinned().is_empty(), "{:?}", node.pinned());
    });
}
