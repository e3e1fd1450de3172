//! Whole documents: parsing, one change merged into the stored configuration, who uses what.

use std::collections::{BTreeMap, BTreeSet};

use model::{Collector, Desired, Draft, Entry, Violation, Violations, own};
use proto::v1;

use super::fields::{bounded, name};
use super::{peer, pool, route, service, vip};
use crate::control::{Kind, Resource};

/// Parses and checks a whole document. Paths are those of the document: `services[1].spec.vip`.
pub fn desired(config: &v1::Config) -> Result<Desired, Violations> {
    check(config, None)
}

/// As [`desired`], and nothing that is fixed while a resource lives (a pool's `max_backends`, a VIP's address) differs
/// from `stored`.
pub fn desired_update(config: &v1::Config, stored: &Desired) -> Result<Desired, Violations> {
    check(config, Some(stored))
}

/// A stored configuration after one change.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub config: v1::Config,
    pub desired: Desired,
}

/// Puts `resource` into the stored configuration and checks the whole. Paths of the resource itself are those of its
/// request (`pool.spec.min_healthy`), of others by name (`services[web].spec.pool`): the caller has no document with
/// indices. A stored configuration that is itself not legal any more gives no reference for what is fixed.
pub fn apply_one(stored: &v1::Config, resource: &Resource) -> Result<Applied, Violations> {
    let before = desired(stored).ok();
    let mut config = stored.clone();
    let (place, request) = match resource {
        Resource::Vip(vip) => (put(&mut config.vips, vip), "vip"),
        Resource::Pool(pool) => (put(&mut config.pools, pool), "pool"),
        Resource::Service(service) => (put(&mut config.services, service), "service"),
        Resource::Peer(peer) => (put(&mut config.peers, peer), "peer"),
        Resource::EndpointRoute(route) => (put(&mut config.routes, route), "route"),
    };
    let own = format!("{}[{place}]", list_of(resource.kind()));
    match check(&config, before.as_ref()) {
        Ok(desired) => Ok(Applied { config, desired }),
        Err(violations) => Err(Violations(
            violations
                .0
                .into_iter()
                .map(|violation| readdressed(violation, &own, request, &config))
                .collect(),
        )),
    }
}

/// Puts the document into the stored configuration, or with `prune` in place of it, and checks the whole. Paths of the
/// document are its own, those of what else is stored are by name.
pub fn apply_document(
    stored: &v1::Config,
    document: &v1::Config,
    prune: bool,
) -> Result<Applied, Violations> {
    let before = desired(stored).ok();
    let mut config = document.clone();
    fn add<T: Stored>(list: &mut Vec<T>, stored: &[T], prune: bool) -> usize {
        list.iter_mut().for_each(T::clear_status);
        let given = list.len();
        let names: BTreeSet<String> = list.iter().map(|resource| name_of(resource).to_owned()).collect();
        let others = stored.iter().filter(|resource| !prune && !names.contains(name_of(*resource)));
        list.extend(others.cloned());
        given
    }
    let given = BTreeMap::from([
        ("vips", add(&mut config.vips, &stored.vips, prune)),
        ("pools", add(&mut config.pools, &stored.pools, prune)),
        ("services", add(&mut config.services, &stored.services, prune)),
        ("peers", add(&mut config.peers, &stored.peers, prune)),
        ("routes", add(&mut config.routes, &stored.routes, prune)),
    ]);
    match check(&config, before.as_ref()) {
        Ok(desired) => Ok(Applied { config, desired }),
        Err(violations) => Err(Violations(
            violations
                .0
                .into_iter()
                .map(|violation| match place(&violation.field) {
                    Some((list, index, _)) if given.get(list).is_some_and(|given| index >= *given) => {
                        by_name(violation, &config)
                    }
                    _ => violation,
                })
                .collect(),
        )),
    }
}

/// Who keeps `name` from being deleted: "service web", sorted.
pub fn users_of(config: &v1::Config, kind: Kind, name: &str) -> Vec<String> {
    let mut users: Vec<String> = config
        .services
        .iter()
        .filter(|service| match (kind, &service.spec) {
            (Kind::Vip, Some(spec)) => spec.vip == name,
            (Kind::Pool, Some(spec)) => spec.pool == name,
            _ => false,
        })
        .map(|service| format!("service {}", name_of(service)))
        .collect();
    users.sort();
    users
}

/// What the user said and nothing else: names, labels and specs, sorted by name. Equal documents are equal bytes, so
/// this is what the config digest is taken over.
pub fn normalized(config: &v1::Config) -> v1::Config {
    let mut config = config.clone();
    fn tidy<T: Stored>(list: &mut [T]) {
        for resource in list.iter_mut() {
            let meta = resource.meta_mut().get_or_insert_default();
            *meta = v1::Meta {
                name: std::mem::take(&mut meta.name),
                labels: std::mem::take(&mut meta.labels),
                ..v1::Meta::default()
            };
            resource.clear_status();
        }
        list.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    }
    tidy(&mut config.vips);
    tidy(&mut config.pools);
    tidy(&mut config.services);
    tidy(&mut config.peers);
    tidy(&mut config.routes);
    config
}

