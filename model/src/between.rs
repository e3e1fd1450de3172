//! Rules between resources. Paths are those of the document, so that a person finds the line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::desired::{Draft, Entry};
use crate::{Collector, Desired, EndpointRoute, Forwarding, Labels, Name, Pool, Service, ServicePort, Vip};

/// A document with its names indexed.
pub(crate) struct Rules<'a> {
    draft: &'a Draft,
    vips: BTreeMap<&'a Name, &'a Entry<Vip>>,
    pools: BTreeMap<&'a Name, &'a Entry<Pool>>,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(draft: &'a Draft) -> Self {
        Self {
            draft,
            vips: draft.vips.iter().map(|entry| (&entry.name, entry)).collect(),
            pools: draft.pools.iter().map(|entry| (&entry.name, entry)).collect(),
        }
    }

    pub(crate) fn check(&self, violations: &mut Collector) {
        self.vip_addresses(violations);
        self.announced_prefixes(violations);
        self.backends_are_no_vips(violations);
        self.references(violations);
        self.services_take_different_traffic(violations);
        self.l2_families(violations);
        self.peer_addresses(violations);
        self.route_keys(violations);
    }

    fn vip_addresses(&self, violations: &mut Collector) {
        let mut first: BTreeMap<IpAddr, &Name> = BTreeMap::new();
        for (entry, vip) in present(&self.draft.vips) {
            if let Some(other) = first.insert(vip.address, &entry.name) {
                let message =
                    format!("{} is already the address of vip {other}: one address, one vip", vip.address);
                violations.push(format!("{}.spec.address", entry.path), message);
            }
        }
    }

    /// VIPs that share a covering prefix are one route on the wire: it can carry only one set of attributes.
    fn announced_prefixes(&self, violations: &mut Collector) {
        let mut first: BTreeMap<IpNet, (&Name, &Vip)> = BTreeMap::new();
        for (entry, vip) in present(&self.draft.vips) {
            let Some((other, earlier)) = first.insert(vip.prefix, (&entry.name, vip)) else { continue };
            if earlier.address != vip.address && earlier.announce != vip.announce {
                let message = format!(
                    "differs from that of vip {other}, which announces {} too: one route carries one set of \
                     attributes; make both alike or announce different prefixes",
                    vip.prefix
                );
                violations.push(format!("{}.spec.announce", entry.path), message);
            }
        }
    }

    /// A tunnel to an address that this node takes for itself would loop.
    fn backends_are_no_vips(&self, violations: &mut Collector) {
        let vips: BTreeMap<IpAddr, &Name> =
            present(&self.draft.vips).map(|(entry, vip)| (vip.address, &entry.name)).collect();
        for (entry, pool) in present(&self.draft.pools) {
            for address in pool.backends.keys() {
                if let Some(vip) = vips.get(address) {
                    let message =
                        format!("{address} is the address of vip {vip}: use the server's own address");
                    violations.push(format!("{}.spec.backends", entry.path), message);
                }
            }
        }
    }

    fn references(&self, violations: &mut Collector) {
        for (entry, service) in present(&self.draft.services) {
            if !self.vips.contains_key(&service.vip) {
                let message = missing("vip", &service.vip, self.vips.keys());
                violations.push(format!("{}.spec.vip", entry.path), message);
            }
            if !self.pools.contains_key(&service.pool) {
                let message = missing("pool", &service.pool, self.pools.keys());
                violations.push(format!("{}.spec.pool", entry.path), message);
            }
        }
    }

    fn services_take_different_traffic(&self, violations: &mut Collector) {
        let mut first = BTreeMap::new();
        for (entry, service) in present(&self.draft.services) {
            let key = (&service.vip, service.protocol, service.port);
            if let Some(other) = first.insert(key, &entry.name) {
                let (field, what) = match service.port {
                    ServicePort::Exact(port) => ("port", format!("port {port}")),
                    ServicePort::All => ("all_ports", "all ports".to_owned()),
                };
                let message = format!(
                    "{what} of vip {} is already taken by service {other}: use another port, vip or protocol",
                    service.vip
                );
                violations.push(format!("{}.spec.{field}", entry.path), message);
            }
        }
    }

    /// `l2` changes MAC addresses only: the backend gets the client's packet, so it must speak the VIP's family.
    fn l2_families(&self, violations: &mut Collector) {
        for (entry, service) in present(&self.draft.services) {
            let Some((vip, pool)) = self.parts(service) else { continue };
            let other_family =
                pool.backends.keys().find(|backend| backend.is_ipv4() != vip.address.is_ipv4());
            if let (Forwarding::L2, Some(backend)) = (service.forwarding, other_family) {
                let message = format!(
                    "l2 cannot carry vip {} ({}) to backend {backend} of pool {}: use ipip, or backends of the \
                     vip's family",
                    service.vip, vip.address, service.pool
                );
                violations.push(format!("{}.spec.forwarding", entry.path), message);
            }
        }
    }

    fn parts(&self, service: &Service) -> Option<(&'a Vip, &'a Pool)> {
        let vip = self.vips.get(&service.vip)?.value.as_ref()?;
        let pool = self.pools.get(&service.pool)?.value.as_ref()?;
        Some((vip, pool))
    }

    fn peer_addresses(&self, violations: &mut Collector) {
        let mut seen: BTreeMap<IpAddr, Vec<(&Name, &Labels)>> = BTreeMap::new();
        for (entry, peer) in present(&self.draft.peers) {
            let others = seen.entry(peer.address).or_default();
            if let Some((other, _)) = others.iter().find(|(_, labels)| overlap(labels, &peer.node_selector)) {
                let message = format!(
                    "{} is already the address of peer {other} on the same nodes: one session per neighbour; \
                     remove one, or select different nodes",
                    peer.address
                );
                violations.push(format!("{}.spec.address", entry.path), message);
            }
            others.push((&entry.name, &peer.node_selector));
        }
    }

    /// The kernel holds one route per prefix, table and metric; and a VIP's own route is the blackhole.
    fn route_keys(&self, violations: &mut Collector) {
        let hosts: BTreeMap<IpNet, &Name> =
            present(&self.draft.vips).map(|(entry, vip)| (IpNet::from(vip.address), &entry.name)).collect();
        let mut seen: BTreeMap<_, Vec<(&Name, &EndpointRoute)>> = BTreeMap::new();
        for (entry, route) in present(&self.draft.routes) {
            let field = format!("{}.spec.prefix", entry.path);
            if let Some(vip) = hosts.get(&route.prefix) {
                let message =
                    format!("{} is the address of vip {vip}: route to its backends instead", route.prefix);
                violations.push(field.clone(), message);
            }
            let others = seen.entry((route.prefix, route.table, route.metric)).or_default();
            let clash = others.iter().find(|(_, other)| overlap(&other.node_selector, &route.node_selector));
            if let Some((other, _)) = clash {
                let message = format!(
                    "{} in table {} with metric {} is already route {other} on the same nodes: list both next hops \
                     in one route (ECMP), or use another metric",
                    route.prefix, route.table, route.metric
                );
                violations.push(field, message);
            }
            others.push((&entry.name, route));
        }
    }
}

