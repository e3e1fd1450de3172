//! From the kernel's answers to the way of one address: route, interface, neighbour. Pure.
//!
//! The kernel chooses the next hop. Only when that one cannot be used and the route has others (ECMP) the first of them
//! that works is taken: a router that died must not take a backend with it that is reachable through its twin.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::errno::Errno;

use crate::mirror::Mirror;
use crate::netlink::Refusal;
use crate::netlink::neighbour::{Neighbour, NeighbourKey};
use crate::netlink::route::Found;
use crate::{Resolution, ResolutionError, Route, RouteKey, RouteKind};

/// One usable next hop of the way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) ifindex: u32,
    pub(crate) next_hop: IpAddr,
    pub(crate) on_link: bool,
    pub(crate) source: IpAddr,
    /// MTU metric of the route, or the path MTU that the kernel has learned.
    pub(crate) mtu: Option<u32>,
}

impl Candidate {
    pub(crate) fn neighbour(&self) -> NeighbourKey {
        (self.ifindex, self.next_hop)
    }
}

/// What the kernel said about the way to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// The kernel's choice first. `asked_all`: the others of a multipath route follow.
    Hops {
        candidates: Vec<Candidate>,
        asked_all: bool,
    },
    Dead(ResolutionError),
}

impl Way {
    pub(crate) fn candidates(&self) -> &[Candidate] {
        match self {
            Self::Hops { candidates, .. } => candidates,
            Self::Dead(_) => &[],
        }
    }
}

/// The kernel's answer to a lookup of `address`.
pub(crate) fn way(address: IpAddr, answer: Result<Found, Refusal>) -> Way {
    let found = match answer {
        Ok(found) => found,
        Err(refusal) => return Way::Dead(refused(address, &refusal)),
    };
    if let Some(kind) = found.unusable {
        return Way::Dead(ResolutionError::Unusable { address, kind });
    }
    let Some(source) = found.source else {
        return Way::Dead(ResolutionError::Unusable { address, kind: "source-less".into() });
    };
    let candidates = found.hops.iter().map(|hop| Candidate {
        ifindex: hop.ifindex,
        next_hop: hop.via.unwrap_or(address),
        on_link: hop.via.is_none(),
        source,
        mtu: found.mtu,
    });
    Way::Hops { candidates: candidates.collect(), asked_all: false }
}

/// A lookup that ends in a route of another type is refused with that type's error (`fib_props`, net/ipv4/fib_semantics.c;
/// `ip6_rt_type_to_error`, net/ipv6/route.c).
fn refused(address: IpAddr, refusal: &Refusal) -> ResolutionError {
    let kind = match refusal.errno {
        Some(Errno::EINVAL) => "blackhole",
        Some(Errno::EHOSTUNREACH) => "unreachable",
        Some(Errno::EACCES) => "prohibit",
        Some(Errno::EAGAIN) => "throw",
        _ => return ResolutionError::NoRoute(address),
    };
    ResolutionError::Unusable { address, kind: kind.into() }
}