fn check(config: &v1::Config, stored: Option<&Desired>) -> Result<Desired, Violations> {
    let mut violations = Collector::new();
    let mut draft = Draft::default();
    entries("vips", &config.vips, vip::vip, &mut draft.vips, &mut violations);
    entries("pools", &config.pools, pool::pool, &mut draft.pools, &mut violations);
    entries("services", &config.services, service::service, &mut draft.services, &mut violations);
    entries("peers", &config.peers, peer::peer, &mut draft.peers, &mut violations);
    entries("routes", &config.routes, route::route, &mut draft.routes, &mut violations);
    draft.finish(stored, violations)
}

fn entries<P: Stored, T>(
    list: &str,
    resources: &[P],
    convert: impl Fn(&P) -> Result<T, Violations>,
    entries: &mut Vec<Entry<T>>,
    violations: &mut Collector,
) {
    if bounded(list, "resources", resources, own::MOST_RESOURCES, violations).is_none() {
        return;
    }
    for (i, resource) in resources.iter().enumerate() {
        let path = format!("{list}[{i}]");
        let mut of_name = Collector::new();
        let name = name(resource.meta(), &mut of_name);
        let name = violations.nest(&path, of_name.finish(name));
        let value = violations.nest(&path, convert(resource));
        if let Some(name) = name {
            entries.push(Entry { path, name, value });
        }
    }
}

/// Replaces the resource of that name or appends it; returns its index.
fn put<T: Stored>(list: &mut Vec<T>, resource: &T) -> usize {
    let mut resource = resource.clone();
    resource.clear_status();
    match list.iter().position(|other| name_of(other) == name_of(&resource)) {
        Some(i) => {
            list[i] = resource;
            i
        }
        None => {
            list.push(resource);
            list.len() - 1
        }
    }
}

fn readdressed(violation: Violation, own: &str, request: &str, config: &v1::Config) -> Violation {
    let Violation { field, message } = violation;
    if let Some(rest) = field.strip_prefix(own)
        && !rest.starts_with(|c: char| c.is_ascii_digit())
    {
        return Violation { field: format!("{request}{rest}"), message };
    }
    by_name(Violation { field, message }, config)
}

/// Names the resource instead of its index, which means nothing to the caller.
fn by_name(violation: Violation, config: &v1::Config) -> Violation {
    let named = place(&violation.field)
        .and_then(|(list, index, rest)| Some(format!("{list}[{}]{rest}", nth_name(config, list, index)?)));
    Violation { field: named.unwrap_or(violation.field), message: violation.message }
}

/// `pools[2].spec.x` taken apart: list, index, rest.
fn place(field: &str) -> Option<(&str, usize, &str)> {
    let (list, rest) = field.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    Some((list, index.parse().ok()?, rest))
}

fn nth_name(config: &v1::Config, list: &str, index: usize) -> Option<String> {
    match list {
        "vips" => config.vips.get(index).map(name_of),
        "pools" => config.pools.get(index).map(name_of),
        "services" => config.services.get(index).map(name_of),
        "peers" => config.peers.get(index).map(name_of),
        "routes" => config.routes.get(index).map(name_of),
        _ => None,
    }
    .map(str::to_owned)
}

fn list_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Vip => "vips",
        Kind::Pool => "pools",
        Kind::Service => "services",
        Kind::Peer => "peers",
        Kind::EndpointRoute => "routes",
    }
}

pub(crate) fn name_of<T: Stored>(resource: &T) -> &str {
    resource.meta().map_or("", |meta| meta.name.as_str())
}

/// The parts that every stored resource has.
pub(crate) trait Stored: prost::Message + Clone + PartialEq {
    /// `vipcast.v1.Vip`.
    const FULL_NAME: &str;

    fn meta(&self) -> Option<&v1::Meta>;
    fn meta_mut(&mut self) -> &mut Option<v1::Meta>;
    fn clear_status(&mut self);
}

macro_rules! stored {
    ($($resource:ident),*) => {$(
        impl Stored for v1::$resource {
            const FULL_NAME: &str = concat!("vipcast.v1.", stringify!($resource));

            fn meta(&self) -> Option<&v1::Meta> {
                self.meta.as_ref()
            }
            fn meta_mut(&mut self) -> &mut Option<v1::Meta> {
                &mut self.meta
            }
            fn clear_status(&mut self) {
                self.status = None;
            }
        }
    )*};
}
stored!(Vip, Pool, Service, Peer, EndpointRoute);
