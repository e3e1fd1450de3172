//! BGP neighbours.

use std::time::SystemTime;

use proto::v1::{Peer, PeerSpec, PeerStatus};

use super::{View, by_address, labels, yes_no};
use crate::clock;
use crate::noun::Noun;
use crate::table;

impl View for Peer {
    fn header(wide: bool) -> Vec<&'static str> {
        let mut header = vec!["NAME", "ADDRESS", "AS", "STATE", "UP/DOWN", "ADVERTISED", "LAST ERROR"];
        if wide {
            header.splice(6..6, ["HOLD", "FLAPS", "SENT", "RECEIVED", "ROUTER ID"]);
        }
        header
    }

    fn row(&self, wide: bool, now: SystemTime) -> Vec<String> {
        let (spec, status) = parts(self);
        let mut row = vec![
            self.name().to_owned(),
            spec.address.clone(),
            spec.remote_asn.to_string(),
            state(self),
            clock::since(status.since.as_ref(), now),
            status.advertised.len().to_string(),
            status.last_error.clone(),
        ];
        if wide {
            let hold =
                status.hold_time.as_ref().map_or_else(String::new, |hold| format!("{}s", hold.seconds));
            row.splice(
                6..6,
                [
                    hold,
                    status.flaps.to_string(),
                    status.messages_sent.to_string(),
                    status.messages_received.to_string(),
                    status.remote_router_id.clone(),
                ],
            );
        }
        row
    }

    fn sort(list: &mut [Self]) {
        list.sort_by_cached_key(|peer| by_address(peer.spec.as_ref().map_or("", |spec| &spec.address)));
    }

    fn facts(&self, now: SystemTime) -> Vec<(&'static str, String)> {
        let (spec, status) = parts(self);
        vec![
            ("address", spec.address.clone()),
            ("as", spec.remote_asn.to_string()),
            ("nodes", labels(&spec.node_selector)),
            ("state", state(self)),
            ("since", clock::since(status.since.as_ref(), now)),
            ("flaps", status.flaps.to_string()),
            ("last error", status.last_error.clone()),
            ("router id", status.remote_router_id.clone()),
            (
                "hold time",
                status.hold_time.as_ref().map_or_else(String::new, |hold| format!("{}s", hold.seconds)),
            ),
            ("capabilities", status.capabilities.join(", ")),
            ("messages", format!("{} sent, {} received", status.messages_sent, status.messages_received)),
            ("prefixes received", status.received_prefixes.to_string()),
            ("end of rib sent", yes_no(status.end_of_rib_sent)),
            ("ttl security", yes_no(spec.ttl_security)),
            ("md5 key", if spec.md5_key.is_empty() { String::new() } else { "set".to_owned() }),
        ]
    }

    fn tables(&self) -> Vec<String> {
        let (_, mut status) = parts(self);
        status.advertised.sort_by_cached_key(|prefix| by_address(prefix));
        if status.advertised.is_empty() {
            return Vec::new();
        }
        vec![table::render(
            &["ADVERTISED"],
            status.advertised.into_iter().map(|prefix| vec![prefix]).collect(),
        )]
    }
}

/// The session's state as routers print it, with the reason when it is down on purpose.
pub(crate) fn state(peer: &Peer) -> String {
    let (spec, status) = parts(peer);
    match (status.state.as_str(), spec.shutdown) {
        ("", true) | ("Idle", true) => "Idle(Admin)".to_owned(),
        (state, _) => state.to_owned(),
    }
}

pub(crate) fn is_established(peer: &Peer) -> bool {
    peer.status.as_ref().is_some_and(|status| status.state == "Established")
}

fn parts(peer: &Peer) -> (PeerSpec, PeerStatus) {
    (peer.spec.clone().unwrap_or_default(), peer.status.clone().unwrap_or_default())
}
