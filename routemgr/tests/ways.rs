//! Resolution in a real kernel, against neighbours in namespaces of their own: found, followed, lost, named.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as the tests do.

mod bench;

use std::net::IpAddr;

use bench::{
    all_installed, blackhole, in_namespace, ip, key, own_mac, resolving, route, routes, run, until, via,
};
use routemgr::{Observed, Resolution, ResolutionError, Wanted};

fn of(observed: &Observed, address: &str) -> Result<Resolution, ResolutionError> {
    observed.resolved.get(&ip(address)).cloned().unwrap_or(Err(ResolutionError::Pending))
}

fn fails_with(address: &'static str, error: ResolutionError) -> impl Fn(&Observed) -> bool {
    move |o| of(o, address) == Err(error.clone())
}

fn failed(next_hop: &str, device: &str) -> ResolutionError {
    ResolutionError::NeighbourFailed { next_hop: ip(next_hop), device: device.into() }
}

#[test]
fn a_backend_behind_a_gateway_and_one_on_the_segment() {
    in_namespace(|b| async move {
        let peer = b.peer("eth1", &["31.31.31.254/24"], &["31.31.31.1/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[(key("56.56.56.0/24"), via(&[("31.31.31.1", "eth1")]))]);
        wanted.resolve = ["56.56.56.1", "31.31.31.1"].map(ip).into();
        manager.set_wanted(wanted);
        let observed = until(&mut rx, |o| of(o, "56.56.56.1").is_ok() && of(o, "31.31.31.1").is_ok()).await;
        let way = of(&observed, "56.56.56.1").unwrap();
        let expected = Resolution {
            ifindex: observed.interfaces["eth1"].0,
            device: "eth1".into(),
            next_hop: ip("31.31.31.1"),
            source: ip("31.31.31.254"),
            src_mac: own_mac("eth1"),
            dst_mac: peer.mac(),
            mtu: 1500,
            on_link: false,
        };
        assert_eq!(way, expected);
        assert_eq!(of(&observed, "31.31.31.1"), Ok(Resolution { on_link: true, ..expected }));
    });
}

#[test]
fn ipv6_by_gateway_on_link_and_link_local() {
    in_namespace(|b| async move {
        let peer = b.peer("eth1", &["2001:db8:1::fe/64", "fe80::fe/64"], &["2001:db8:1::1/64", "fe80::1/64"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[
            (key("2001:db8:56::/64"), via(&[("2001:db8:1::1", "eth1")])),
            (key("2001:db8:57::/64"), via(&[("fe80::1", "eth1")])),
            (key("56.56.56.0/24"), via(&[("fe80::1", "eth1")])),
        ]);
        route("address add 31.31.31.254/24 dev eth1");
        let list = ["2001:db8:56::1", "2001:db8:57::1", "2001:db8:1::1", "56.56.56.1"];
        wanted.resolve = list.map(ip).into();
        manager.set_wanted(wanted);
        let observed = until(&mut rx, |o| list.iter().all(|a| of(o, a).is_ok())).await;
        let hops =
            list.map(|a| of(&observed, a).unwrap()).map(|r| (r.next_hop, r.on_link, r.dst_mac == peer.mac()));
        let expected =
            [("2001:db8:1::1", false), ("fe80::1", false), ("2001:db8:1::1", true), ("fe80::1", false)];
        assert_eq!(hops, expected.map(|(hop, on_link)| (ip(hop), on_link, true)));
        assert_eq!(of(&observed, "2001:db8:56::1").unwrap().source, ip("2001:db8:1::fe"));
        assert_eq!(of(&observed, "56.56.56.1").unwrap().source, ip("31.31.31.254"));
    });
}

#[test]
fn a_new_mac_is_followed_without_any_announcement_of_it() {
    in_namespace(|b| async move {
        let peer =
            b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::fe/64"], &["10.0.1.2/24", "2001:db8:1::2/64"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let both = ["10.0.1.2", "2001:db8:1::2"];
        let interfaces = ["eth1".to_owned()].into();
        manager.set_wanted(Wanted { interfaces, ..resolving(&both) });
        let old = peer.mac();
        until(&mut rx, |o| both.iter().all(|a| of(o, a).is_ok_and(|r| r.dst_mac == old))).await;
        put_peer(&peer, "net.ipv4.conf.eth0.arp_notify=0");
        put_peer(&peer, "net.ipv6.conf.eth0.ndisc_notify=0");
        peer.run("ip", &["link", "set", "eth0", "address", "02:00:00:00:be:ef"]);
        let new = [2, 0, 0, 0, 0xbe, 0xef];
        until(&mut rx, |o| both.iter().all(|a| of(o, a).is_ok_and(|r| r.dst_mac == new))).await;
    });
}

fn put_peer(peer: &bench::Peer, setting: &str) {
    let (path, value) = setting.split_once('=').unwrap();
    peer.run("sh", &["-c", &format!("echo {value} > /proc/sys/{}", path.replace('.', "/"))]);
}

#[test]
fn a_next_hop_that_dies_is_named_and_comes_back() {
    in_namespace(|b| async move {
        let peer =
            b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::fe/64"], &["10.0.1.2/24", "2001:db8:1::2/64"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[(key("56.56.56.0/24"), via(&[("10.0.1.2", "eth1")]))]);
        wanted.resolve = ["56.56.56.1", "2001:db8:1::2"].map(ip).into();
        manager.set_wanted(wanted);
        let both = |o: &Observed| of(o, "56.56.56.1").is_ok() && of(o, "2001:db8:1::2").is_ok();
        until(&mut rx, both).await;
        peer.run("ip", &["address", "flush", "dev", "eth0", "scope", "global"]);
        let observed = until(&mut rx, |o| {
            fails_with("56.56.56.1", failed("10.0.1.2", "eth1"))(o)
                && fails_with("2001:db8:1::2", failed("2001:db8:1::2", "eth1"))(o)
        })
        .await;
        let said = of(&observed, "56.56.56.1").unwrap_err().to_string();
        assert_eq!(said, "next hop 10.0.1.2 on eth1 does not answer ARP/ND");
        peer.run("ip", &["address", "add", "10.0.1.2/24", "dev", "eth0"]);
        peer.run("ip", &["address", "add", "2001:db8:1::2/64", "dev", "eth0", "nodad"]);
        until(&mut rx, both).await;
    });
}

#[test]
fn a_next_hop_that_never_answered_is_pending_then_failed_and_stays_so() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        manager.set_wanted(resolving(&["10.0.1.99"]));
        let pending = ResolutionError::NeighbourPending { next_hop: ip("10.0.1.99"), device: "eth1".into() };
        until(&mut rx, fails_with("10.0.1.99", pending)).await;
        until(&mut rx, fails_with("10.0.1.99", failed("10.0.1.99", "eth1"))).await;
        rx.mark_unchanged();
        // It is asked again and again; that must not show.
        let before = sent("eth1");
        let again = tokio::time::timeout(std::time::Duration::from_millis(1500), rx.changed()).await;
        assert!(again.is_err(), "{:?}", rx.borrow());
        assert!(sent("eth1") > before + 3, "no longer asked");
    });
}

