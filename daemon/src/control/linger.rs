//! What a commit takes away and what goes on serving for a while because of it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use api::{Document, Kind};
use model::{Desired, Name};

use crate::resource;
use crate::store::{Contents, Linger};

/// Most removals that are remembered at a time; the oldest are ended early beyond it.
const MOST: usize = 256;

/// The list after a change from `old` to `new`. Ended ones are dropped.
pub(super) fn after(
    contents: &Contents,
    old: &Desired,
    new: &Desired,
    now: SystemTime,
    linger: Duration,
) -> Vec<Linger> {
    let mut lingers: Vec<Linger> = contents.lingers.iter().filter(|l| l.until > now).cloned().collect();
    if !linger.is_zero() {
        let document = removed(contents, old, new, !lingers.is_empty());
        if document != Document::default() {
            lingers.push(Linger { until: now + linger, document });
        }
    }
    let excess = lingers.len().saturating_sub(MOST);
    lingers.drain(..excess);
    lingers
}

/// Removed VIPs and services with all that they refer to: a document of its own.
fn removed(contents: &Contents, old: &Desired, new: &Desired, others_linger: bool) -> Document {
    let traffic = |desired: &Desired, name: &Name| {
        desired.services.get(name).map(|s| (s.vip.clone(), s.protocol, s.port))
    };
    let kept: BTreeSet<_> = new.services.keys().filter_map(|name| traffic(new, name)).collect();
    let services: Vec<&Name> = old
        .services
        .keys()
        .filter(|name| traffic(old, name).is_some_and(|key| !kept.contains(&key)))
        .collect();
    let mut keys: Vec<(Kind, &str)> = Vec::new();
    keys.extend(
        old.vips.keys().filter(|name| !new.vips.contains_key(*name)).map(|n| (Kind::Vip, n.as_str())),
    );
    for service in services.iter().filter_map(|name| old.services.get(*name)) {
        keys.push((Kind::Vip, service.vip.as_str()));
        keys.push((Kind::Pool, service.pool.as_str()));
    }
    keys.extend(services.iter().map(|name| (Kind::Service, name.as_str())));
    if !keys.is_empty() || others_linger {
        // The ways to lingering backends go with the last of them.
        let gone = old.routes.iter().filter(|(name, route)| {
            new.routes
                .get(*name)
                .is_none_or(|r| (r.prefix, r.table, r.metric) != (route.prefix, route.table, route.metric))
        });
        keys.extend(gone.map(|(name, _)| (Kind::EndpointRoute, name.as_str())));
    }
    keys.sort_unstable();
    keys.dedup();
    let stored = keys.into_iter().filter_map(|(kind, name)| contents.resources.get(&(kind, name.to_owned())));
    resource::document(stored)
}
