//! `v1::Peer`.

use std::time::Duration;

use model::{Collector, Illegal, Peer, Violations, own, scalar};
use proto::v1;

use super::fields::{bounded, duration, known, meta_labels, optional, selector, spec};

pub(super) fn peer(resource: &v1::Peer) -> Result<Peer, Violations> {
    let mut violations = Collector::new();
    let labels = meta_labels(resource.meta.as_ref(), &mut violations);
    let parts = spec(resource.spec.as_ref(), &mut violations).map(|spec| {
        let mut inner = Collector::new();
        let peer = from_spec(spec, &mut inner);
        violations.nest("spec", inner.finish(peer))
    });
    let peer = labels.zip(parts.flatten()).map(|(labels, peer)| Peer { labels, ..peer });
    violations.finish(peer)
}

fn from_spec(spec: &v1::PeerSpec, violations: &mut Collector) -> Option<Peer> {
    let node_selector = selector("node_selector", &spec.node_selector, violations);
    let address = violations.take("address", neighbour(&spec.address));
    let port = violations.take("port", scalar::port(spec.port.unwrap_or(179)));
    let remote_asn = violations.take("remote_asn", scalar::asn(spec.remote_asn));
    let local_address = optional("local_address", &spec.local_address, neighbour, violations);
    if let (Some(address), Some(Some(local))) = (address, local_address) {
        violations.take("local_address", own::same_family(local, address));
    }
    let families = families(&spec.families, violations);
    let next_hop_v4 = optional("next_hop_ipv4", &spec.next_hop_ipv4, scalar::ipv4, violations);
    let next_hop_v6 = optional("next_hop_ipv6", &spec.next_hop_ipv6, scalar::ipv6, violations);
    let timers = timers(spec, violations);
    let multihop = match spec.multihop {
        Some(hops) => violations.take("multihop", scalar::number(hops, 1, 255)).map(Some),
        None => Some(None),
    };
    let md5_key = optional("md5_key", &spec.md5_key, scalar::md5_key, violations);
    let ((ipv4_unicast, ipv6_unicast), (hold, keepalive, connect_retry)) = families.zip(timers)?;
    Some(Peer {
        labels: Default::default(),
        node_selector: node_selector?,
        address: address?,
        port: port?.get(),
        remote_asn: remote_asn?,
        local_address: local_address?,
        ipv4_unicast,
        ipv6_unicast,
        next_hop_v4: next_hop_v4?,
        next_hop_v6: next_hop_v6?,
        hold,
        keepalive,
        connect_retry,
        passive: spec.passive,
        multihop: multihop?,
        ttl_security: spec.ttl_security,
        md5_key: md5_key?,
        shutdown: spec.shutdown,
    })
}

/// A link-local neighbour needs an interface, which the spec cannot name yet.
fn neighbour(text: &str) -> Result<std::net::IpAddr, Illegal> {
    match scalar::unicast(text)? {
        std::net::IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Illegal::Unsupported {
            what: "a link-local neighbour",
            remedy: "use the neighbour's global address",
        }),
        address => Ok(address),
    }
}

/// (IPv4, IPv6); none named means both.
fn families(values: &[i32], violations: &mut Collector) -> Option<(bool, bool)> {
    use v1::AddressFamily as P;
    bounded("families", "families", values, 2, violations)?;
    let (mut v4, mut v6, mut legal) = (values.is_empty(), values.is_empty(), true);
    for (i, value) in values.iter().enumerate() {
        let field = format!("families[{i}]");
        match known(&field, "AddressFamily", *value, violations) {
            Some(P::Ipv4Unicast) if !v4 => v4 = true,
            Some(P::Ipv6Unicast) if !v6 => v6 = true,
            Some(P::Unspecified) => {
                violations.push(field, Illegal::Missing { expect: "ipv4_unicast or ipv6_unicast" });
                legal = false;
            }
            Some(family) => {
                let value = family.as_str_name().to_owned();
                violations.push(field, Illegal::Duplicate { value, first: 0 });
                legal = false;
            }
            None => legal = false,
        }
    }
    legal.then_some((v4, v6))
}

/// Hold, keepalive, connect retry.
fn timers(spec: &v1::PeerSpec, violations: &mut Collector) -> Option<(Duration, Duration, Duration)> {
    const RETRY_LOW: (Duration, &str) = (Duration::from_millis(100), "100ms");
    const RETRY_HIGH: (Duration, &str) = (Duration::from_secs(3600), "1h");
    let hold = duration("hold_time", spec.hold_time.as_ref(), violations).and_then(|hold| {
        violations.take("hold_time", own::hold_time(hold.unwrap_or(Duration::from_secs(9))))
    });
    let given = duration("keepalive_time", spec.keepalive_time.as_ref(), violations);
    let keepalive = hold
        .zip(given)
        .and_then(|(hold, given)| violations.take("keepalive_time", own::keepalive(given, hold)));
    let retry = duration("connect_retry", spec.connect_retry.as_ref(), violations).and_then(|retry| {
        let retry = retry.unwrap_or(Duration::from_secs(5));
        violations.take("connect_retry", scalar::within(retry, RETRY_LOW, RETRY_HIGH))
    });
    Some((hold?, keepalive?, retry?))
}