/// Frames that the interface has sent.
fn sent(device: &str) -> u64 {
    let links: serde_json::Value =
        serde_json::from_str(&run("ip", &["-s", "-j", "link", "show", device])).unwrap();
    links[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}

#[test]
fn carrier_and_switch_off_both_name_the_interface() {
    in_namespace(|b| async move {
        let peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[(key("56.56.56.0/24"), via(&[("10.0.1.2", "eth1")]))]);
        wanted.resolve = [ip("56.56.56.1")].into();
        manager.set_wanted(wanted);
        let down = || fails_with("56.56.56.1", ResolutionError::InterfaceDown("eth1".into()));
        let up = |o: &Observed| of(o, "56.56.56.1").is_ok();
        until(&mut rx, up).await;
        peer.run("ip", &["link", "set", "eth0", "down"]);
        let observed = until(&mut rx, down()).await;
        assert!(!observed.interfaces["eth1"].1);
        peer.run("ip", &["link", "set", "eth0", "up"]);
        until(&mut rx, up).await;
        route("link set eth1 down");
        until(&mut rx, down()).await;
        route("link set eth1 up");
        let observed = until(&mut rx, up).await;
        assert!(observed.interfaces["eth1"].1);
        drop(peer);
        until(&mut rx, down()).await;
    });
}

