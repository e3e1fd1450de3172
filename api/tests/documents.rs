//! Documents that must be refused, each with the path of what is wrong; and what a legal one becomes.

// clippy knows test functions, not what they call.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod support;

use std::time::Duration;

use api::{
    Kind, Resource, apply_document, apply_one, changes, desired, desired_update, normalized, users_of,
};
use model::{ServicePort, Violations};
use proto::v1;
use support::document;

/// A legal document, changed, must have exactly these violations: path and a part of the message.
#[track_caller]
fn refused(change: impl FnOnce(&mut v1::Config), expected: &[(&str, &str)]) {
    let mut config = document();
    change(&mut config);
    compare(&desired(&config).unwrap_err(), expected);
}

#[track_caller]
fn compare(violations: &Violations, expected: &[(&str, &str)]) {
    let fields: Vec<&str> = violations.0.iter().map(|it| it.field.as_str()).collect();
    let wanted: Vec<&str> = expected.iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, wanted, "{violations}");
    for (violation, (_, part)) in violations.0.iter().zip(expected) {
        assert!(violation.message.contains(part), "{violation:?} lacks {part:?}");
    }
}

fn vip(config: &mut v1::Config) -> &mut v1::VipSpec {
    config.vips[0].spec.as_mut().unwrap()
}

fn pool(config: &mut v1::Config) -> &mut v1::PoolSpec {
    config.pools[0].spec.as_mut().unwrap()
}

fn service(config: &mut v1::Config) -> &mut v1::ServiceSpec {
    config.services[0].spec.as_mut().unwrap()
}

fn peer(config: &mut v1::Config) -> &mut v1::PeerSpec {
    config.peers[0].spec.as_mut().unwrap()
}

