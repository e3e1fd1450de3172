//! Routes, host addresses and sysctls in a real kernel: what is installed, kept, left alone and given back.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as the tests do.

mod bench;

use bench::{
    all_installed, blackhole, in_namespace, ip, key, ours, put, route, routes, run, sysctl, until, via,
};
use routemgr::{Conflict, Error, NextHop, Route, RouteKey, RouteKind, RouteManager, Sysctl, Wanted};
use serde_json::json;

#[test]
fn every_kind_of_route_is_installed_and_visible() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::1/64"], &["10.0.1.2/24"]);
        let _other = b.peer("eth2", &["10.0.2.1/24", "2001:db8:2::1/64"], &["10.0.2.2/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let onlink =
            NextHop { via: Some(ip("192.0.2.9")), device: Some("eth1".into()), onlink: true, weight: 1 };
        let mut weighted = via(&[("10.0.1.2", "eth1"), ("10.0.2.2", "eth2")]);
        if let RouteKind::Unicast(hops) = &mut weighted.kind {
            let heavy = hops.pop_last().unwrap();
            hops.insert(NextHop { weight: 3, ..heavy });
        }
        let wanted = routes(&[
            (key("20.20.20.1/32"), blackhole()),
            (key("2001:db8:20::1/128"), blackhole()),
            (
                key("56.56.56.0/24"),
                Route { mtu: Some(1480), advmss: Some(1440), ..via(&[("10.0.1.2", "eth1")]) },
            ),
            (key("57.57.57.0/24"), weighted),
            (key("58.58.58.0/24"), via(&[("", "eth1")])),
            (
                key("59.59.59.0/24"),
                Route { kind: RouteKind::Unicast([onlink].into()), mtu: None, advmss: None },
            ),
            (RouteKey { table: 1000, metric: 77, ..key("60.60.60.0/24") }, via(&[("10.0.1.2", "")])),
            (key("61.61.61.0/24"), via(&[("2001:db8:1::2", "eth1")])),
            (key("2001:db8:56::/64"), via(&[("2001:db8:1::2", "eth1"), ("2001:db8:2::2", "eth2")])),
            (key("2001:db8:57::/64"), via(&[("2001:db8:1::2", "")])),
            (RouteKey { metric: 5, ..key("2001:db8:58::/64") }, via(&[("", "eth2")])),
        ]);
        manager.set_wanted(wanted.clone());
        let observed = until(&mut rx, all_installed(&wanted)).await;
        assert_eq!((&observed.conflicts[..], observed.drift_repaired), (&[][..], 0));

        let seen = ours();
        assert_eq!(seen.len(), wanted.routes.len(), "{seen:#?}");
        for vip in ["20.20.20.1", "2001:db8:20::1"] {
            assert_eq!(seen[vip]["type"], "blackhole");
        }
        let single = &seen["56.56.56.0/24"];
        assert_eq!((&single["gateway"], &single["dev"]), (&json!("10.0.1.2"), &json!("eth1")));
        assert_eq!(
            (&single["metrics"][0]["mtu"], &single["metrics"][0]["advmss"]),
            (&json!(1480), &json!(1440))
        );
        let hops = seen["57.57.57.0/24"]["nexthops"].as_array().unwrap();
        let hop = |n: usize| (hops[n]["gateway"].clone(), hops[n]["dev"].clone(), hops[n]["weight"].clone());
        assert_eq!(hop(0), (json!("10.0.1.2"), json!("eth1"), json!(1)));
        assert_eq!(hop(1), (json!("10.0.2.2"), json!("eth2"), json!(3)));
        assert_eq!(seen["58.58.58.0/24"]["scope"], "link");
        assert_eq!(seen["59.59.59.0/24"]["flags"], json!(["onlink"]));
        let table = &seen["60.60.60.0/24"];
        assert_eq!((&table["table"], &table["metric"]), (&json!("1000"), &json!(77)));
        assert_eq!(seen["61.61.61.0/24"]["via"], json!({"family": "inet6", "host": "2001:db8:1::2"}));
        assert_eq!(seen["2001:db8:56::/64"]["nexthops"].as_array().unwrap().len(), 2);

        // Another set: one changed, one of another kind, the rest gone.
        let wanted = routes(&[
            (key("20.20.20.1/32"), via(&[("10.0.1.2", "eth1")])),
            (key("2001:db8:20::1/128"), via(&[("2001:db8:1::2", "eth1")])),
            (key("57.57.57.0/24"), via(&[("10.0.2.2", "eth2")])),
            (key("2001:db8:56::/64"), blackhole()),
        ]);
        manager.set_wanted(wanted.clone());
        let observed = until(&mut rx, all_installed(&wanted)).await;
        assert_eq!(observed.drift_repaired, 0, "what the caller changes is no drift");
        let seen = ours();
        assert_eq!(
            seen.keys().collect::<Vec<_>>(),
            ["20.20.20.1", "2001:db8:20::1", "2001:db8:56::/64", "57.57.57.0/24"]
        );
        assert_eq!(seen["57.57.57.0/24"]["gateway"], "10.0.2.2");
    });
}