#[test]
fn routes_of_others_are_followed() {
    in_namespace(|b| async move {
        let _one = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let two = b.peer("eth2", &["10.0.2.1/24"], &["10.0.2.2/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        manager.set_wanted(resolving(&["56.56.56.1"]));
        until(&mut rx, fails_with("56.56.56.1", ResolutionError::NoRoute(ip("56.56.56.1")))).await;
        route("route add 56.56.56.0/24 via 10.0.1.2 mtu 1400");
        let through =
            |device: &'static str| move |o: &Observed| of(o, "56.56.56.1").is_ok_and(|r| r.device == device);
        let observed = until(&mut rx, through("eth1")).await;
        assert_eq!(of(&observed, "56.56.56.1").unwrap().mtu, 1400);
        route("route add 56.56.56.1/32 via 10.0.2.2");
        let observed = until(&mut rx, through("eth2")).await;
        assert_eq!(of(&observed, "56.56.56.1").unwrap().dst_mac, two.mac());
        route("link set eth2 mtu 1300");
        until(&mut rx, |o| of(o, "56.56.56.1").is_ok_and(|r| r.mtu == 1300)).await;
        route("route del 56.56.56.1/32");
        until(&mut rx, through("eth1")).await;
        // A policy rule may lead elsewhere.
        route("route add default via 10.0.2.2 table 99");
        route("rule add to 56.56.56.1 lookup 99");
        until(&mut rx, through("eth2")).await;
        route("rule del to 56.56.56.1 lookup 99");
        until(&mut rx, through("eth1")).await;
    });
}

#[test]
fn routes_that_lead_nowhere_say_their_kind() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::1/64"], &["10.0.1.2/24"]);
        for (family, net) in [("-4", "70.0.0"), ("-6", "2001:db8:70")] {
            let host = |n: u8| if family == "-4" { format!("{net}.{n}") } else { format!("{net}::{n}") };
            route(&format!("{family} route add blackhole {}", host(1)));
            route(&format!("{family} route add unreachable {}", host(2)));
            route(&format!("{family} route add prohibit {}", host(3)));
        }
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let kinds = [
            ("70.0.0.1", "blackhole"),
            ("70.0.0.2", "unreachable"),
            ("70.0.0.3", "prohibit"),
            ("10.0.1.1", "local"),
            ("2001:db8:70::1", "blackhole"),
            ("2001:db8:70::2", "unreachable"),
            ("2001:db8:70::3", "prohibit"),
            ("2001:db8:1::1", "local"),
        ];
        manager.set_wanted(resolving(&kinds.map(|(a, _)| a)));
        let observed = until(&mut rx, |o| o.resolved.len() == kinds.len()).await;
        for (address, kind) in kinds {
            let expected = ResolutionError::Unusable { address: ip(address), kind: kind.into() };
            assert_eq!(of(&observed, address), Err(expected));
        }
    });
}

/// Routes of two next hops: `kill` takes the one that is used away, `revive` brings it back.
fn twins(kill: fn(&bench::Peer), revive: fn(&bench::Peer, &[&str; 2])) {
    in_namespace(move |b| async move {
        let addresses = [["10.0.1.2/24", "2001:db8:1::2/64"], ["10.0.2.2/24", "2001:db8:2::2/64"]];
        let one = b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::1/64"], &addresses[0]);
        let two = b.peer("eth2", &["10.0.2.1/24", "2001:db8:2::1/64"], &addresses[1]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[
            (key("56.56.56.0/24"), via(&[("10.0.1.2", "eth1"), ("10.0.2.2", "eth2")])),
            (key("2001:db8:56::/64"), via(&[("2001:db8:1::2", "eth1"), ("2001:db8:2::2", "eth2")])),
        ]);
        let all = ["56.56.56.1", "2001:db8:56::1"];
        wanted.resolve = all.map(ip).into();
        manager.set_wanted(wanted);
        for address in all {
            let observed = until(&mut rx, |o| all.iter().all(|a| of(o, a).is_ok())).await;
            let chosen = of(&observed, address).unwrap().device;
            let (dying, other, own) =
                if chosen == "eth1" { (&one, "eth2", &addresses[0]) } else { (&two, "eth1", &addresses[1]) };
            kill(dying);
            let observed = until(&mut rx, |o| of(o, address).is_ok_and(|r| r.device == other)).await;
            let way = of(&observed, address).unwrap();
            let net = if other == "eth1" { 1 } else { 2 };
            let source =
                if way.source.is_ipv4() { format!("10.0.{net}.1") } else { format!("2001:db8:{net}::1") };
            assert_eq!((way.source, way.src_mac), (ip(&source), own_mac(other)));
            revive(dying, own);
            // IPv4 goes back to what the kernel chooses; IPv6's choice looks at the neighbours itself and may stay.
            until(&mut rx, |o| of(o, address).is_ok_and(|r| r.device == chosen || r.source.is_ipv6())).await;
        }
    });
}

