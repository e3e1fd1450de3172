//! Our OPEN, and what comes of it and the peer's: the checks of RFC 4271 6.2, RFC 6286, RFC 6793 and RFC 5492, hold time
//! and capability negotiation.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::wire::{AfiSafi, Capability, Context, Family, GracefulRestart, Notification, Open, Reason};

/// What the state machine must know of the peer and of ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub local_asn: u32,
    pub router_id: Ipv4Addr,
    pub remote_asn: u32,
    /// Families to offer.
    pub families: Vec<Family>,
    /// Proposed hold time: 0 or at least 3 s.
    pub hold: Duration,
    pub keepalive: Duration,
    /// Cap of the connect retry, and how long one attempt may take.
    pub connect_retry: Duration,
    /// Never dial.
    pub passive: bool,
    /// Restart time to announce (RFC 4724), at most 4095 s; `None`: no graceful restart.
    pub restart_time: Option<Duration>,
}

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    pub remote_asn: u32,
    pub remote_id: Ipv4Addr,
    /// The peer is in our own AS.
    pub internal: bool,
    /// Both offered, in a fixed order; never empty.
    pub families: Vec<Family>,
    /// `None`: no keepalives, the session never expires.
    pub hold: Option<Duration>,
    pub keepalive: Option<Duration>,
    pub four_octet_asn: bool,
    /// The peer asks with ROUTE-REFRESH.
    pub route_refresh: bool,
    /// Both sides have graceful restart: the peer keeps our routes when the connection goes without NOTIFICATION.
    pub graceful_restart: bool,
    /// The peer's own announcement of it.
    pub remote_restart: Option<GracefulRestart>,
}

/// Facts of this very moment that go into the graceful restart capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Restart {
    /// R-bit.
    pub(super) restarting: bool,
    /// F-bit.
    pub(super) forwarding: bool,
}

impl Settings {
    pub(super) fn open(&self, restart: Restart) -> Open {
        let families = self.families.iter().map(|family| family.wire());
        let mut capabilities: Vec<_> = families.clone().map(Capability::MultiProtocol).collect();
        capabilities.push(Capability::RouteRefresh);
        capabilities.push(Capability::FourOctetAsn(self.local_asn));
        if let Some(time) = self.restart_time {
            capabilities.push(Capability::GracefulRestart(GracefulRestart {
                restarting: restart.restarting,
                notification: false,
                time: time.as_secs().min(4095) as u16,
                families: families.map(|family| (family, restart.forwarding)).collect(),
            }));
        }
        Open {
            my_as: Open::short_asn(self.local_asn),
            hold_time: seconds(self.hold),
            bgp_id: self.router_id,
            capabilities,
        }
    }

    pub(super) fn internal(&self) -> bool {
        self.local_asn == self.remote_asn
    }

    /// Checks the peer's OPEN and works out the session.
    pub(super) fn negotiate(&self, open: &Open) -> Result<Negotiated, Notification> {
        self.check(open)?;
        let remote_families = remote_families(open);
        let families: Vec<_> = Family::ALL
            .into_iter()
            .filter(|family| self.families.contains(family) && remote_families.contains(&family.wire()))
            .collect();
        if families.is_empty() {
            return Err(self.no_common_family());
        }
        let hold = seconds(self.hold).min(open.hold_time);
        let remote_restart = open.capabilities.iter().find_map(|capability| match capability {
            Capability::GracefulRestart(restart) => Some(restart.clone()),
            _ => None,
        });
        Ok(Negotiated {
            remote_asn: open.asn(),
            remote_id: open.bgp_id,
            internal: self.internal(),
            families,
            hold: (hold > 0).then(|| Duration::from_secs(hold.into())),
            keepalive: (hold > 0).then(|| self.keepalive_for(hold)),
            four_octet_asn: open.four_octet_asn().is_some(),
            route_refresh: open.capabilities.contains(&Capability::RouteRefresh),
            graceful_restart: self.restart_time.is_some() && remote_restart.is_some(),
            remote_restart,
        })
    }

    fn check(&self, open: &Open) -> Result<(), Notification> {
        let asn = open.asn();
        // A two-octet field that contradicts the capability is as wrong as the wrong ASN (RFC 6793 4.2.1).
        let contradicts = open.my_as != Open::short_asn(asn);
        if asn == 0 || asn != self.remote_asn || contradicts {
            return Err(Notification::new(Reason::BadPeerAs));
        }
        let own_id = open.bgp_id == self.router_id && self.internal();
        if open.bgp_id.is_unspecified() || own_id {
            return Err(Notification::new(Reason::BadBgpIdentifier));
        }
        if matches!(open.hold_time, 1 | 2) {
            return Err(Notification::new(Reason::UnacceptableHoldTime));
        }
        Ok(())
    }

    fn keepalive_for(&self, hold: u16) -> Duration {
        if hold == seconds(self.hold) {
            // Never so rare that one lost keepalive ends the session.
            self.keepalive.min(self.hold / 3).max(Duration::from_millis(100))
        } else {
            Duration::from_secs(hold.into()) / 3
        }
    }

