//! The route manager's wanted set: blackholes under the VIPs, endpoint routes of this node, and whom to resolve.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use model::{AdminState, Desired, EndpointRoute, HostAddress, Name};
use routemgr::{NextHop, Route, RouteKey, RouteKind, Wanted};

use super::Facts;
use super::announce::matches;
use super::work::Work;

/// Key of the route that keeps a VIP's stray packets from being routed on.
pub(super) fn blackhole(vip: IpAddr, facts: &Facts) -> RouteKey {
    RouteKey { prefix: IpNet::from(vip), table: facts.table, metric: facts.metric }
}

/// Key of a desired endpoint route, and whether it is one of this node.
pub fn endpoint_route_key(name: &Name, desired: &Desired, facts: &Facts) -> Option<(RouteKey, bool)> {
    let route = desired.routes.get(name)?;
    Some((key(route), matches(&route.node_selector, &facts.labels)))
}

fn key(route: &EndpointRoute) -> RouteKey {
    RouteKey { prefix: route.prefix, table: route.table, metric: route.metric }
}

pub(super) fn wanted(work: &Work<'_>, facts: &Facts) -> Wanted {
    let mut wanted = Wanted { interfaces: facts.ingress.iter().cloned().collect(), ..Wanted::default() };
    for (address, vip) in &work.vips {
        match vip.vip.host_address {
            HostAddress::Loopback => {
                wanted.host_addresses.insert(*address);
            }
            HostAddress::None => {
                let route = Route { kind: RouteKind::Blackhole, mtu: None, advmss: None };
                wanted.routes.insert(blackhole(*address, facts), route);
            }
        }
    }
    for route in work.routes.iter().filter(|route| matches(&route.node_selector, &facts.labels)) {
        let hops: BTreeSet<NextHop> = route.next_hops.iter().map(next_hop).collect();
        wanted.interfaces.extend(hops.iter().filter_map(|hop| hop.device.clone()));
        let unicast = Route { kind: RouteKind::Unicast(hops), mtu: route.mtu, advmss: route.advmss };
        wanted.routes.insert(key(route), unicast);
    }
    for pool in work.pools.values() {
        let used = pool.backends.iter().filter(|(_, b)| b.admin_state != AdminState::Disabled);
        wanted.resolve.extend(used.map(|(address, _)| *address));
    }
    wanted
}

fn next_hop(hop: &model::NextHop) -> NextHop {
    NextHop { via: hop.via, device: hop.device.clone(), onlink: hop.onlink, weight: hop.weight }
}