#[test]
fn a_living_twin_stands_in_for_a_next_hop_that_does_not_answer() {
    twins(
        |peer| drop(peer.run("ip", &["address", "flush", "dev", "eth0", "scope", "global"])),
        |peer, addresses| {
            for address in addresses {
                peer.run("ip", &["address", "add", address, "dev", "eth0", "nodad"]);
            }
        },
    );
}

#[test]
fn a_living_twin_stands_in_for_an_interface_without_carrier() {
    twins(
        |peer| drop(peer.run("ip", &["link", "set", "eth0", "down"])),
        |peer, addresses| {
            peer.run("ip", &["link", "set", "eth0", "up"]);
            peer.run("ip", &["address", "replace", addresses[1], "dev", "eth0", "nodad"]);
        },
    );
}

#[test]
fn a_known_next_hop_is_asked_at_every_interval() {
    in_namespace(|b| async move {
        let peer = b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::1/64"], &["10.0.1.2/24", "2001:db8:1::2/64"]);
        for family in ["ipv4", "ipv6"] {
            // Reachable for an hour, as the kernel sees it: it would not ask by itself.
            bench::put(&format!("net/{family}/neigh/eth1/base_reachable_time_ms"), "3600000");
        }
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let both = ["10.0.1.2", "2001:db8:1::2"];
        manager.set_wanted(resolving(&both));
        let known = |o: &Observed| both.iter().all(|a| of(o, a).is_ok_and(|r| r.dst_mac == peer.mac()));
        until(&mut rx, known).await;
        rx.mark_unchanged();
        let before = sent("eth1");
        let mut waited = 0;
        while sent("eth1") < before + 20 {
            waited += 1;
            assert!(waited < 100, "{} frames in ten seconds", sent("eth1") - before);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(!rx.has_changed().unwrap(), "being asked is no change: {:?}", rx.borrow());
    });
}

#[test]
fn permanent_neighbours_of_others_are_used_and_left_alone() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        route("neighbour add 10.0.1.50 lladdr 02:00:00:00:00:50 dev eth1 nud permanent");
        let manager = b.manager().await;
        let mut rx = manager.observed();
        manager.set_wanted(resolving(&["10.0.1.50", "10.0.1.2"]));
        let observed = until(&mut rx, |o| of(o, "10.0.1.50").is_ok() && of(o, "10.0.1.2").is_ok()).await;
        assert_eq!(of(&observed, "10.0.1.50").unwrap().dst_mac, [2, 0, 0, 0, 0, 0x50]);
        // Several probe intervals later it is still permanent.
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        assert!(run("ip", &["neighbour", "show", "10.0.1.50"]).contains("PERMANENT"));
    });
}

#[test]
fn a_whole_fleet_of_addresses_is_resolved() {
    in_namespace(|b| async move {
        let peer = b.peer("eth1", &["10.9.0.1/16"], &["10.9.0.2/16"]);
        // Few next hops: the kernel's neighbour table is one for all namespaces and small.
        peer.run("ip", &["route", "add", "local", "10.9.1.0/24", "dev", "lo"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let gateways: Vec<String> = (0..20).map(|n| format!("10.9.1.{n}")).collect();
        let endpoint = |n: usize| (key(&format!("56.56.{n}.0/24")), via(&[(&gateways[n], "eth1")]));
        let mut wanted = routes(&(0..20).map(endpoint).collect::<Vec<_>>());
        wanted.routes.insert(key("20.20.20.1/32"), blackhole());
        wanted.resolve =
            (0..2000u16).map(|n| IpAddr::from([56, 56, (n % 20) as u8, (n / 20) as u8])).collect();
        manager.set_wanted(wanted.clone());
        let observed =
            until(&mut rx, |o| o.resolved.len() == 2000 && o.resolved.values().all(Result::is_ok)).await;
        assert!(all_installed(&wanted)(&observed));
        // Twelve of the twenty next hops gone: their addresses say so, and only they.
        peer.run("ip", &["route", "del", "local", "10.9.1.0/24", "dev", "lo"]);
        peer.run("ip", &["route", "add", "local", "10.9.1.8/29", "dev", "lo"]);
        let lost = |o: &Observed| o.resolved.values().filter(|r| r.is_err()).count();
        let observed = until(&mut rx, |o| lost(o) == 1200).await;
        assert_eq!(of(&observed, "56.56.7.1"), Err(failed("10.9.1.7", "eth1")));
        assert!(of(&observed, "56.56.8.1").is_ok());
    });
}
