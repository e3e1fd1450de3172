//! `v1::Vip`.

use std::collections::BTreeSet;

use model::{
    AnnouncePolicy, Collector, EchoPolicy, HostAddress, Illegal, Require, UndefinedPolicy, Violations, Vip,
    own, scalar,
};
use proto::v1;

use super::fields::{bounded, known, meta_labels, optional, selector, spec};

/// Most communities of each kind: an attribute of at most 255 bytes on any path.
const MOST_COMMUNITIES: usize = 32;
/// Longest prepend: beyond it, routers' own limits on AS_PATH length bite.
const MOST_PREPEND: u32 = 32;

pub(super) fn vip(resource: &v1::Vip) -> Result<Vip, Violations> {
    let mut violations = Collector::new();
    let labels = meta_labels(resource.meta.as_ref(), &mut violations);
    let parts = spec(resource.spec.as_ref(), &mut violations).map(|spec| {
        let mut inner = Collector::new();
        let vip = from_spec(spec, &mut inner);
        violations.nest("spec", inner.finish(vip))
    });
    let vip = labels.zip(parts.flatten()).map(|(labels, vip)| Vip { labels, ..vip });
    violations.finish(vip)
}

fn from_spec(spec: &v1::VipSpec, violations: &mut Collector) -> Option<Vip> {
    let address = violations.take("address", scalar::routable(&spec.address));
    let covering = optional("announce_prefix", &spec.announce_prefix, scalar::prefix, violations);
    let prefix = address.zip(covering).and_then(|(address, covering)| {
        violations.take("announce_prefix", own::announced(address, covering))
    });
    let undefined = undefined(spec.undefined, violations);
    let echo = echo(spec.echo, violations);
    let host_address = host_address(spec.host_address, violations);
    if let Some((undefined, host)) = undefined.zip(host_address) {
        violations.take("undefined", own::undefined_policy(undefined, host));
    }
    let announce = match &spec.announce {
        Some(policy) => violations.nest("announce", announce(policy)),
        None => Some(AnnouncePolicy::default()),
    };
    Some(Vip {
        labels: Default::default(),
        address: address?,
        prefix: prefix?,
        undefined: undefined?,
        echo: echo?,
        host_address: host_address?,
        announce: announce?,
    })
}

fn undefined(value: i32, violations: &mut Collector) -> Option<UndefinedPolicy> {
    use v1::UndefinedPolicy as P;
    match known("undefined", "UndefinedPolicy", value, violations)? {
        P::Unspecified | P::Drop => Some(UndefinedPolicy::Drop),
        P::Pass => Some(UndefinedPolicy::Pass),
        P::Reject => {
            let error = Illegal::Unsupported {
                what: "reject",
                remedy: "use drop, or pass with host_address = loopback",
            };
            violations.push("undefined", error);
            None
        }
    }
}

fn echo(value: i32, violations: &mut Collector) -> Option<EchoPolicy> {
    use v1::EchoPolicy as P;
    Some(match known("echo", "EchoPolicy", value, violations)? {
        P::Unspecified | P::Healthy => EchoPolicy::Healthy,
        P::Always => EchoPolicy::Always,
        P::Off => EchoPolicy::Off,
    })
}

fn host_address(value: i32, violations: &mut Collector) -> Option<HostAddress> {
    use v1::HostAddress as P;
    Some(match known("host_address", "HostAddress", value, violations)? {
        P::Unspecified | P::None => HostAddress::None,
        P::Loopback => HostAddress::Loopback,
    })
}

fn announce(policy: &v1::AnnouncePolicy) -> Result<AnnouncePolicy, Violations> {
    use v1::announce_policy::Require as P;
    let mut violations = Collector::new();
    let require = known("require", "Require", policy.require, &mut violations).map(|require| match require {
        P::Unspecified | P::Any => Require::Any,
        P::All => Require::All,
    });
    let communities = list("communities", &policy.communities, scalar::community, &mut violations);
    let large =
        list("large_communities", &policy.large_communities, scalar::large_community, &mut violations);
    let prepend = violations.take("prepend", scalar::number(policy.prepend, 0, MOST_PREPEND));
    let peer_selector = selector("peer_selector", &policy.peer_selector, &mut violations);
    let whole = || {
        Some(AnnouncePolicy {
            require: require?,
            communities: communities?,
            large_communities: large?,
            med: policy.med,
            prepend: prepend?,
            peer_selector: peer_selector?,
        })
    };
    let policy = whole();
    violations.finish(policy)
}

fn list<T: Ord>(
    field: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, Illegal>,
    violations: &mut Collector,
) -> Option<BTreeSet<T>> {
    bounded(field, "communities", texts, MOST_COMMUNITIES, violations)?;
    let parsed: Vec<Option<T>> = texts
        .iter()
        .enumerate()
        .map(|(i, text)| violations.take(&format!("{field}[{i}]"), parse(text)))
        .collect();
    parsed.into_iter().collect()
}