/// Fields that are fixed while a resource lives: what was built on them cannot follow.
pub(crate) fn unchanged(draft: &Draft, stored: &Desired, violations: &mut Collector) {
    for (entry, pool) in present(&draft.pools) {
        if let Some(old) = stored.pools.get(&entry.name)
            && old.max_backends != pool.max_backends
        {
            let message = format!(
                "is {} and cannot change: it fixed the ring's size, and another size would move connections; \
                 make a new pool and point the services to it",
                old.max_backends
            );
            violations.push(format!("{}.spec.max_backends", entry.path), message);
        }
    }
    for (entry, vip) in present(&draft.vips) {
        if let Some(old) = stored.vips.get(&entry.name)
            && old.address != vip.address
        {
            let message = format!(
                "is {} and cannot change: make a new vip, move the services to it, then delete this one",
                old.address
            );
            violations.push(format!("{}.spec.address", entry.path), message);
        }
    }
}

/// Some node may carry the labels of both selectors: false only when they ask different values of one key.
fn overlap(a: &Labels, b: &Labels) -> bool {
    !a.iter().any(|(key, value)| b.get(key).is_some_and(|other| other != value))
}

fn present<T>(entries: &[Entry<T>]) -> impl Iterator<Item = (&Entry<T>, &T)> {
    entries.iter().filter_map(|entry| Some((entry, entry.value.as_ref()?)))
}

/// "no pool is named wbe; there are: web, dns".
fn missing<'a>(kind: &str, name: &Name, there: impl Iterator<Item = &'a &'a Name>) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<&str> = there.map(|name| name.as_str()).take(SHOWN + 1).collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    names.truncate(SHOWN);
    match names.as_slice() {
        [] => format!("no {kind} is named {name}: create it first, or in the same document"),
        _ => format!("no {kind} is named {name}: there are {}{more}", names.join(", ")),
    }
}
