//! The whole desired configuration and the rules between its resources.

use std::collections::{BTreeMap, BTreeSet};

use crate::between::{self, Rules};
use crate::{Collector, EndpointRoute, Name, Peer, Pool, Service, Violations, Vip};

/// Everything that users asked for, checked as a whole: references resolve, no two services take the same traffic, a
/// policy that needs another is refused without it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    pub vips: BTreeMap<Name, Vip>,
    pub pools: BTreeMap<Name, Pool>,
    pub services: BTreeMap<Name, Service>,
    pub peers: BTreeMap<Name, Peer>,
    pub routes: BTreeMap<Name, EndpointRoute>,
}

/// One resource of a document: where it stands, its name, and its value unless that is illegal by itself. The name of
/// an illegal resource still counts as present, so that whoever refers to it is not reported as well.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// `pools[2]`.
    pub path: String,
    pub name: Name,
    pub value: Option<T>,
}

/// A document in its own order, not yet checked as a whole.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub vips: Vec<Entry<Vip>>,
    pub pools: Vec<Entry<Pool>>,
    pub services: Vec<Entry<Service>>,
    pub peers: Vec<Entry<Peer>>,
    pub routes: Vec<Entry<EndpointRoute>>,
}

impl Draft {
    /// Records every violation between resources, and against `stored` where a field must not change in place.
    pub fn check(&self, stored: Option<&Desired>, violations: &mut Collector) {
        names(&self.vips, "vip", violations);
        names(&self.pools, "pool", violations);
        names(&self.services, "service", violations);
        names(&self.peers, "peer", violations);
        names(&self.routes, "route", violations);
        Rules::new(self).check(violations);
        if let Some(stored) = stored {
            between::unchanged(self, stored, violations);
        }
    }

    /// The configuration, when neither `violations` nor a check of the whole has anything against it.
    pub fn finish(self, stored: Option<&Desired>, mut violations: Collector) -> Result<Desired, Violations> {
        self.check(stored, &mut violations);
        let legal = violations.is_empty();
        let desired = Desired {
            vips: values(self.vips),
            pools: values(self.pools),
            services: values(self.services),
            peers: values(self.peers),
            routes: values(self.routes),
        };
        violations.finish(legal.then_some(desired))
    }
}

fn values<T>(entries: Vec<Entry<T>>) -> BTreeMap<Name, T> {
    entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

fn names<T>(entries: &[Entry<T>], kind: &str, violations: &mut Collector) {
    let mut seen: BTreeSet<&Name> = BTreeSet::new();
    for entry in entries {
        if !seen.insert(&entry.name) {
            let message =
                format!("another {kind} of this document is named {}: names are unique", entry.name);
            violations.push(format!("{}.meta.name", entry.path), message);
        }
    }
}
