//! Routes: RTM_*ROUTE messages to [`RouteKey`] and [`Route`] and back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::{NextHop, ROUTE_PROTOCOL, Route, RouteKey, RouteKind};

/// Where a route may send a packet, with the interface by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) via: Option<IpAddr>,
    pub(crate) ifindex: u32,
}

/// A route as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelRoute {
    pub(crate) key: RouteKey,
    pub(crate) protocol: u8,
    /// `None`: something that [`Route`] cannot say (another type, a preferred source, further metrics, nexthop objects).
    pub(crate) route: Option<Route>,
}

/// All routes of one family; with `protocol`, the kernel leaves out those of others.
pub(crate) fn dump(family: AddressFamily, protocol: Option<u8>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.protocol = protocol.unwrap_or_default().into();
    RouteNetlinkMessage::GetRoute(message)
}

/// The kernel's decision for one destination (`whole`: the matching route instead, with all its next hops), if `through`
/// is given over that interface.
pub(crate) fn lookup(address: IpAddr, whole: bool, through: Option<u32>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = IpNet::from(address).prefix_len();
    message.attributes.push(RouteAttribute::Destination(address.into()));
    message.attributes.extend(through.map(RouteAttribute::Oif));
    if whole {
        message.header.flags = RouteFlags::FibMatch;
    }
    RouteNetlinkMessage::GetRoute(message)
}

/// A request that a kernel with rights refuses as malformed and one without as forbidden: the rights are checked first
/// (`rtnetlink_rcv_msg`). It can change nothing.
pub(crate) fn malformed() -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 33;
    message.header.protocol = ROUTE_PROTOCOL.into();
    RouteNetlinkMessage::NewRoute(message)
}

/// Message that names our route with this key, whatever it holds: for RTM_DELROUTE.
pub(crate) fn naming(key: &RouteKey) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(key.prefix.addr());
    header.destination_prefix_length = key.prefix.prefix_len();
    header.protocol = ROUTE_PROTOCOL.into();
    header.scope = RouteScope::NoWhere;
    header.table = u8::try_from(key.table).unwrap_or_default();
    message.attributes = vec![
        RouteAttribute::Destination(key.prefix.addr().into()),
        RouteAttribute::Table(key.table),
        RouteAttribute::Priority(key.metric),
    ];
    message
}

/// Message that makes the route. `index` gives the interface's index; the error names an interface that is not there.
pub(crate) fn encode(
    key: &RouteKey,
    route: &Route,
    index: impl Fn(&str) -> Option<u32>,
) -> Result<RouteMessage, String> {
    let mut message = naming(key);
    message.header.scope = RouteScope::Universe;
    let metrics: Vec<_> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    let hops = match &route.kind {
        RouteKind::Blackhole => {
            message.header.kind = RouteType::BlackHole;
            return Ok(message);
        }
        RouteKind::Unicast(hops) => hops,
    };
    message.header.kind = RouteType::Unicast;
    let single = hops.len() == 1;
    let mut multipath = Vec::new();
    for hop in hops {
        let ifindex = match &hop.device {
            Some(name) => index(name).ok_or_else(|| format!("there is no interface {name}"))?,
            None => 0,
        };
        let gateway = hop.via.map(|via| gateway(key.prefix.addr(), via));
        if single {
            message.attributes.extend(gateway);
            message.attributes.extend((ifindex != 0).then_some(RouteAttribute::Oif(ifindex)));
            message.header.flags.set(RouteFlags::Onlink, hop.onlink);
            if hop.via.is_none() {
                message.header.scope = RouteScope::Link;
            }
        } else {
            let mut next = RouteNextHop::default();
            next.interface_index = ifindex;
            next.hops =
                u8::try_from(weight(hop) - 1).map_err(|_| format!("weight {} is over 256", hop.weight))?;
            next.flags.set(RouteNextHopFlags::Onlink, hop.onlink);
            next.attributes.extend(gateway);
            multipath.push(next);
        }
    }
    match multipath.is_empty() {
        _ if hops.is_empty() => return Err("it has no next hop".into()),
        true => {}
        false => message.attributes.push(RouteAttribute::MultiPath(multipath)),
    }
    Ok(message)
}