#[test]
fn foreign_routes_are_named_and_never_touched() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        route("route add 56.56.56.0/24 via 10.0.1.2 proto static");
        route("-6 route add blackhole 2001:db8:20::1/128 proto bird");
        let before = run("ip", &["route", "show", "table", "all"])
            + &run("ip", &["-6", "route", "show", "proto", "bird"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let (v4, v6) = (key("56.56.56.0/24"), key("2001:db8:20::1/128"));
        let wanted = routes(&[
            (v4, via(&[("10.0.1.2", "eth1")])),
            (v6, blackhole()),
            (key("20.20.20.1/32"), blackhole()),
        ]);
        manager.set_wanted(wanted.clone());
        let observed = until(&mut rx, |o| o.conflicts.len() == 2).await;
        assert!(
            observed.conflicts.contains(&Conflict::ForeignRoute { key: v4, protocol: 4 }),
            "{observed:?}"
        );
        assert!(
            observed.conflicts.contains(&Conflict::ForeignRoute { key: v6, protocol: 12 }),
            "{observed:?}"
        );
        assert_eq!(observed.routes_installed, [key("20.20.20.1/32")].into());
        route("route del blackhole 20.20.20.1/32 proto 175");
        until(&mut rx, |o| o.drift_repaired == 1).await;
        let now = run("ip", &["route", "show", "table", "all"])
            + &run("ip", &["-6", "route", "show", "proto", "bird"]);
        assert_eq!(now.replace("blackhole 20.20.20.1 proto 175 \n", ""), before);

        // When they go, ours come, without waiting for a resync.
        route("route del 56.56.56.0/24 proto static");
        route("-6 route del blackhole 2001:db8:20::1/128 proto bird");
        let observed = until(&mut rx, all_installed(&wanted)).await;
        assert_eq!(observed.conflicts, []);

        // A foreign hand that replaces ours by its own stands in the way again, and is named.
        route("route replace 56.56.56.0/24 via 10.0.1.2 proto static");
        let observed = until(&mut rx, |o| !o.conflicts.is_empty()).await;
        assert_eq!(observed.conflicts, [Conflict::ForeignRoute { key: v4, protocol: 4 }]);
        assert!(!observed.routes_installed.contains(&v4));
        manager.uninstall().await.unwrap();
        assert_eq!(ours().len(), 0);
        assert!(run("ip", &["route", "show", "proto", "static"]).contains("56.56.56.0/24"));
    });
}

#[test]
fn drift_is_repaired_at_once_and_counted() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let wanted = routes(&[
            (key("20.20.20.1/32"), blackhole()),
            (key("2001:db8:20::1/128"), blackhole()),
            (key("56.56.56.0/24"), via(&[("10.0.1.2", "eth1")])),
        ]);
        manager.set_wanted(wanted.clone());
        until(&mut rx, all_installed(&wanted)).await;
        for (drift, command) in [
            "route del blackhole 20.20.20.1/32",
            "-6 route del blackhole 2001:db8:20::1/128",
            "route change 56.56.56.0/24 via 10.0.1.77 proto 175",
            "route change 56.56.56.0/24 via 10.0.1.2 mtu 1300 proto 175",
        ]
        .iter()
        .enumerate()
        {
            route(command);
            let observed = until(&mut rx, |o| o.drift_repaired == drift as u64 + 1).await;
            assert_eq!(observed.routes_installed.len(), 3, "{command}");
        }
        let seen = ours();
        assert_eq!(seen["56.56.56.0/24"]["gateway"], "10.0.1.2");
        assert!(seen["56.56.56.0/24"].get("metrics").is_none_or(|m| m[0].get("mtu").is_none()));
    });
}