fn route(config: &mut v1::Config) -> &mut v1::EndpointRouteSpec {
    config.routes[0].spec.as_mut().unwrap()
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[test]
fn defaults() {
    let desired = desired(&document()).unwrap();
    let vip = desired.vips.values().next().unwrap();
    assert_eq!(vip.prefix.to_string(), "20.20.20.1/32");
    let pool = desired.pools.values().next().unwrap();
    assert_eq!((pool.min_healthy, pool.max_backends, pool.backends.len()), (1, 128, 3));
    let check = pool.health_check.as_ref().unwrap();
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!((check.rise, check.fall), (2, 3));
    let service = desired.services.values().next().unwrap();
    assert_eq!(service.port, ServicePort::Exact(8080.try_into().unwrap()));
    let peer = desired.peers.values().next().unwrap();
    assert_eq!((peer.port, peer.hold, peer.keepalive), (179, Duration::from_secs(9), Duration::from_secs(3)));
    assert!(peer.ipv4_unicast && peer.ipv6_unicast);
    let route = desired.routes.values().next().unwrap();
    assert_eq!((route.table, route.metric), (254, 0));
}

#[test]
fn all_violations_at_once() {
    refused(
        |config| {
            vip(config).address = "20.20.20.300".into();
            vip(config).undefined = v1::UndefinedPolicy::Pass.into();
            pool(config).backends[1].address = "56.56.56.1".into();
            pool(config).backends[2].weight = Some(0);
            pool(config).min_healthy = Some(4);
            service(config).forwarding = 0;
            peer(config).hold_time = seconds(2);
            peer(config).remote_asn = 0;
            route(config).prefix = "56.56.56.1/24".into();
            config.routes[0].meta = None;
        },
        &[
            ("vips[0].spec.address", "is not an IPv4 or IPv6 address"),
            ("vips[0].spec.undefined", "set host_address to loopback"),
            ("pools[0].spec.backends[2].weight", "out of range: 1 to 1000"),
            ("pools[0].spec.backends[1].address", "already in this list, at index 0"),
            ("pools[0].spec.min_healthy", "never be reached with 3 backends"),
            ("services[0].spec.forwarding", "l2"),
            ("peers[0].spec.remote_asn", "is required"),
            ("peers[0].spec.hold_time", "3s (or 0s"),
            ("routes[0].meta.name", "is required"),
            ("routes[0].spec.prefix", "write 56.56.56.0/24"),
        ],
    );
}

#[test]
fn vips() {
    refused(|c| c.vips[0].spec = None, &[("vips[0].spec", "is required")]);
    refused(
        |c| vip(c).undefined = v1::UndefinedPolicy::Reject.into(),
        &[("vips[0].spec.undefined", "reject is not supported by this version: use drop")],
    );
    refused(|c| vip(c).echo = 77, &[("vips[0].spec.echo", "77 is not a value of EchoPolicy")]);
    refused(
        |c| vip(c).announce_prefix = "20.20.21.0/24".into(),
        &[("vips[0].spec.announce_prefix", "outside")],
    );
    refused(
        |c| {
            let policy = vip(c).announce.get_or_insert_default();
            policy.communities = vec!["65000:1".into(), "x".into()];
            policy.prepend = 300;
        },
        &[
            ("vips[0].spec.announce.communities[1]", "is not a community"),
            ("vips[0].spec.announce.prepend", "out of range: 0 to 32"),
        ],
    );
    let twin = |c: &mut v1::Config, name: &str, address: &str| {
        let mut twin = c.vips[0].clone();
        twin.meta.as_mut().unwrap().name = name.into();
        twin.spec.as_mut().unwrap().address = address.into();
        c.vips.push(twin);
    };
    refused(
        |c| twin(c, "other", "20.20.20.1"),
        &[("vips[1].spec.address", "already the address of vip web")],
    );
    refused(|c| twin(c, "web", "20.20.20.2"), &[("vips[1].meta.name", "names are unique")]);
    refused(
        |c| {
            vip(c).announce_prefix = "20.20.20.0/24".into();
            twin(c, "other", "20.20.20.2");
            c.vips[1].spec.as_mut().unwrap().announce.get_or_insert_default().med = Some(5);
        },
        &[("vips[1].spec.announce", "one route carries one set of attributes")],
    );
}

#[test]
fn pass_is_legal_with_the_address_on_loopback() {
    let mut config = document();
    vip(&mut config).undefined = v1::UndefinedPolicy::Pass.into();
    vip(&mut config).host_address = v1::HostAddress::Loopback.into();
    assert!(desired(&config).is_ok());
}

#[test]
fn pools() {
    refused(|c| pool(c).max_backends = 2, &[("pools[0].spec.backends", "more than max_backends, 2")]);
    refused(|c| pool(c).max_backends = 5000, &[("pools[0].spec.max_backends", "1 to 4096")]);
    refused(
        |c| pool(c).backends[0].tunnel_mtu = Some(100),
        &[("pools[0].spec.backends[0].tunnel_mtu", "576")],
    );
    refused(
        |c| pool(c).backends[0].address = "20.20.20.1".into(),
        &[("pools[0].spec.backends", "20.20.20.1 is the address of vip web")],
    );
    refused(
        |c| pool(c).health_check = Some(v1::HealthCheck::default()),
        &[("pools[0].spec.health_check", "a probe, tcp or http")],
    );
    refused(
        |c| {
            let check = pool(c).health_check.as_mut().unwrap();
            check.timeout = seconds(3);
            check.fall = Some(0);
        },
        &[
            ("pools[0].spec.health_check.timeout", "not be longer than the interval"),
            ("pools[0].spec.health_check.fall", "1 to 100"),
        ],
    );
    refused(
        |c| pool(c).health_check.as_mut().unwrap().interval = seconds(-1),
        &[("pools[0].spec.health_check.interval", "out of range")],
    );
    refused(
        |c| {
            let http = v1::HttpProbe {
                port: 0,
                path: "x".into(),
                expect_status: vec!["ok".into()],
                ..Default::default()
            };
            pool(c).health_check.as_mut().unwrap().probe = Some(v1::health_check::Probe::Http(http));
        },
        &[
            ("pools[0].spec.health_check.http.port", "1 to 65535"),
            ("pools[0].spec.health_check.http.path", "begins with /"),
            ("pools[0].spec.health_check.http.expect_status[0]", "HTTP status"),
        ],
    );
    let mut empty = document();
    pool(&mut empty).backends.clear();
    assert!(desired(&empty).is_ok(), "an empty pool is filled later");
}

#[test]
fn a_hostile_count_is_refused_as_a_whole() {
    refused(
        |c| pool(c).backends = vec![v1::Backend::default(); 100_000],
        &[("pools[0].spec.backends", "100000 backends: at most 4096")],
    );
    refused(
        |c| c.routes = vec![v1::EndpointRoute::default(); 20_000],
        &[("routes", "20000 resources: at most 10000")],
    );
}

#[test]
fn services() {
    refused(
        |c| {
            let mut second = c.services[0].clone();
            second.meta.as_mut().unwrap().name = "again".into();
            c.services.push(second);
        },
        &[("services[1].spec.port", "port 8080 of vip web is already taken by service web-tcp")],
    );
    refused(
        |c| {
            service(c).port = 0;
            service(c).all_ports = true;
            let mut second = c.services[0].clone();
            second.meta.as_mut().unwrap().name = "again".into();
            c.services.push(second);
        },
        &[("services[1].spec.all_ports", "all ports of vip web")],
    );
    refused(|c| service(c).port = 0, &[("services[0].spec.port", "all_ports = true")]);
    refused(|c| service(c).all_ports = true, &[("services[0].spec.all_ports", "beside a port")]);
    refused(
        |c| service(c).vip = "wbe".into(),
        &[("services[0].spec.vip", "no vip is named wbe: there are web")],
    );
    refused(|c| service(c).pool = "p".into(), &[("services[0].spec.pool", "there are servers")]);
    refused(
        |c| {
            service(c).forwarding = v1::Forwarding::L2.into();
            vip(c).address = "2001:db8::1".into();
        },
        &[("services[0].spec.forwarding", "l2 cannot carry vip web (2001:db8::1)")],
    );
    // The same port of the other protocol, and all ports beside one port, are different traffic.
    let mut config = document();
    for (name, protocol, port, all_ports) in
        [("udp", v1::Protocol::Udp, 8080, false), ("any", v1::Protocol::Tcp, 0, true)]
    {
        let mut other = config.services[0].clone();
        other.meta.as_mut().unwrap().name = name.into();
        let spec = other.spec.as_mut().unwrap();
        (spec.protocol, spec.port, spec.all_ports) = (protocol.into(), port, all_ports);
        config.services.push(other);
    }
    assert_eq!(desired(&config).unwrap().services.len(), 3);
}

#[test]
fn a_reference_to_an_illegal_resource_is_not_reported_twice() {
    refused(|c| vip(c).address = String::new(), &[("vips[0].spec.address", "is required")]);
}

#[test]
fn peers() {
    refused(
        |c| peer(c).keepalive_time = seconds(9),
        &[("peers[0].spec.keepalive_time", "below the hold time")],
    );
    refused(|c| peer(c).local_address = "2001:db8::1".into(), &[("peers[0].spec.local_address", "family")]);
    refused(|c| peer(c).families = vec![1, 1], &[("peers[0].spec.families[1]", "already in this list")]);
    refused(|c| peer(c).multihop = Some(256), &[("peers[0].spec.multihop", "1 to 255")]);
    refused(|c| peer(c).md5_key = "k".repeat(81), &[("peers[0].spec.md5_key", "1 to 80")]);
    refused(|c| peer(c).md5_key = "(hidden)".into(), &[("peers[0].spec.md5_key", "write the key itself")]);
    refused(|c| peer(c).address = "fe80::1".into(), &[("peers[0].spec.address", "link-local")]);
    refused(|c| peer(c).next_hop_ipv6 = "1.2.3.4".into(), &[("peers[0].spec.next_hop_ipv6", "IPv6")]);
    let twin = |c: &mut v1::Config, selector: &[(&str, &str)]| {
        let mut twin = c.peers[0].clone();
        twin.meta.as_mut().unwrap().name = "twin".into();
        twin.spec.as_mut().unwrap().node_selector =
            selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        c.peers.push(twin);
    };
    refused(|c| twin(c, &[("rack", "b")]), &[("peers[1].spec.address", "already the address of peer r1")]);
    let mut config = document();
    peer(&mut config).node_selector.insert("rack".into(), "a".into());
    twin(&mut config, &[("rack", "b")]);
    assert!(desired(&config).is_ok(), "no node is in both racks");
}

#[test]
fn routes() {
    refused(|c| route(c).next_hops.clear(), &[("routes[0].spec.next_hops", "at least one next hop")]);
    refused(
        |c| route(c).next_hops[0].via = "2001:db8::1".into(),
        &[("routes[0].spec.next_hops[0]", "family")],
    );
    refused(
        |c| {
            let hop = route(c).next_hops[0].clone();
            route(c).next_hops.push(hop);
        },
        &[("routes[0].spec.next_hops[1]", "already in this list, at index 0")],
    );
    refused(
        |c| route(c).next_hops[0].device = "x".repeat(16),
        &[("routes[0].spec.next_hops[0].device", "15")],
    );
    refused(|c| route(c).table = Some(255), &[("routes[0].spec.table", "belong to the kernel")]);
    refused(|c| route(c).prefix = "0.0.0.0/0".into(), &[("routes[0].spec.prefix", "default route")]);
    refused(
        |c| route(c).prefix = "20.20.20.1/32".into(),
        &[("routes[0].spec.prefix", "is the address of vip web")],
    );
    refused(
        |c| {
            let mut twin = c.routes[0].clone();
            twin.meta.as_mut().unwrap().name = "twin".into();
            c.routes.push(twin);
        },
        &[("routes[1].spec.prefix", "is already route ep1")],
    );
}

#[test]
fn what_is_fixed_while_a_resource_lives() {
    let stored = desired(&document()).unwrap();
    let mut config = document();
    pool(&mut config).max_backends = 256;
    vip(&mut config).address = "20.20.20.2".into();
    compare(
        &desired_update(&config, &stored).unwrap_err(),
        &[
            ("pools[0].spec.max_backends", "is 128 and cannot change"),
            ("vips[0].spec.address", "is 20.20.20.1"),
        ],
    );
    assert!(desired(&config).is_ok(), "as a new document it is legal");
}

#[test]
fn one_resource_has_the_paths_of_its_request() {
    let mut stored = document();
    stored.pools.insert(0, v1::Pool { spec: Some(Default::default()), ..stored.pools[0].clone() });
    stored.pools[0].meta.as_mut().unwrap().name = "empty".into();
    let mut changed = stored.pools[1].clone();
    changed.spec.as_mut().unwrap().min_healthy = Some(9);
    let violations = apply_one(&stored, &Resource::Pool(changed.clone())).unwrap_err();
    compare(&violations, &[("pool.spec.min_healthy", "never be reached")]);
    // What it breaks elsewhere is named, since the caller has no document with indices.
    let mut six = stored.vips[0].clone();
    six.spec.as_mut().unwrap().address = "2001:db8::1".into();
    stored.services[0].spec.as_mut().unwrap().forwarding = v1::Forwarding::L2.into();
    stored.vips.clear();
    let violations = apply_one(&stored, &Resource::Vip(six)).unwrap_err();
    compare(&violations, &[("services[web-tcp].spec.forwarding", "l2 cannot carry")]);
    changed.spec.as_mut().unwrap().min_healthy = Some(2);
    changed.status = Some(v1::PoolStatus::default());
    let applied = apply_one(&document(), &Resource::Pool(changed)).unwrap();
    assert_eq!(applied.desired.pools.values().next().unwrap().min_healthy, 2);
    assert_eq!(applied.config.pools[0].status, None, "a status that was sent is not stored");
}

#[test]
fn a_document_adds_to_what_is_stored_or_replaces_it() {
    let stored = document();
    let mut more = v1::Config { vips: vec![stored.vips[0].clone()], ..Default::default() };
    more.vips[0].meta.as_mut().unwrap().name = "second".into();
    more.vips[0].spec.as_mut().unwrap().address = "20.20.20.2".into();
    let merged = apply_document(&stored, &more, false).unwrap();
    assert_eq!((merged.desired.vips.len(), merged.desired.services.len()), (2, 1));
    let pruned = apply_document(&stored, &more, true).unwrap();
    assert_eq!((pruned.desired.vips.len(), pruned.desired.services.len()), (1, 0));
    // A violation in the document has the document's index, whatever is stored before it.
    more.vips[0].spec.as_mut().unwrap().address = "x".into();
    compare(&apply_document(&stored, &more, false).unwrap_err(), &[("vips[0].spec.address", "IPv4")]);
    // A stored resource that the document breaks goes by its name.
    let services_only = v1::Config { services: stored.services.clone(), ..Default::default() };
    let mut taken = services_only.clone();
    taken.services[0].meta.as_mut().unwrap().name = "taken".into();
    let violations = apply_document(&stored, &taken, false).unwrap_err();
    compare(&violations, &[("services[web-tcp].spec.port", "taken by service taken")]);
    let violations = apply_document(&stored, &services_only, true).unwrap_err();
    compare(
        &violations,
        &[("services[0].spec.vip", "create it first"), ("services[0].spec.pool", "create it first")],
    );
}

#[test]
fn users_keep_what_they_use() {
    assert_eq!(users_of(&document(), Kind::Pool, "servers"), ["service web-tcp"]);
    assert_eq!(users_of(&document(), Kind::Vip, "web"), ["service web-tcp"]);
    assert!(users_of(&document(), Kind::Peer, "r1").is_empty());
}

#[test]
fn normal_form_depends_on_specs_alone() {
    let mut shuffled = document();
    shuffled.vips.push(v1::Vip { spec: None, ..shuffled.vips[0].clone() });
    shuffled.vips[1].meta.as_mut().unwrap().name = "a".into();
    let mut other = shuffled.clone();
    other.vips.reverse();
    other.vips[0].status = Some(v1::VipStatus::default());
    other.vips[1].meta.as_mut().unwrap().etag = "e1".into();
    other.vips[1].meta.as_mut().unwrap().revision = 9;
    assert_eq!(normalized(&shuffled), normalized(&other));
    assert_ne!(normalized(&shuffled), normalized(&document()));
}

#[test]
fn changes_are_words_and_hide_keys() {
    use v1::change::Action;
    let before = document();
    let mut after = document();
    pool(&mut after).min_healthy = Some(2);
    pool(&mut after).backends.remove(0);
    pool(&mut after).backends[0].weight = Some(5);
    pool(&mut after).health_check.as_mut().unwrap().interval =
        Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 });
    peer(&mut after).md5_key = "hunter3".into();
    vip(&mut after).undefined = v1::UndefinedPolicy::Drop.into();
    after.routes.clear();
    let mut new = after.services[0].clone();
    new.meta.as_mut().unwrap().name = "new".into();
    after.services.push(new);
    let changes = changes(&before, &after);
    let of = |kind: &str, name: &str| changes.iter().find(|it| it.kind == kind && it.name == name).unwrap();
    assert_eq!(
        of("pool", "servers").fields,
        [
            "spec.backends[57.57.57.1].weight: (none) -> 5",
            "spec.backends[56.56.56.1]: removed",
            "spec.health_check.interval: (none) -> 1.5s",
            "spec.min_healthy: (none) -> 2",
        ]
    );
    assert_eq!(of("peer", "r1").fields, ["spec.md5_key: (hidden) -> (hidden)"]);
    assert_eq!(of("vip", "web").fields, ["spec.undefined: (none) -> undefined_policy_drop"]);
    assert_eq!(of("route", "ep1").action(), Action::Delete);
    assert_eq!(of("service", "new").action(), Action::Create);
    assert_eq!(of("service", "web-tcp").action(), Action::Unchanged);
}
