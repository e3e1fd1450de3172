use super::*;

use ::datapath::{BackendId, PoolName};
use routemgr::ResolutionError;

#[test]
fn a_backend_needs_readiness_health_and_a_way() {
    let admin = |state: v1::AdminState| {
        move |d: &mut v1::Config| d.pools[0].spec.as_mut().unwrap().backends[0].admin_state = state.into()
    };
    type Case = (&'static str, Box<dyn Fn(&mut v1::Config)>, fn(&mut World), &'static str);
    let nothing = |_: &mut v1::Config| {};
    let cases: [Case; 7] = [
        ("ready", Box::new(nothing), |_| {}, ""),
        ("disabled", Box::new(admin(v1::AdminState::Disabled)), |_| {}, "it is disabled"),
        ("draining", Box::new(admin(v1::AdminState::Drain)), |_| {}, "it is being drained"),
        (
            "down",
            Box::new(nothing),
            |w| w.verdict("web/56.56.56.1", Verdict::Down),
            "health check fails: connection refused",
        ),
        (
            "not probed",
            Box::new(nothing),
            |w| w.verdict("web/56.56.56.1", Verdict::Unknown),
            "it was not probed often enough yet",
        ),
        (
            "no route",
            Box::new(nothing),
            |w| {
                w.routes(|r| {
                    drop(r.resolved.insert(ip("56.56.56.1"), Err(ResolutionError::NoRoute(ip("56.56.56.1")))))
                })
            },
            "no route to 56.56.56.1",
        ),
        (
            "not looked at",
            Box::new(nothing),
            |w| w.routes(|r| drop(r.resolved.remove(&ip("56.56.56.1")))),
            "not resolved yet",
        ),
    ];
    for (case, change, fault, why) in cases {
        let mut document = document();
        change(&mut document);
        let mut world = World::settled(&document);
        fault(&mut world);
        let plan = world.converge();
        let expected = if why.is_empty() { BACKENDS.as_slice() } else { &BACKENDS[1..] };
        assert_eq!(in_ring(&plan, "web/ipip"), expected, "{case}");
        assert_eq!(word(&plan, "web"), "announced", "{case}: one backend never takes the VIP down");
        let judged = &named(&plan.pools, "web").ways[&Forwarding::IpIp][&ip("56.56.56.1")];
        let said = judged.usable.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(said, why, "{case}");
    }
}

#[test]
fn what_is_disabled_is_neither_probed_nor_resolved_and_what_is_drained_is() {
    for (state, probed) in [(v1::AdminState::Disabled, false), (v1::AdminState::Drain, true)] {
        let mut document = document();
        document.pools[0].spec.as_mut().unwrap().backends[0].admin_state = state.into();
        let plan = World::of(&document).plan();
        assert_eq!(plan.routes.resolve.contains(&ip("56.56.56.1")), probed);
        assert_eq!(plan.health.targets.contains_key(&health::Target("web/56.56.56.1".into())), probed);
    }
}

#[test]
fn without_a_check_a_backend_is_healthy_once_it_is_resolved() {
    let mut document = document();
    document.pools[0].spec.as_mut().unwrap().health_check = None;
    let plan = World::of(&document).settle();
    assert!(plan.health.targets.is_empty());
    assert_eq!(in_ring(&plan, "web/ipip"), BACKENDS);
}

#[test]
fn probes_are_what_the_user_said() {
    let mut document = document();
    let check = document.pools[0].spec.as_mut().unwrap().health_check.as_mut().unwrap();
    check.probe = Some(v1::health_check::Probe::Http(v1::HttpProbe { port: 80, ..v1::HttpProbe::default() }));
    check.fall = Some(5);
    document.pools[0].spec.as_mut().unwrap().backends[0].address = "2001:db8::1".into();
    let plan = World::of(&document).plan();
    let check = &plan.health.targets[&health::Target("web/2001:db8::1".into())];
    let health::Probe::Http { address, host, path, expect_status, .. } = &check.probe else { panic!("HTTP") };
    assert_eq!(
        (address.to_string().as_str(), host.as_str(), path.as_str()),
        ("[2001:db8::1]:80", "[2001:db8::1]", "/")
    );
    assert_eq!(expect_status, &[(200, 399)]);
    assert_eq!((check.fall, check.initial), (5, Verdict::Unknown));
}

#[test]
fn l2_wants_a_shared_segment_and_names_the_gateway() {
    let mut document = document();
    document.services[0].spec.as_mut().unwrap().forwarding = v1::Forwarding::L2.into();
    let mut world = World::settled(&document);
    assert_eq!(in_ring(&world.plan(), "web/l2"), BACKENDS);
    world.routes(|r| drop(r.resolved.insert(ip("56.56.56.1"), Ok(way(false)))));
    let plan = world.converge();
    assert_eq!(in_ring(&plan, "web/l2"), BACKENDS[1..]);
    let pool = &plan.datapath.pools[&PoolName("web/l2".into())];
    assert_eq!(pool.backends[&BackendId(ip("56.56.56.1"))].egress, None);
    let judged = &named(&plan.pools, "web").ways[&Forwarding::L2][&ip("56.56.56.1")];
    assert!(judged.usable.as_ref().unwrap_err().to_string().contains("behind the gateway 31.31.31.1"));
}