#[test]
fn routes_wait_for_their_interface_and_come_back_with_it() {
    in_namespace(|b| async move {
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let wanted = routes(&[(key("56.56.56.0/24"), via(&[("10.0.1.2", "eth1")]))]);
        manager.set_wanted(wanted.clone());
        let observed = until(&mut rx, |o| !o.conflicts.is_empty()).await;
        assert_eq!(
            observed.conflicts[0].to_string(),
            "56.56.56.0/24 via 10.0.1.2 dev eth1: there is no interface eth1"
        );
        let _peer = b.peer("eth1", &[], &["10.0.1.2/24"]);
        let refused =
            |o: &routemgr::Observed| o.conflicts.iter().any(|c| c.to_string().contains("unreachable"));
        let observed = until(&mut rx, refused).await;
        // The kernel's own words come along.
        let said =
            "56.56.56.0/24 via 10.0.1.2 dev eth1: Network is unreachable (Nexthop has invalid gateway)";
        assert_eq!(observed.conflicts[0].to_string(), said);
        route("address add 10.0.1.1/24 dev eth1");
        let observed = until(&mut rx, all_installed(&wanted)).await;
        assert_eq!(observed.conflicts, []);
        route("link set eth1 down");
        until(&mut rx, |o| o.routes_installed.is_empty()).await;
        route("link set eth1 up");
        until(&mut rx, all_installed(&wanted)).await;
        // IPv4 routes die with the address that makes their gateway reachable, and the kernel says nothing.
        route("address del 10.0.1.1/24 dev eth1");
        until(&mut rx, |o| o.routes_installed.is_empty()).await;
        route("address add 10.0.1.1/24 dev eth1");
        until(&mut rx, all_installed(&wanted)).await;
    });
}

/// The kernel's announcements overrun while the manager is kept from reading them: the change among them is lost, and
/// found again by reading everything, long before the next resync.
#[test]
fn lost_announcements_are_made_up_for() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[(key("20.20.20.1/32"), blackhole())]);
        wanted.resolve = [ip("77.77.77.77")].into();
        manager.set_wanted(wanted.clone());
        until(&mut rx, all_installed(&wanted)).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        let flood: String = (0..20_000)
            .map(|n| format!("route add 80.{}.{}.0/24 via 10.0.1.2\n", n / 256, n % 256))
            .collect();
        let last = "route del blackhole 20.20.20.1/32\nroute add 77.77.77.0/24 via 10.0.1.2\n";
        std::fs::write(file.path(), flood + last).unwrap();
        // The one thread of this test's runtime waits here, and the manager with it.
        run("ip", &["-batch", file.path().to_str().unwrap()]);
        let repaired =
            |o: &routemgr::Observed| o.drift_repaired == 1 && o.resolved[&ip("77.77.77.77")].is_ok();
        let observed = until(&mut rx, repaired).await;
        assert!(all_installed(&wanted)(&observed));
    });
}

#[test]
fn a_restart_touches_nothing_and_sweeps_what_is_left_over() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let wanted = routes(&[
            (key("20.20.20.1/32"), blackhole()),
            (key("56.56.56.0/24"), via(&[("10.0.1.2", "eth1")])),
        ]);
        let first = b.manager().await;
        let mut rx = first.observed();
        first.set_wanted(wanted.clone());
        until(&mut rx, all_installed(&wanted)).await;
        drop(first);
        route("route add blackhole 99.99.99.99/32 proto 175");
        let second = b.manager().await;
        let mut rx = second.observed();
        assert_eq!(ours().len(), 3, "nothing is changed before the first wanted set");
        second.set_wanted(wanted.clone());
        let observed = until(&mut rx, all_installed(&wanted)).await;
        assert_eq!((observed.drift_repaired, &observed.conflicts[..]), (0, &[][..]));
        assert_eq!(ours().keys().collect::<Vec<_>>(), ["20.20.20.1", "56.56.56.0/24"]);
    });
}