    /// RFC 5492 5: the capabilities that we miss are the data.
    fn no_common_family(&self) -> Notification {
        let data: Vec<u8> = self
            .families
            .iter()
            .flat_map(|family| {
                let AfiSafi { afi, safi } = family.wire();
                let [high, low] = afi.to_be_bytes();
                [1, 4, high, low, 0, safi]
            })
            .collect();
        Notification::with_data(Reason::UnsupportedCapability, &data)
    }
}

/// A speaker without the multiprotocol capability speaks IPv4 unicast (RFC 4760 8).
fn remote_families(open: &Open) -> Vec<AfiSafi> {
    let families: Vec<_> = open
        .capabilities
        .iter()
        .filter_map(|capability| match capability {
            Capability::MultiProtocol(family) => Some(*family),
            _ => None,
        })
        .collect();
    if families.is_empty() { vec![Family::Ipv4Unicast.wire()] } else { families }
}

fn seconds(duration: Duration) -> u16 {
    duration.as_secs().min(u64::from(u16::MAX)) as u16
}

impl Negotiated {
    pub(super) fn context(&self) -> Context {
        Context { four_octet_asn: self.four_octet_asn, internal: self.internal }
    }

    /// Short names for people and status.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.families.iter().map(ToString::to_string).collect();
        let restarting = self.remote_restart.as_ref().is_some_and(|restart| restart.restarting);
        let more = [
            (self.four_octet_asn, "four-octet-asn"),
            (self.route_refresh, "route-refresh"),
            (self.graceful_restart, "graceful-restart"),
            (restarting, "peer-restarting"),
        ];
        names.extend(more.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned()));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            local_asn: 64512,
            router_id: [10, 0, 0, 1].into(),
            remote_asn: 4_200_000_000,
            families: Family::ALL.to_vec(),
            hold: Duration::from_secs(9),
            keepalive: Duration::from_secs(3),
            connect_retry: Duration::from_secs(5),
            passive: false,
            restart_time: Some(Duration::from_secs(15)),
        }
    }

    fn peer_open() -> Open {
        let peer = Settings {
            local_asn: 4_200_000_000,
            router_id: [10, 0, 0, 2].into(),
            remote_asn: 64512,
            hold: Duration::from_secs(180),
            ..settings()
        };
        peer.open(Restart { restarting: true, forwarding: true })
    }

    #[test]
    fn smaller_hold_time_wins() {
        let session = settings().negotiate(&peer_open()).unwrap();
        assert_eq!(session.hold, Some(Duration::from_secs(9)));
        assert_eq!(session.keepalive, Some(Duration::from_secs(3)));
        let session = settings().negotiate(&Open { hold_time: 4, ..peer_open() }).unwrap();
        assert_eq!(session.keepalive, Some(Duration::from_secs(4) / 3));
        let session = settings().negotiate(&Open { hold_time: 0, ..peer_open() }).unwrap();
        assert_eq!((session.hold, session.keepalive), (None, None));
    }

    #[test]
    fn names_say_what_was_negotiated() {
        let session = settings().negotiate(&peer_open()).unwrap();
        let expected = [
            "ipv4-unicast",
            "ipv6-unicast",
            "four-octet-asn",
            "route-refresh",
            "graceful-restart",
            "peer-restarting",
        ];
        assert_eq!(session.names(), expected);
    }

    #[test]
    fn unacceptable_opens_are_answered_with_their_code() {
        let reason = |open: Open| settings().negotiate(&open).unwrap_err().reason;
        let without_asn4 = |my_as| Open {
            my_as,
            capabilities: vec![Capability::MultiProtocol(Family::Ipv4Unicast.wire())],
            ..peer_open()
        };
        assert_eq!(reason(without_asn4(64513)), Reason::BadPeerAs);
        assert_eq!(reason(Open { my_as: 64513, ..peer_open() }), Reason::BadPeerAs);
        assert_eq!(reason(Open { bgp_id: Ipv4Addr::UNSPECIFIED, ..peer_open() }), Reason::BadBgpIdentifier);
        assert_eq!(reason(Open { hold_time: 2, ..peer_open() }), Reason::UnacceptableHoldTime);

        let internal = Settings { remote_asn: 64512, ..settings() };
        let same_id = Open { bgp_id: internal.router_id, ..internal.open(Restart::none()) };
        assert_eq!(internal.negotiate(&same_id).unwrap_err().reason, Reason::BadBgpIdentifier);
    }

    #[test]
    fn no_common_family_names_what_is_missing() {
        let mut open = peer_open();
        open.capabilities.retain(|capability| !matches!(capability, Capability::MultiProtocol(_)));
        let session = settings().negotiate(&open).unwrap();
        assert_eq!(session.families, [Family::Ipv4Unicast], "without the capability it is IPv4");

        let v6_only = Settings { families: vec![Family::Ipv6Unicast], ..settings() };
        let error = v6_only.negotiate(&open).unwrap_err();
        assert_eq!(error, Notification::with_data(Reason::UnsupportedCapability, &[1, 4, 0, 2, 0, 1]));
    }

    impl Restart {
        fn none() -> Self {
            Self { restarting: false, forwarding: false }
        }
    }
}
