//! The speaker's wanted set: neighbours of this node, and one route for each announced prefix.

use std::collections::{BTreeMap, BTreeSet};

use bgpd::config::WantedRoute;
use bgpd::{Community, LargeCommunity, PeerConfig, RouteAttributes, Timers, Wanted};
use model::{AnnouncePolicy, Desired, Labels, Name, Peer};

use super::announce::matches;
use super::{Facts, VipPlan};

/// Peers whose node selector takes this node, with their labels.
pub(super) fn peers<'a>(desired: &'a Desired, facts: &Facts) -> BTreeMap<&'a Name, &'a Labels> {
    let here = desired.peers.iter().filter(|(_, peer)| matches(&peer.node_selector, &facts.labels));
    here.map(|(name, peer)| (name, &peer.labels)).collect()
}

pub(super) fn wanted(
    desired: &Desired,
    vips: &BTreeMap<Name, VipPlan>,
    peers: &BTreeMap<&Name, &Labels>,
) -> Wanted {
    let mut wanted = Wanted::default();
    for name in peers.keys() {
        if let Some(peer) = desired.peers.get(*name) {
            wanted.peers.insert(name.as_str().to_owned(), peer_config(peer));
        }
    }
    // VIPs that share a covering prefix have the same policy: the model sees to it.
    for (name, vip) in vips.iter().filter(|(_, vip)| vip.announce.is_ok()) {
        let Some(policy) = desired.vips.get(name).map(|vip| &vip.announce) else { continue };
        let everyone = policy.peer_selector.is_empty();
        let route = wanted.routes.entry(vip.prefix).or_insert_with(|| WantedRoute {
            attributes: attributes(policy),
            peers: (!everyone).then(BTreeSet::new),
        });
        if let Some(peers) = &mut route.peers {
            peers.extend(vip.peers.iter().cloned());
        }
    }
    wanted
}

fn attributes(policy: &AnnouncePolicy) -> RouteAttributes {
    RouteAttributes {
        communities: policy.communities.iter().map(|c| Community(*c)).collect(),
        large_communities: policy
            .large_communities
            .iter()
            .map(|(a, b, c)| LargeCommunity(*a, *b, *c))
            .collect(),
        med: policy.med,
        prepend: policy.prepend,
        local_pref: None,
    }
}

fn peer_config(peer: &Peer) -> PeerConfig {
    PeerConfig {
        address: peer.address,
        port: peer.port,
        remote_asn: peer.remote_asn,
        local_address: peer.local_address,
        ipv4_unicast: peer.ipv4_unicast,
        ipv6_unicast: peer.ipv6_unicast,
        next_hop_v4: peer.next_hop_v4,
        next_hop_v6: peer.next_hop_v6,
        timers: Timers { hold: peer.hold, keepalive: peer.keepalive, connect_retry: peer.connect_retry },
        passive: peer.passive,
        multihop: peer.multihop,
        ttl_security: peer.ttl_security,
        md5_key: peer.md5_key.as_ref().map(|key| key.as_bytes().to_vec()),
        enabled: !peer.shutdown,
    }
}