#[test]
fn host_addresses_are_marked_and_foreign_ones_left() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24", "30.30.30.3/32", "2001:db8:1::1/64"], &["10.0.1.2/24"]);
        route("address add 30.30.30.2/32 dev lo");
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let list = ["30.30.30.1", "30.30.30.2", "30.30.30.3", "2001:db8:30::1"].map(ip);
        let wanted = Wanted { host_addresses: list.into(), ..Wanted::default() };
        manager.set_wanted(wanted.clone());
        let observed = until(&mut rx, |o| o.host_addresses.len() == 2).await;
        assert_eq!(observed.host_addresses, [ip("30.30.30.1"), ip("2001:db8:30::1")].into());
        let conflict =
            |address, device: &str| Conflict::ForeignAddress { address: ip(address), device: device.into() };
        assert_eq!(observed.conflicts, [conflict("30.30.30.2", "lo"), conflict("30.30.30.3", "eth1")]);
        let shown = run("ip", &["address", "show", "dev", "lo"]);
        assert!(shown.contains("30.30.30.1/32 scope host lo:vipcast"), "{shown}");
        assert!(shown.contains("2001:db8:30::1/128"), "{shown}");
        // Never the source of the node's own connections.
        route("-6 route add 2001:db8:99::/64 dev eth1");
        assert!(run("ip", &["-6", "route", "get", "2001:db8:99::1"]).contains("src 2001:db8:1::1"));

        route("address del 30.30.30.1/32 dev lo");
        until(&mut rx, |o| o.drift_repaired == 1 && o.host_addresses.len() == 2).await;
        drop(manager);
        let manager = b.manager().await;
        manager.set_wanted(wanted);
        let mut rx = manager.observed();
        until(&mut rx, |o| o.host_addresses.len() == 2).await;
        manager.uninstall().await.unwrap();
        let shown = run("ip", &["address", "show", "dev", "lo"]);
        assert!(!shown.contains("30.30.30.1") && !shown.contains("2001:db8:30::1"), "{shown}");
        assert!(shown.contains("30.30.30.2/32"), "{shown}");
    });
}

#[test]
fn sysctls_are_set_kept_and_given_back() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        let old = [
            ("net/ipv4/conf/all/rp_filter", "2"),
            ("net/ipv4/conf/eth1/rp_filter", "1"),
            ("net/ipv4/conf/all/send_redirects", "1"),
            ("net/ipv4/conf/default/send_redirects", "1"),
            ("net/ipv4/conf/eth1/send_redirects", "1"),
            ("net/ipv4/conf/eth1/accept_redirects", "1"),
            ("net/ipv6/conf/eth1/accept_redirects", "1"),
        ];
        for (path, value) in old {
            put(path, value);
        }
        put("net/ipv4/ip_forward", "0");
        put("net/ipv4/conf/all/accept_redirects", "1");
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut sysctls = Sysctl::forwarding();
        sysctls.insert(Sysctl("net/ipv4/conf/eth1/arp_ignore".into()), "1".into());
        sysctls.insert(Sysctl("net/ipv4/no_such_thing".into()), "1".into());
        let interfaces = ["eth1".to_owned(), "eth9".to_owned()].into();
        manager.set_wanted(Wanted { interfaces, sysctls, ..Wanted::default() });
        let observed = until(&mut rx, |o| o.conflicts.len() == 2).await;
        let said: Vec<_> = observed.conflicts.iter().map(ToString::to_string).collect();
        assert!(
            said.iter().any(|c| c.starts_with("sysctl net/ipv4/no_such_thing cannot be set to 1")),
            "{said:?}"
        );
        assert!(said.contains(&"interface eth9: there is no such interface".into()), "{said:?}");
        for (path, _) in old {
            assert_eq!(sysctl(path), "0", "{path}");
        }
        assert_eq!(sysctl("net/ipv4/ip_forward"), "1");
        assert_eq!(sysctl("net/ipv4/conf/all/accept_redirects"), "0");
        assert_eq!(sysctl("net/ipv4/conf/eth1/arp_ignore"), "1");

        drop(manager);
        let manager = b.manager().await;
        manager.uninstall().await.unwrap();
        for (path, value) in old {
            assert_eq!(sysctl(path), value, "{path}");
        }
        assert_eq!(sysctl("net/ipv4/ip_forward"), "0");
        assert_eq!(sysctl("net/ipv4/conf/all/accept_redirects"), "1");
        assert_eq!(sysctl("net/ipv4/conf/eth1/arp_ignore"), "0");
        assert!(!b.options().saved_sysctls.exists());
    });
}