#[test]
fn services_share_a_pool_for_each_way_to_forward() {
    let mut document = document();
    document.services.push(service("more", "web", 9090, "web"));
    document.services.push(service("near", "web", 9091, "web"));
    document.services[2].spec.as_mut().unwrap().forwarding = v1::Forwarding::L2.into();
    let plan = World::of(&document).settle();
    let pools: Vec<_> = plan.datapath.pools.keys().map(|p| p.0.as_str()).collect();
    assert_eq!(pools, ["web/ipip", "web/l2"]);
    assert_eq!(plan.datapath.services.len(), 3);
}

#[test]
fn the_ring_follows_max_backends_and_nothing_else() {
    for (max_backends, bits) in [(0, 14), (128, 14), (300, 15), (4096, 19)] {
        let mut document = document();
        document.pools[0].spec.as_mut().unwrap().max_backends = max_backends;
        let mut world = World::settled(&document);
        let pool = PoolName("web/ipip".into());
        assert_eq!(world.plan().datapath.pools[&pool].ring_bits, bits, "{max_backends}");
        BACKENDS.iter().for_each(|b| world.verdict(&format!("web/{b}"), Verdict::Down));
        assert_eq!(world.plan().datapath.pools[&pool].ring_bits, bits, "{max_backends}, all down");
    }
}

#[test]
fn the_egress_is_the_way_and_its_mtu_the_least() {
    let mut document = document();
    document.pools[0].spec.as_mut().unwrap().backends[0].tunnel_mtu = Some(1400);
    document.pools[0].spec.as_mut().unwrap().backends[1].tunnel_mtu = Some(9000);
    let plan = World::of(&document).settle();
    let pool = &plan.datapath.pools[&PoolName("web/ipip".into())];
    let egress = |address: &str| pool.backends[&BackendId(ip(address))].egress.clone().unwrap();
    assert_eq!(egress("56.56.56.1").mtu, 1400);
    assert_eq!(egress("57.57.57.1").mtu, 1500);
    let tunnel = ::datapath::Forwarding::IpIp { source: ip("31.31.31.9"), destination: ip("56.56.56.1") };
    assert_eq!(egress("56.56.56.1").forwarding, tunnel);
    assert_eq!(egress("56.56.56.1").dst_mac, [2, 0, 0, 0, 0, 2]);
}

#[test]
fn an_ipv6_vip_may_have_ipv4_backends() {
    let mut document = document();
    document.vips[0].spec.as_mut().unwrap().address = "2001:db8:20::1".into();
    let plan = World::of(&document).settle();
    assert_eq!(prefixes(&plan), ["2001:db8:20::1/128"]);
    assert_eq!(in_ring(&plan, "web/ipip"), BACKENDS);
}

#[test]
fn any_port_and_source_hashing_reach_the_datapath() {
    let mut document = document();
    let spec = document.services[0].spec.as_mut().unwrap();
    (spec.port, spec.all_ports, spec.hashing) = (0, true, v1::Hashing::SourceIp.into());
    let plan = World::of(&document).plan();
    let (id, spec) = plan.datapath.services.first_key_value().unwrap();
    assert_eq!((id.port, spec.hash_source), (0, true));
}

#[test]
fn without_a_seed_vips_are_guarded_but_nothing_is_served() {
    let mut world = World::of(&document());
    world.facts.seed = None;
    let plan = world.settle();
    assert_eq!(plan.datapath.vips.len(), 1, "stray traffic is still dropped");
    assert!(plan.datapath.services.is_empty() && plan.datapath.pools.is_empty());
}

#[test]
fn after_a_restart_a_backend_that_had_slots_is_up_until_a_probe_says_otherwise() {
    let mut world = World::of(&document());
    let target = health::Target("web/56.56.56.1".into());
    world.observed.adopted.insert(target.clone());
    let first = world.plan();
    assert_eq!(first.health.targets[&target].initial, Verdict::Up);
    assert_eq!(first.health.targets[&health::Target("web/57.57.57.1".into())].initial, Verdict::Unknown);
    world.observed.routes = arc(routed(&first.routes));
    assert_eq!(in_ring(&world.plan(), "web/ipip"), ["56.56.56.1"], "the checker has not spoken yet");
    world.verdict("web/56.56.56.1", Verdict::Down);
    assert!(in_ring(&world.plan(), "web/ipip").is_empty());
}