/// `name` gives an interface's name. `None` for cached and for foreign-family entries.
pub(crate) fn decode(message: &RouteMessage, name: impl Fn(u32) -> Option<String>) -> Option<KernelRoute> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut destination = unspecified;
    let mut key = RouteKey { prefix: unspecified.into(), table: header.table.into(), metric: 0 };
    let mut route = Route { kind: RouteKind::Blackhole, mtu: None, advmss: None };
    let mut single = NextHop { via: None, device: None, onlink: false, weight: 1 };
    single.onlink = header.flags.contains(RouteFlags::Onlink);
    let mut multipath = None;
    let mut sayable = header.tos == 0 && header.source_prefix_length == 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(a) => destination = ip(a)?,
            RouteAttribute::Table(table) => key.table = *table,
            RouteAttribute::Priority(metric) => key.metric = *metric,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => single.via = via(attribute),
            RouteAttribute::Oif(index) => single.device = name(*index),
            RouteAttribute::MultiPath(hops) => multipath = Some(hops),
            RouteAttribute::Metrics(metrics) => sayable &= read_metrics(&mut route, metrics),
            RouteAttribute::PrefSource(_) | RouteAttribute::NhId(_) | RouteAttribute::Encap(_) => {
                sayable = false
            }
            _ => {}
        }
    }
    key.prefix = IpNet::new(destination, header.destination_prefix_length).ok()?;
    match header.kind {
        RouteType::BlackHole => {}
        RouteType::Unicast => {
            let hops = match multipath {
                None => BTreeSet::from([single]),
                Some(hops) => hops.iter().map(|hop| next_hop(hop, &name)).collect(),
            };
            route.kind = RouteKind::Unicast(hops);
        }
        _ => sayable = false,
    }
    Some(KernelRoute { key, protocol: header.protocol.into(), route: sayable.then_some(route) })
}

/// What a lookup said about the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// rtm_type in words, when it is not `unicast`.
    pub(crate) unusable: Option<String>,
    /// One hop; of a whole route all that are alive.
    pub(crate) hops: Vec<Hop>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
}

pub(crate) fn found(message: &RouteMessage) -> Found {
    let mut found = Found { unusable: None, hops: Vec::new(), source: None, mtu: None };
    if message.header.kind != RouteType::Unicast {
        found.unusable = Some(format!("{:?}", message.header.kind).to_lowercase());
    }
    let mut single = Hop { via: None, ifindex: 0 };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => single.via = via(attribute),
            RouteAttribute::Oif(index) => single.ifindex = *index,
            RouteAttribute::PrefSource(a) => found.source = ip(a),
            RouteAttribute::MultiPath(hops) => {
                let alive = |h: &&RouteNextHop| {
                    !h.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown)
                };
                found.hops = hops.iter().filter(alive).map(hop).collect();
            }
            RouteAttribute::Metrics(metrics) => {
                found.mtu = metrics.iter().find_map(|m| match m {
                    RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if found.hops.is_empty() && single.ifindex != 0 {
        found.hops.push(single);
    }
    found
}

/// Weight as the kernel counts it.
pub(crate) fn weight(hop: &NextHop) -> u16 {
    hop.weight.max(1)
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

pub(crate) fn is_ours(message: &RouteMessage) -> bool {
    message.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL)
}

fn gateway(destination: IpAddr, gateway: IpAddr) -> RouteAttribute {
    if destination.is_ipv4() == gateway.is_ipv4() {
        RouteAttribute::Gateway(gateway.into())
    } else {
        RouteAttribute::Via(gateway.into())
    }
}

fn via(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(a) => ip(a),
        RouteAttribute::Via(RouteVia::Inet(a)) => Some((*a).into()),
        RouteAttribute::Via(RouteVia::Inet6(a)) => Some((*a).into()),
        _ => None,
    }
}

fn hop(hop: &RouteNextHop) -> Hop {
    Hop { via: hop.attributes.iter().find_map(via), ifindex: hop.interface_index }
}

fn next_hop(next: &RouteNextHop, name: impl Fn(u32) -> Option<String>) -> NextHop {
    let Hop { via, ifindex } = hop(next);
    let onlink = next.flags.contains(RouteNextHopFlags::Onlink);
    NextHop { via, device: name(ifindex), onlink, weight: u16::from(next.hops) + 1 }
}

/// False: there are metrics that [`Route`] does not have.
fn read_metrics(route: &mut Route, metrics: &[RouteMetric]) -> bool {
    let mut all = true;
    for metric in metrics {
        match metric {
            RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
            RouteMetric::Advmss(mss) => route.advmss = Some(*mss),
            _ => all = false,
        }
    }
    all
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some((*a).into()),
        RouteAddress::Inet6(a) => Some((*a).into()),
        _ => None,
    }
}