#[test]
fn an_interface_that_comes_later_gets_its_sysctls() {
    in_namespace(|b| async move {
        let manager = b.manager().await;
        let mut rx = manager.observed();
        manager.set_wanted(Wanted { interfaces: ["eth1".to_owned()].into(), ..Wanted::default() });
        until(&mut rx, |o| !o.conflicts.is_empty()).await;
        put("net/ipv4/conf/default/rp_filter", "1");
        let _peer = b.peer("eth1", &["10.0.1.1/24"], &["10.0.1.2/24"]);
        until(&mut rx, |o| o.conflicts.is_empty()).await;
        assert_eq!(sysctl("net/ipv4/conf/eth1/rp_filter"), "0");
    });
}

#[test]
fn uninstall_leaves_nothing() {
    in_namespace(|b| async move {
        let _peer = b.peer("eth1", &["10.0.1.1/24", "2001:db8:1::1/64"], &["10.0.1.2/24"]);
        let all = || {
            let words = ["-d", "route", "show", "table", "all"];
            let v6: Vec<_> = ["-6"].iter().chain(&words).copied().collect();
            run("ip", &words) + &run("ip", &v6) + &run("ip", &["address", "show", "dev", "lo"])
        };
        // The kernel makes a new interface's routes one after another, and marks them until both ends have carrier.
        let mut before = all();
        while before.contains("linkdown") || before.matches("ff00::/8 dev eth1").count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            before = all();
        }
        let manager = b.manager().await;
        let mut rx = manager.observed();
        let mut wanted = routes(&[
            (key("20.20.20.1/32"), blackhole()),
            (key("2001:db8:20::1/128"), blackhole()),
            (RouteKey { table: 1000, ..key("56.56.56.0/24") }, via(&[("10.0.1.2", "eth1")])),
            (key("2001:db8:56::/64"), via(&[("2001:db8:1::2", "eth1"), ("2001:db8:1::3", "eth1")])),
        ]);
        wanted.host_addresses = [ip("20.20.20.1"), ip("2001:db8:20::1")].into();
        manager.set_wanted(wanted.clone());
        until(&mut rx, |o| all_installed(&wanted)(o) && o.host_addresses.len() == 2).await;
        assert_ne!(all(), before);
        manager.uninstall().await.unwrap();
        assert_eq!(all(), before);
    });
}

/// The test runs itself again without CAP_NET_ADMIN.
#[test]
fn without_rights_nothing_is_half_done() {
    const INNER: &str = "VIPCAST_TEST_WITHOUT_RIGHTS";
    if let Some(state) = std::env::var_os(INNER) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = routemgr::Options::new(std::path::PathBuf::from(&state).join("saved"));
        let error = runtime.block_on(RouteManager::start(options)).err();
        assert!(matches!(error, Some(Error::NotPermitted)), "{error:?}");
        return;
    }
    in_namespace(|_| async {
        let state = tempfile::tempdir().unwrap();
        let before = run("ip", &["route", "show", "table", "all"]);
        let output = std::process::Command::new("setpriv")
            .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "without_rights_nothing_is_half_done", "--nocapture"])
            .env(INNER, state.path())
            .output()
            .expect("setpriv (util-linux) starts");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        assert_eq!(run("ip", &["route", "show", "table", "all"]), before);
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
    });
}
