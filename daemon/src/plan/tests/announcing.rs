use super::*;

#[test]
fn nothing_is_announced_before_it_was_read_back() {
    let mut world = World::of(&document());
    let first = world.plan();
    assert_eq!(word(&first, "web"), "NotProgrammed");
    assert!(first.bgp.routes.is_empty());
    assert_eq!(first.datapath.vips.len(), 1);

    world.observed.routes = arc(routed(&first.routes));
    world.observed.health = arc(probed(&first.health, Verdict::Up));
    let second = world.plan();
    assert_eq!(in_ring(&second, "web/ipip"), BACKENDS, "the ring is filled before the VIP is announced");
    assert!(second.bgp.routes.is_empty());

    world.program(&second);
    let third = world.plan();
    assert_eq!(prefixes(&third), ["20.20.20.1/32"]);
    assert_eq!(third.bgp.peers.keys().collect::<Vec<_>>(), ["r1"]);
}

/// Each fault of the node, alone, withdraws in the plan that sees it; and says its name.
#[test]
fn every_fault_withdraws_at_once() {
    type Fault = (&'static str, fn(&mut World));
    let faults: [Fault; 13] = [
        ("XdpDetached", |w| w.read_back(|r| r.attached.clear())),
        ("NoCarrier", |w| w.routes(|r| r.interfaces.extend([("eth1".to_owned(), (2, false))]))),
        ("NoCarrier", |w| w.routes(|r| r.interfaces.clear())),
        ("RouteMissing", |w| {
            w.routes(|r| r.routes_installed.retain(|k| k.prefix.addr() != ip("20.20.20.1")))
        }),
        ("NotProgrammed", |w| w.read_back(|r| r.vips.clear())),
        ("NotProgrammed", |w| w.read_back(|r| r.services.clear())),
        ("BelowMinHealthy", |w| w.read_back(|r| r.members.clear())),
        ("BelowMinHealthy", |w| w.routes(|r| r.resolved.clear())),
        ("BelowMinHealthy", |w| BACKENDS.iter().for_each(|b| w.verdict(&format!("web/{b}"), Verdict::Down))),
        ("DatapathFault", |w| w.observed.datapath.fault = Some("it does not answer".into())),
        ("Restarting", |w| w.observed.holding = true),
        ("NoSeed", |w| w.facts.seed = None),
        ("NotProgrammed", |w| w.observed.datapath.read_back = None),
    ];
    for (i, (expected, fault)) in faults.into_iter().enumerate() {
        let mut world = World::settled(&document());
        assert_eq!(word(&world.plan(), "web"), "announced");
        fault(&mut world);
        let plan = world.plan();
        assert_eq!(word(&plan, "web"), expected, "fault {i}");
        assert!(plan.bgp.routes.is_empty(), "fault {i}");
        assert!(plan.announced.is_empty(), "fault {i}");
        assert_eq!(plan.bgp.peers.len(), 1, "sessions stay up, fault {i}");
    }
}

#[test]
fn one_of_several_ingress_interfaces_may_be_down_but_not_unattached() {
    let mut world = World::of(&document());
    world.facts.ingress.push("eth2".into());
    world.settle();
    world.routes(|r| r.interfaces.extend([("eth2".to_owned(), (3, false))]));
    assert_eq!(word(&world.plan(), "web"), "announced");
    world.routes(|r| r.interfaces.extend([("eth2".to_owned(), (3, true))]));
    world.read_back(|r| {
        r.attached.remove("eth2");
        r.not_attached.insert("eth2".into(), "a foreign program is there".into());
    });
    let plan = world.plan();
    let Err(reason) = &named(&plan.vips, "web").announce else { panic!("must be withdrawn") };
    assert_eq!(reason.to_string(), "XDP is not attached to eth2: a foreign program is there");
}

#[test]
fn below_min_healthy_is_withdrawn_and_leaves_the_ring_in_the_same_plan() {
    let mut document = document();
    document.pools = vec![pool("web", &BACKENDS, 2)];
    let mut world = World::settled(&document);
    world.verdict("web/57.57.57.1", Verdict::Down);
    let plan = world.plan();
    assert_eq!(word(&plan, "web"), "announced");
    assert_eq!(in_ring(&plan, "web/ipip"), ["56.56.56.1", "58.58.58.1"]);
    world.verdict("web/58.58.58.1", Verdict::Down);
    let plan = world.plan();
    assert_eq!(word(&plan, "web"), "BelowMinHealthy");
    assert_eq!(in_ring(&plan, "web/ipip"), ["56.56.56.1"]);
    assert!(!plan.datapath.vips[&ip("20.20.20.1")].echo, "a VIP that is not healthy does not answer ping");

    world.program(&plan);
    world.verdict("web/58.58.58.1", Verdict::Up);
    let plan = world.plan();
    assert_eq!(word(&plan, "web"), "BelowMinHealthy", "not before it has slots again");
    world.program(&plan);
    assert_eq!(word(&world.plan(), "web"), "announced");
}

#[test]
fn echo_follows_its_policy() {
    for (policy, sick, well) in [
        (v1::EchoPolicy::Unspecified, false, true),
        (v1::EchoPolicy::Healthy, false, true),
        (v1::EchoPolicy::Always, true, true),
        (v1::EchoPolicy::Off, false, false),
    ] {
        let mut document = document();
        document.vips[0].spec.as_mut().unwrap().echo = policy.into();
        let mut world = World::of(&document);
        assert_eq!(world.plan().datapath.vips[&ip("20.20.20.1")].echo, sick, "{policy:?}, not announced");
        assert_eq!(world.settle().datapath.vips[&ip("20.20.20.1")].echo, well, "{policy:?}, announced");
    }
}

/// A change of an announced VIP's entries must not withdraw it while the change is on its way, and must when it failed.
#[test]
fn a_change_on_its_way_does_not_flap() {
    type Change = (&'static str, fn(&mut v1::Config));
    let changes: [Change; 4] = [
        ("service to another pool", |d| d.services[0].spec.as_mut().unwrap().pool = "other".into()),
        ("other hashing", |d| {
            d.services[0].spec.as_mut().unwrap().hashing = v1::Hashing::SourceIp.into();
        }),
        ("every backend replaced", |d| {
            d.pools[0].spec.as_mut().unwrap().backends = pool("x", &["59.59.59.1"], 1).spec.unwrap().backends;
        }),
        ("another service", |d| {
            d.services.push(service("more", "web", 9090, "other"));
            d.vips[0].spec.as_mut().unwrap().announce =
                Some(v1::AnnouncePolicy { require: 2, ..v1::AnnouncePolicy::default() });
        }),
    ];
    for (what, change) in changes {
        let mut document = document();
        document.pools.push(pool("other", &["59.59.59.1"], 1));
        document.pools.iter_mut().for_each(|p| p.spec.as_mut().unwrap().health_check = None);
        let mut world = World::settled(&document);
        world.routes(|r| drop(r.resolved.insert(ip("59.59.59.1"), Ok(way(true)))));
        change(&mut document);
        world.change(&document);
        let plan = world.plan();
        assert_eq!(word(&plan, "web"), "announced", "{what}: while it is on its way");
        // It was attempted and the maps are as before.
        world.observed.datapath.attempted = Some(arc(plan.datapath.clone()));
        let failed = word(&world.plan(), "web");
        // Hashing is not part of what can be read back of a service; its pool is.
        if what != "other hashing" {
            assert_ne!(failed, "announced", "{what}: attempted without success");
        }
        world.converge();
        assert_eq!(word(&world.plan(), "web"), "announced", "{what}: programmed");
    }
}

#[test]
fn a_new_policy_does_not_flap_either() {
    let mut document = document();
    document.vips[0].spec.as_mut().unwrap().host_address = v1::HostAddress::Loopback.into();
    let mut world = World::settled(&document);
    document.vips[0].spec.as_mut().unwrap().undefined = v1::UndefinedPolicy::Pass.into();
    world.change(&document);
    let plan = world.plan();
    assert_eq!(word(&plan, "web"), "announced");
    world.observed.datapath.attempted = Some(arc(plan.datapath.clone()));
    assert_eq!(word(&world.plan(), "web"), "NotProgrammed");
}

#[test]
fn a_vip_that_was_never_announced_gets_no_credit_for_what_is_on_its_way() {
    let mut world = World::settled(&document());
    let mut more = document();
    more.vips.push(vip("new", "20.20.20.2"));
    more.services.push(service("new", "new", 80, "web"));
    world.change(&more);
    assert_eq!(word(&world.plan(), "web"), "announced");
    assert_ne!(word(&world.plan(), "new"), "announced");
}

#[test]
fn any_or_all_services() {
    for (require, expected) in [
        (v1::announce_policy::Require::Any, "announced"),
        (v1::announce_policy::Require::All, "BelowMinHealthy"),
    ] {
        let mut document = document();
        document.pools.push(pool("api", &["59.59.59.1"], 1));
        document.services.push(service("api", "web", 9090, "api"));
        let policy = v1::AnnouncePolicy { require: require.into(), ..v1::AnnouncePolicy::default() };
        document.vips[0].spec.as_mut().unwrap().announce = Some(policy);
        let mut world = World::settled(&document);
        assert_eq!(word(&world.plan(), "web"), "announced");
        world.verdict("api/59.59.59.1", Verdict::Down);
        assert_eq!(word(&world.plan(), "web"), expected);
    }
}

#[test]
fn a_vip_without_services_is_programmed_but_not_announced() {
    let mut document = document();
    document.services.clear();
    let plan = World::of(&document).settle();
    assert_eq!(word(&plan, "web"), "NoService");
    assert_eq!(plan.datapath.vips.len(), 1);
}

#[test]
fn a_covering_prefix_is_announced_once_while_any_of_its_vips_is() {
    let mut document = document();
    document.vips.push(vip("two", "20.20.20.2"));
    document.pools.push(pool("two", &["59.59.59.1"], 1));
    document.services.push(service("two", "two", 80, "two"));
    document.vips.iter_mut().for_each(|v| v.spec.as_mut().unwrap().announce_prefix = "20.20.20.0/24".into());
    let mut world = World::settled(&document);
    assert_eq!(prefixes(&world.plan()), ["20.20.20.0/24"]);
    assert_eq!(world.plan().routes.routes.keys().filter(|k| k.prefix.prefix_len() == 32).count(), 2);
    world.verdict("two/59.59.59.1", Verdict::Down);
    assert_eq!(prefixes(&world.plan()), ["20.20.20.0/24"]);
    BACKENDS.iter().for_each(|b| world.verdict(&format!("web/{b}"), Verdict::Down));
    assert!(prefixes(&world.plan()).is_empty());
}

#[test]
fn selectors_choose_peers_and_nodes() {
    let labels = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let mut document = document();
    document.peers.push(peer("r2", "11.11.11.253"));
    document.peers[1].meta.as_mut().unwrap().labels = labels("site", "x");
    document.peers.push(peer("far", "11.11.11.252"));
    document.peers[2].spec.as_mut().unwrap().node_selector = labels("rack", "b");
    document.routes.push(route("far", "57.57.57.0/24", "32.32.32.1"));
    document.routes[1].spec.as_mut().unwrap().node_selector = labels("rack", "b");
    let policy = v1::AnnouncePolicy { peer_selector: labels("site", "x"), ..v1::AnnouncePolicy::default() };
    document.vips.push(vip("two", "20.20.20.2"));
    document.vips[1].spec.as_mut().unwrap().announce = Some(policy);
    document.services.push(service("two", "two", 80, "web"));
    let plan = World::of(&document).settle();
    assert_eq!(plan.bgp.peers.keys().collect::<Vec<_>>(), ["r1", "r2"], "`far` belongs to another rack");
    let to = |prefix: &str| plan.bgp.routes[&prefix.parse().unwrap()].peers.clone();
    assert_eq!(to("20.20.20.1/32"), None, "everyone");
    assert_eq!(to("20.20.20.2/32"), Some(BTreeSet::from(["r2".to_owned()])));
    let routes: Vec<_> = plan.routes.routes.keys().map(|k| k.prefix.to_string()).collect();
    assert_eq!(routes, ["20.20.20.1/32", "20.20.20.2/32", "56.56.56.0/24"]);
}

#[test]
fn the_peer_gets_what_the_user_said() {
    let mut document = document();
    let spec = document.peers[0].spec.as_mut().unwrap();
    spec.md5_key = "secret".into();
    spec.shutdown = true;
    spec.passive = true;
    let plan = World::of(&document).plan();
    let peer = &plan.bgp.peers["r1"];
    assert_eq!(
        (peer.enabled, peer.passive, peer.md5_key.as_deref()),
        (false, true, Some(b"secret".as_slice()))
    );
    assert_eq!(peer.remote_asn, 65001);
}

#[test]
fn attributes_are_those_of_the_vip() {
    let mut document = document();
    document.vips[0].spec.as_mut().unwrap().announce = Some(v1::AnnouncePolicy {
        communities: vec!["65001:7".into()],
        large_communities: vec!["65001:1:2".into()],
        med: Some(5),
        prepend: 2,
        ..v1::AnnouncePolicy::default()
    });
    let plan = World::of(&document).settle();
    let attributes = &plan.bgp.routes[&"20.20.20.1/32".parse().unwrap()].attributes;
    assert_eq!(attributes.communities, BTreeSet::from([bgpd::Community(65001 << 16 | 7)]));
    assert_eq!(attributes.large_communities, BTreeSet::from([bgpd::LargeCommunity(65001, 1, 2)]));
    assert_eq!((attributes.med, attributes.prepend, attributes.local_pref), (Some(5), 2, None));
}

#[test]
fn a_host_address_takes_the_place_of_the_blackhole() {
    let mut document = document();
    document.vips[0].spec.as_mut().unwrap().host_address = v1::HostAddress::Loopback.into();
    let mut world = World::settled(&document);
    let plan = world.plan();
    assert_eq!(plan.routes.host_addresses, BTreeSet::from([ip("20.20.20.1")]));
    assert!(!plan.routes.routes.keys().any(|k| k.prefix.addr() == ip("20.20.20.1")));
    assert_eq!(word(&plan, "web"), "announced");
    world.routes(|r| r.host_addresses.clear());
    assert_eq!(word(&world.plan(), "web"), "RouteMissing");
}

#[test]
fn a_conflict_is_named() {
    let mut world = World::settled(&document());
    let key = *world.plan().routes.routes.keys().next().unwrap();
    world.routes(|r| {
        r.routes_installed.remove(&key);
        r.conflicts.push(routemgr::Conflict::ForeignRoute { key, protocol: 4 });
    });
    let plan = world.plan();
    let Err(reason) = &named(&plan.vips, "web").announce else { panic!("must be withdrawn") };
    assert!(reason.to_string().contains("protocol static"), "{reason}");
}

#[test]
fn equal_arguments_give_equal_plans() {
    let mut world = World::settled(&document());
    assert_eq!(world.plan(), world.plan());
    let again = World::settled(&document()).plan();
    assert_eq!(world.plan(), again);
}
