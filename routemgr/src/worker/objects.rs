//! Routes and host addresses: read, compare, change, read back.

use std::collections::BTreeSet;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use tracing::{info, warn};

use super::Worker;
use crate::diff::{self, Change, describe};
use crate::mirror::Dirty;
use crate::netlink::{Refusal, address, route};
use crate::{Conflict, ROUTE_PROTOCOL, Wanted};

/// Rounds of deleting until nothing with our mark is left.
const UNINSTALL_ROUNDS: usize = 4;

impl Worker {
    /// Makes our routes as wanted. Marks the ways that lead through changed ones.
    pub(super) async fn sync_routes(&mut self, wanted: &Wanted, dirty: &mut Dirty) -> Result<(), Refusal> {
        self.read_routes(dirty.foreign).await?;
        let mut difference = diff::routes(&self.routes, &self.held, &self.foreign);
        let mut failed = Vec::new();
        let mut changed = BTreeSet::new();
        let mut in_the_way = false;
        for change in &difference.changes {
            let (key, route) = change.subject();
            let what = || describe(key, route);
            match self.make(change).await {
                Ok(()) => {
                    changed.insert(*key);
                }
                Err(Failure::Refused(refusal)) if refusal.errno.is_none() => return Err(refusal),
                Err(Failure::Refused(refusal)) if refusal.is(Errno::EEXIST) => in_the_way = true,
                Err(failure) => failed.push(Conflict::Kernel { what: what(), reason: failure.to_string() }),
            }
        }
        if !changed.is_empty() || in_the_way {
            let steps = std::mem::take(&mut difference.changes);
            self.read_routes(dirty.foreign || in_the_way).await?;
            difference = diff::routes(&self.routes, &self.held, &self.foreign);
            self.note(&steps, &changed, &difference.installed);
        }
        for key in &changed {
            dirty.prefix(key.prefix, &wanted.resolve);
        }
        self.routes_installed = difference.installed;
        self.conflicts.routes = difference.conflicts.into_iter().map(|c| self.as_called(c)).collect();
        self.conflicts.routes.extend(failed);
        Ok(())
    }

    /// The conflict with the caller's own key.
    fn as_called(&self, conflict: Conflict) -> Conflict {
        match conflict {
            Conflict::ForeignRoute { key, protocol } => {
                let called = self.callers_keys.get(&key).and_then(|keys| keys.first());
                Conflict::ForeignRoute { key: *called.unwrap_or(&key), protocol }
            }
            other => other,
        }
    }

    /// Counts and logs what was changed. What had been installed before is drift.
    fn note(
        &mut self,
        steps: &[Change],
        made: &BTreeSet<crate::RouteKey>,
        installed: &BTreeSet<crate::RouteKey>,
    ) {
        for step in steps {
            let (key, route) = step.subject();
            if !made.contains(key) {
                continue;
            }
            let route = describe(key, route);
            let drift = self.routes_installed.contains(key) && installed.contains(key);
            match step {
                Change::Delete(_) => info!(route, "route removed"),
                Change::Add(..) if drift => {
                    self.drift_repaired += 1;
                    warn!(route, "drift repaired: route was gone");
                }
                Change::Replace(..) if drift => {
                    self.drift_repaired += 1;
                    warn!(route, "drift repaired: route had been changed");
                }
                Change::Add(..) => info!(route, "route installed"),
                Change::Replace(..) => info!(route, "route replaced"),
            }
        }
    }

    /// Reads our routes; with `foreign` those of others as well, as far as they stand before ours under a wanted key.
    async fn read_routes(&mut self, foreign: bool) -> Result<(), Refusal> {
        self.held.clear();
        if foreign {
            self.foreign.clear();
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let request = route::dump(family, (!foreign).then_some(ROUTE_PROTOCOL));
            let dump = match self.requests.dump(request).await {
                // A kernel without this family.
                Err(refusal) if refusal.is(Errno::EAFNOSUPPORT) || refusal.is(Errno::EOPNOTSUPP) => continue,
                dump => dump?,
            };
            for message in &dump {
                let RouteNetlinkMessage::NewRoute(message) = message else { continue };
                let Some(found) = route::decode(message, |index| self.mirror.name(index)) else { continue };
                if found.protocol == ROUTE_PROTOCOL {
                    self.held.entry(found.key).or_default().push(found.route);
                } else if self.keys.contains(&found.key) && !self.held.contains_key(&found.key) {
                    self.foreign.entry(found.key).or_insert(found.protocol);
                }
            }
        }
        Ok(())
    }

    async fn make(&self, change: &Change) -> Result<(), Failure> {
        let (message, flags) = match change {
            Change::Delete(key) => {
                let message = RouteNetlinkMessage::DelRoute(route::naming(key));
                return match self.requests.change(message, 0).await {
                    Err(refusal) if refusal.is(Errno::ESRCH) => Ok(()),
                    result => result.map_err(Failure::Refused),
                };
            }
            // EXCL: a foreign route with this key makes the kernel refuse.
            Change::Add(key, route) => (self.encode(key, route)?, NLM_F_CREATE | NLM_F_EXCL),
            Change::Replace(key, route) => (self.encode(key, route)?, NLM_F_CREATE | NLM_F_REPLACE),
        };
        self.requests.change(message, flags).await.map_err(Failure::Refused)
    }

