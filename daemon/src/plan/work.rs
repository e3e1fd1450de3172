//! What there is to work on: the desired configuration, and what lingers of earlier ones where nothing desired has taken
//! its place.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use ::datapath::{Protocol, ServiceId};
use model::{EndpointRoute, Name, Pool, Service, ServicePort, Vip};

use super::Intent;

/// One VIP to keep in the datapath.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkVip<'a> {
    /// `None`: it lingers and must not be announced.
    pub(super) name: Option<&'a Name>,
    pub(super) vip: &'a Vip,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct WorkService<'a> {
    pub(super) name: &'a Name,
    pub(super) service: &'a Service,
    /// It was removed: served only while its VIP is not announced.
    pub(super) lingers: bool,
}

#[derive(Debug, Default)]
pub(super) struct Work<'a> {
    pub(super) vips: BTreeMap<IpAddr, WorkVip<'a>>,
    pub(super) services: BTreeMap<ServiceId, WorkService<'a>>,
    pub(super) pools: BTreeMap<&'a Name, &'a Pool>,
    pub(super) routes: Vec<&'a EndpointRoute>,
    pub(super) next_removal: Option<SystemTime>,
}

impl<'a> Work<'a> {
    pub(super) fn new(intent: &'a Intent, now: SystemTime) -> Self {
        let desired = &intent.desired;
        let mut work = Self {
            vips: desired.vips.iter().map(|(n, vip)| (vip.address, WorkVip { name: Some(n), vip })).collect(),
            pools: desired.pools.iter().collect(),
            routes: desired.routes.values().collect(),
            ..Self::default()
        };
        for (name, service) in &desired.services {
            if let Some(vip) = desired.vips.get(&service.vip) {
                let id = service_id(vip.address, service);
                work.services.insert(id, WorkService { name, service, lingers: false });
            }
        }
        // The newest removal knows best; what is desired knows better.
        for lingering in intent.lingering.iter().rev().filter(|l| l.until > now) {
            work.next_removal = Some(work.next_removal.map_or(lingering.until, |t| t.min(lingering.until)));
            let removed = &lingering.desired;
            for vip in removed.vips.values() {
                work.vips.entry(vip.address).or_insert(WorkVip { name: None, vip });
            }
            for (name, service) in &removed.services {
                if let Some(vip) = removed.vips.get(&service.vip) {
                    let id = service_id(vip.address, service);
                    work.services.entry(id).or_insert(WorkService { name, service, lingers: true });
                }
            }
            for (name, pool) in &removed.pools {
                work.pools.entry(name).or_insert(pool);
            }
            for route in removed.routes.values() {
                let taken = work
                    .routes
                    .iter()
                    .any(|r| (r.prefix, r.table, r.metric) == (route.prefix, route.table, route.metric));
                if !taken {
                    work.routes.push(route);
                }
            }
        }
        work
    }
}

pub(super) fn service_id(vip: IpAddr, service: &Service) -> ServiceId {
    let protocol = match service.protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
    };
    let port = match service.port {
        ServicePort::Exact(port) => port.get(),
        ServicePort::All => 0,
    };
    ServiceId { vip, protocol, port }
}
