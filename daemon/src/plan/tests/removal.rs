use super::*;

const VIP: &str = "20.20.20.1";

/// What `before` had and `after` has not goes on until 30 s from now.
fn remove(world: &mut World, closure: &v1::Config, after: &v1::Config) {
    let desired = api::desired(closure).expect("a legal closure");
    world.intent.lingering.push(Lingering { until: world.now + std::time::Duration::from_secs(30), desired });
    world.change(after);
}

fn only_peers() -> v1::Config {
    v1::Config { peers: document().peers, ..v1::Config::default() }
}

#[test]
fn a_removed_vip_is_withdrawn_serves_on_and_then_goes() {
    let mut world = World::settled(&document());
    let closure = v1::Config { peers: Vec::new(), ..document() };
    remove(&mut world, &closure, &only_peers());
    let plan = world.plan();
    assert!(plan.bgp.routes.is_empty() && plan.vips.is_empty());
    assert_eq!(plan.next_removal, Some(at(30)));
    assert!(!plan.datapath.vips[&ip(VIP)].echo);
    assert_eq!(plan.datapath.services.len(), 1, "routers may still send for a while");
    assert_eq!(in_ring(&plan, "web/ipip"), BACKENDS);
    assert_eq!(plan.routes.routes.len(), 2, "blackhole and endpoint route stay");
    assert_eq!(plan.health.targets.len(), 3, "a server that dies now must leave the ring all the same");

    world.verdict("web/56.56.56.1", Verdict::Down);
    assert_eq!(in_ring(&world.plan(), "web/ipip"), BACKENDS[1..]);

    world.now = at(30);
    let plan = world.plan();
    assert_eq!(plan.next_removal, None);
    assert!(plan.datapath.vips.is_empty() && plan.datapath.services.is_empty());
    assert!(
        plan.routes.routes.is_empty() && plan.routes.resolve.is_empty() && plan.health.targets.is_empty()
    );
    assert_eq!(plan.bgp.peers.len(), 1);
}

#[test]
fn adding_again_cancels_the_removal() {
    let mut world = World::settled(&document());
    remove(&mut world, &v1::Config { peers: Vec::new(), ..document() }, &only_peers());
    let gone = world.converge();
    assert!(gone.bgp.routes.is_empty());
    world.change(&document());
    let plan = world.converge();
    assert_eq!(word(&plan, "web"), "announced");
    world.now = at(31);
    assert_eq!(word(&world.plan(), "web"), "announced");
    assert_eq!(world.plan().datapath.services.len(), 1);
}

#[test]
fn a_removed_service_goes_at_once_when_its_vip_stays_announced() {
    let mut both = document();
    both.services.push(service("more", "web", 9090, "web"));
    let mut world = World::settled(&both);
    let closure = v1::Config {
        vips: both.vips.clone(),
        pools: both.pools.clone(),
        services: vec![both.services[1].clone()],
        ..v1::Config::default()
    };
    remove(&mut world, &closure, &document());
    let plan = world.plan();
    assert_eq!(word(&plan, "web"), "announced");
    assert_eq!(plan.datapath.services.len(), 1);
}

#[test]
fn a_removed_service_that_takes_its_vip_along_serves_on() {
    let mut world = World::settled(&document());
    let mut after = document();
    after.services.clear();
    after.pools.clear();
    remove(&mut world, &v1::Config { peers: Vec::new(), routes: Vec::new(), ..document() }, &after);
    let plan = world.plan();
    assert_eq!(word(&plan, "web"), "NoService");
    assert_eq!(plan.datapath.services.len(), 1);
    assert_eq!(in_ring(&plan, "web/ipip"), BACKENDS, "from the pool as it was");
    assert!(plan.pools.is_empty(), "which is no longer a pool that users see");
}

#[test]
fn what_is_desired_knows_better_than_what_lingers() {
    let mut world = World::settled(&document());
    let mut after = document();
    after.services.clear();
    after.pools = vec![pool("web", &BACKENDS[..1], 1)];
    remove(&mut world, &v1::Config { peers: Vec::new(), routes: Vec::new(), ..document() }, &after);
    let plan = world.plan();
    assert_eq!(in_ring(&plan, "web/ipip"), BACKENDS[..1], "the pool as it is now");
}