    fn encode(&self, key: &crate::RouteKey, route: &crate::Route) -> Result<RouteNetlinkMessage, Failure> {
        let message = route::encode(key, route, |name| self.mirror.index(name));
        message.map(RouteNetlinkMessage::NewRoute).map_err(Failure::CannotSay)
    }

    /// Makes our addresses on `lo` as wanted.
    pub(super) async fn sync_addresses(&mut self, wanted: &Wanted) -> Result<(), Refusal> {
        let Some(loopback) = self.mirror.index("lo") else {
            let what = "host addresses".to_owned();
            self.conflicts.addresses = match wanted.host_addresses.is_empty() {
                true => Vec::new(),
                false => vec![Conflict::Kernel { what, reason: "there is no interface lo".into() }],
            };
            return Ok(());
        };
        let before = self.address_difference(wanted, loopback);
        let mut failed = Vec::new();
        let adds = before.add.iter().map(|a| (a, true));
        for (address, add) in adds.chain(before.delete.iter().map(|a| (a, false))) {
            let message = address::host(loopback, *address);
            let result = if add {
                let message = RouteNetlinkMessage::NewAddress(message);
                self.requests.change(message, NLM_F_CREATE | NLM_F_EXCL).await
            } else {
                self.requests.change(RouteNetlinkMessage::DelAddress(message), 0).await
            };
            match result {
                Ok(()) if add && self.addresses_installed.contains(address) => {
                    self.drift_repaired += 1;
                    warn!(%address, "drift repaired: host address was gone");
                }
                Ok(()) if add => info!(%address, "host address set"),
                Ok(()) => info!(%address, "host address removed"),
                Err(refusal) if refusal.errno.is_none() => return Err(refusal),
                // Somebody else was quicker; reading back shows who and where.
                Err(refusal) if refusal.is(Errno::EEXIST) || refusal.is(Errno::EADDRNOTAVAIL) => {}
                Err(refusal) => {
                    let what = format!("address {address} on lo");
                    failed.push(Conflict::Kernel { what, reason: refusal.to_string() });
                }
            }
        }
        let mut after = before;
        if !after.add.is_empty() || !after.delete.is_empty() {
            self.mirror.replace_addresses(&self.requests.dump(address::dump()).await?);
            self.remember(&after.add, loopback);
            after = self.address_difference(wanted, loopback);
        }
        self.addresses_installed = after.installed;
        self.conflicts.addresses = after.conflicts;
        self.conflicts.addresses.extend(failed);
        Ok(())
    }

    /// Addresses that we just set and that came back without a mark (IPv6 before Linux 5.18).
    fn remember(&mut self, set: &[std::net::IpAddr], loopback: u32) {
        let unmarked = |a: &&std::net::IpAddr| {
            self.mirror.addresses.get(&(loopback, **a)).is_some_and(|address| !address.marked)
        };
        let unmarked: Vec<_> = set.iter().filter(unmarked).copied().collect();
        self.remembered.extend(unmarked);
    }

    fn address_difference(&self, wanted: &Wanted, loopback: u32) -> diff::AddressDifference {
        let name = |index| self.mirror.name(index);
        diff::host_addresses(&wanted.host_addresses, &self.mirror.addresses, loopback, &self.remembered, name)
    }

    /// Removes every route and address with our mark, gives the sysctls back, and says what is left.
    pub(super) async fn uninstall(&mut self) -> Vec<Conflict> {
        self.want(Wanted::default().into());
        let mut left = match self.remove_all().await {
            Ok(()) => Vec::new(),
            Err(refusal) => vec![Conflict::Kernel { what: "netlink".into(), reason: refusal.to_string() }],
        };
        left.append(&mut self.conflicts.routes);
        left.append(&mut self.conflicts.addresses);
        let remains =
            self.held.iter().flat_map(|(key, routes)| routes.iter().map(|r| describe(key, r.as_ref())));
        left.extend(remains.map(|what| Conflict::Kernel { what, reason: "it is still there".into() }));
        left.extend(self.settings.restore());
        left
    }

    async fn remove_all(&mut self) -> Result<(), Refusal> {
        let wanted = Wanted::default();
        self.mirror.replace_links(&self.requests.dump(crate::netlink::link::dump()).await?);
        self.mirror.replace_addresses(&self.requests.dump(address::dump()).await?);
        for _ in 0..UNINSTALL_ROUNDS {
            self.sync_routes(&wanted, &mut Dirty::default()).await?;
            if self.held.is_empty() {
                break;
            }
        }
        self.sync_addresses(&wanted).await
    }
}

enum Failure {
    Refused(Refusal),
    /// The route names something that is not there.
    CannotSay(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::CannotSay(reason) => reason.fmt(f),
        }
    }
}