/// `before`: what was published last; a next hop that failed stays failed while it is being asked again, instead of
/// changing its words at every probe.
pub(crate) fn judge(
    address: IpAddr,
    way: &Way,
    mirror: &Mirror,
    before: Option<&Result<Resolution, ResolutionError>>,
) -> Result<Resolution, ResolutionError> {
    let candidates = match way {
        Way::Hops { candidates, .. } => candidates,
        Way::Dead(error) => return Err(error.clone()),
    };
    let mut first = None;
    for candidate in candidates {
        match judge_one(address, candidate, mirror, before) {
            Ok(resolution) => return Ok(resolution),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(ResolutionError::NoRoute(address)))
}

fn judge_one(
    address: IpAddr,
    candidate: &Candidate,
    mirror: &Mirror,
    before: Option<&Result<Resolution, ResolutionError>>,
) -> Result<Resolution, ResolutionError> {
    let Some(link) = mirror.links.get(&candidate.ifindex) else {
        return Err(ResolutionError::NoRoute(address));
    };
    let device = link.name.clone();
    if !link.running {
        return Err(ResolutionError::InterfaceDown(device));
    }
    let unusable = || ResolutionError::Unusable { address, kind: "non-Ethernet".into() };
    let src_mac = link.mac.ok_or_else(unusable)?;
    let next_hop = candidate.next_hop;
    let failed = ResolutionError::NeighbourFailed { next_hop, device: device.clone() };
    let dst_mac = match mirror.neighbours.get(&candidate.neighbour()) {
        Some(Neighbour::Usable { mac, .. }) => *mac,
        Some(Neighbour::NoAddress) => return Err(unusable()),
        Some(Neighbour::Failed) => return Err(failed),
        Some(Neighbour::Asked) | None if before == Some(&Err(failed.clone())) => return Err(failed),
        Some(Neighbour::Asked) | None => return Err(ResolutionError::NeighbourPending { next_hop, device }),
    };
    Ok(Resolution {
        ifindex: candidate.ifindex,
        device,
        next_hop,
        source: candidate.source,
        src_mac,
        dst_mac,
        mtu: candidate.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
        on_link: candidate.on_link,
    })
}

/// A route through an interface that was switched off is gone from the kernel: when one of ours is to lead there, the
/// interface is the reason.
pub(crate) fn explain(
    address: IpAddr,
    error: ResolutionError,
    wanted: &BTreeMap<RouteKey, Route>,
    mirror: &Mirror,
) -> ResolutionError {
    if error != ResolutionError::NoRoute(address) {
        return error;
    }
    let covering = wanted.iter().filter(|(key, _)| key.prefix.contains(&address));
    let Some((_, Route { kind: RouteKind::Unicast(hops), .. })) =
        covering.max_by_key(|(key, _)| key.prefix.prefix_len())
    else {
        return error;
    };
    let runs = |name: &str| mirror.links.values().any(|link| link.name == name && link.running);
    let down = hops.iter().filter_map(|hop| hop.device.as_deref()).find(|device| !runs(device));
    down.map_or(error, |device| ResolutionError::InterfaceDown(device.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NextHop;
    use crate::netlink::link::Link;
    use crate::netlink::route::Hop;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn mirror() -> Mirror {
        let mut m = Mirror::default();
        let link = |name: &str| Link { name: name.into(), running: true, mac: Some(MAC), mtu: 1500 };
        m.links = [(2, link("eth0")), (3, link("eth1"))].into();
        m
    }

    fn found(hops: &[(Option<&str>, u32)]) -> Found {
        let hops = hops.iter().map(|(via, ifindex)| Hop { via: via.map(ip), ifindex: *ifindex }).collect();
        Found { unusable: None, hops, source: Some(ip("10.0.0.1")), mtu: None }
    }

    fn usable() -> Neighbour {
        Neighbour::Usable { mac: PEER, renewable: true }
    }

    #[test]
    fn through_a_gateway_and_on_link() {
        let mut m = mirror();
        m.neighbours.insert((2, ip("10.0.0.2")), usable());
        let a = ip("56.56.56.1");
        let r = judge(a, &way(a, Ok(found(&[(Some("10.0.0.2"), 2)]))), &m, None).unwrap();
        assert_eq!((r.next_hop, r.on_link, r.mtu, r.device.as_str()), (ip("10.0.0.2"), false, 1500, "eth0"));
        assert_eq!((r.src_mac, r.dst_mac, r.source), (MAC, PEER, ip("10.0.0.1")));
        let a = ip("10.0.0.2");
        let r = judge(a, &way(a, Ok(found(&[(None, 2)]))), &m, None).unwrap();
        assert_eq!((r.next_hop, r.on_link), (a, true));
    }

    #[test]
    fn the_smaller_mtu_counts() {
        let mut m = mirror();
        m.neighbours.insert((2, ip("10.0.0.2")), usable());
        let a = ip("56.56.56.1");
        for (metric, expected) in [(Some(1400), 1400), (Some(9000), 1500), (None, 1500)] {
            let answer = Found { mtu: metric, ..found(&[(Some("10.0.0.2"), 2)]) };
            assert_eq!(judge(a, &way(a, Ok(answer)), &m, None).unwrap().mtu, expected);
        }
    }

    #[test]
    fn neighbour_states_have_their_own_errors() {
        let mut m = mirror();
        let a = ip("56.56.56.1");
        let w = way(a, Ok(found(&[(Some("10.0.0.2"), 2)])));
        let pending =
            Err(ResolutionError::NeighbourPending { next_hop: ip("10.0.0.2"), device: "eth0".into() });
        let failed =
            Err(ResolutionError::NeighbourFailed { next_hop: ip("10.0.0.2"), device: "eth0".into() });
        assert_eq!(judge(a, &w, &m, None), pending);
        m.neighbours.insert((2, ip("10.0.0.2")), Neighbour::Asked);
        assert_eq!(judge(a, &w, &m, None), pending);
        assert_eq!(judge(a, &w, &m, Some(&failed)), failed, "asked again, still failed");
        m.neighbours.insert((2, ip("10.0.0.2")), Neighbour::Failed);
        assert_eq!(judge(a, &w, &m, Some(&pending)), failed);
        m.neighbours.insert((2, ip("10.0.0.2")), usable());
        assert!(judge(a, &w, &m, Some(&failed)).is_ok());
    }

    #[test]
    fn links_that_cannot_carry_it() {
        let mut m = mirror();
        m.neighbours.insert((2, ip("10.0.0.2")), usable());
        let a = ip("10.0.0.2");
        let w = way(a, Ok(found(&[(None, 2)])));
        m.links.get_mut(&2).unwrap().running = false;
        assert_eq!(judge(a, &w, &m, None), Err(ResolutionError::InterfaceDown("eth0".into())));
        let link = m.links.get_mut(&2).unwrap();
        (link.running, link.mac) = (true, None);
        let error = judge(a, &w, &m, None).unwrap_err();
        assert_eq!(error.to_string(), "the route to 10.0.0.2 is of type non-Ethernet");
        m.links.clear();
        assert_eq!(judge(a, &w, &m, None), Err(ResolutionError::NoRoute(a)));
    }

    #[test]
    fn refusals_name_the_kind_of_route() {
        let a = ip("20.20.20.1");
        let said = |errno| match way(a, Err(Refusal { errno: Some(errno), text: None })) {
            Way::Dead(e) => e.to_string(),
            w => panic!("{w:?}"),
        };
        assert_eq!(said(Errno::EINVAL), "the route to 20.20.20.1 is of type blackhole");
        assert_eq!(said(Errno::EHOSTUNREACH), "the route to 20.20.20.1 is of type unreachable");
        assert_eq!(said(Errno::ENETUNREACH), "no route to 20.20.20.1");
        let local = Found { unusable: Some("local".into()), ..found(&[(None, 1)]) };
        assert_eq!(
            way(a, Ok(local)),
            Way::Dead(ResolutionError::Unusable { address: a, kind: "local".into() })
        );
    }

    #[test]
    fn a_missing_route_is_explained_by_the_interface_of_ours() {
        let a = ip("56.56.56.1");
        let none = ResolutionError::NoRoute(a);
        let hop =
            NextHop { via: Some(ip("10.0.0.2")), device: Some("eth0".into()), onlink: false, weight: 1 };
        let route = Route { kind: RouteKind::Unicast([hop].into()), mtu: None, advmss: None };
        let key = RouteKey { prefix: "56.56.56.0/24".parse().unwrap(), table: 254, metric: 0 };
        let wanted = [(key, route)].into();
        let mut m = mirror();
        assert_eq!(explain(a, none.clone(), &wanted, &m), none, "the interface runs");
        m.links.get_mut(&2).unwrap().running = false;
        assert_eq!(explain(a, none.clone(), &wanted, &m), ResolutionError::InterfaceDown("eth0".into()));
        assert_eq!(explain(ip("9.9.9.9"), none.clone(), &wanted, &m), none, "not ours to know");
    }

    #[test]
    fn a_living_twin_stands_in_for_a_dead_next_hop() {
        let mut m = mirror();
        let a = ip("56.56.56.1");
        let w = way(a, Ok(found(&[(Some("10.0.0.2"), 2), (Some("10.0.1.2"), 3)])));
        m.neighbours.insert((2, ip("10.0.0.2")), Neighbour::Failed);
        let first = ResolutionError::NeighbourFailed { next_hop: ip("10.0.0.2"), device: "eth0".into() };
        assert_eq!(judge(a, &w, &m, None), Err(first), "the error is about the kernel's choice");
        m.neighbours.insert((3, ip("10.0.1.2")), usable());
        assert_eq!(judge(a, &w, &m, None).unwrap().device, "eth1");
        m.neighbours.insert((2, ip("10.0.0.2")), usable());
        assert_eq!(judge(a, &w, &m, None).unwrap().device, "eth0");
    }
}
