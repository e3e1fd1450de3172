//! Ways to the addresses that are to be resolved: lookups, verdicts, probes of next hops.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use tokio::time::Instant;
use tracing::debug;

use super::Worker;
use crate::mirror::Dirty;
use crate::netlink::route::{self, Found};
use crate::netlink::{Refusal, neighbour};
use crate::resolve::{self, Candidate, Way};
use crate::{Resolution, ResolutionError, Wanted};

type Resolved = BTreeMap<IpAddr, Result<Resolution, ResolutionError>>;

impl Worker {
    /// Asks the kernel anew for the ways that may have changed.
    pub(super) async fn look_up(&mut self, wanted: &Wanted, dirty: &Dirty) -> Result<(), Refusal> {
        for address in &wanted.resolve {
            if dirty.all_ways || dirty.ways.contains(address) || !self.ways.contains_key(address) {
                let answer = self.lookup(*address, false, None).await?;
                self.ways.insert(*address, resolve::way(*address, answer));
            }
        }
        Ok(())
    }

    /// The outcome for every wanted address; takes care that all hops in use are probed.
    pub(super) async fn judge_all(&mut self, before: &Resolved) -> Result<Resolved, Refusal> {
        let Some(wanted) = self.wanted.clone() else { return Ok(Resolved::new()) };
        let mut resolved = Resolved::new();
        for address in &wanted.resolve {
            let mut verdict = self.judge(*address, before);
            let broken = matches!(
                verdict,
                Err(ResolutionError::NeighbourFailed { .. } | ResolutionError::InterfaceDown(_))
            );
            if broken && self.look_for_others(*address).await? {
                verdict = self.judge(*address, before);
            }
            resolved.insert(*address, verdict);
        }
        let hops: BTreeSet<_> = self
            .ways
            .values()
            .flat_map(Way::candidates)
            .map(Candidate::neighbour)
            .filter(|hop| self.runs(hop.0))
            .collect();
        self.probes.set(&hops, Instant::now().into_std());
        Ok(resolved)
    }

    fn judge(&self, address: IpAddr, before: &Resolved) -> Result<Resolution, ResolutionError> {
        let way = self.ways.get(&address).ok_or(ResolutionError::Pending)?;
        let verdict = resolve::judge(address, way, &self.mirror, before.get(&address));
        verdict.map_err(|error| resolve::explain(address, error, &self.routes, &self.mirror))
    }

    /// Adds the other next hops of a multipath route to the way. True: there are some.
    async fn look_for_others(&mut self, address: IpAddr) -> Result<bool, Refusal> {
        let Some(Way::Hops { candidates, asked_all: false }) = self.ways.get(&address) else {
            return Ok(false);
        };
        let Some(first) = candidates.first().cloned() else { return Ok(false) };
        let mut candidates = vec![first.clone()];
        if let Ok(whole) = self.lookup(address, true, None).await? {
            for hop in whole.hops {
                let next_hop = hop.via.unwrap_or(address);
                if (hop.ifindex, next_hop) == first.neighbour() {
                    continue;
                }
                let mut other =
                    Candidate { ifindex: hop.ifindex, next_hop, on_link: hop.via.is_none(), ..first.clone() };
                if hop.ifindex != first.ifindex {
                    let Ok(through) = self.lookup(address, false, Some(hop.ifindex)).await? else { continue };
                    let Some(source) = through.source else { continue };
                    (other.source, other.mtu) = (source, through.mtu);
                }
                candidates.push(other);
            }
        }
        let others = candidates.len() > 1;
        self.ways.insert(address, Way::Hops { candidates, asked_all: true });
        Ok(others)
    }

    /// The outer result fails when the socket is gone; the inner one is the kernel's answer.
    async fn lookup(
        &self,
        address: IpAddr,
        whole: bool,
        through: Option<u32>,
    ) -> Result<Result<Found, Refusal>, Refusal> {
        match self.requests.ask(route::lookup(address, whole, through)).await {
            Ok(Some(RouteNetlinkMessage::NewRoute(message))) => Ok(Ok(route::found(&message))),
            Ok(_) => Ok(Err(Refusal { errno: Some(nix::errno::Errno::ENETUNREACH), text: None })),
            Err(refusal) if refusal.errno.is_none() => Err(refusal),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn runs(&self, ifindex: u32) -> bool {
        self.mirror.links.get(&ifindex).is_some_and(|link| link.running && link.mac.is_some())
    }

    /// Asks the neighbours that are due.
    pub(super) async fn probe_due(&mut self) -> Result<(), Refusal> {
        for hop in self.probes.take_due(Instant::now().into_std()) {
            let now = self.mirror.neighbours.get(&hop).copied();
            let Some((request, flags)) = neighbour::refresh(hop, now) else { continue };
            match self.requests.change(request, flags).await {
                Err(refusal) if refusal.errno.is_none() => return Err(refusal),
                // The entry changed under our hands: its announcement is on the way.
                Err(refusal) => debug!(next_hop = %hop.1, error = %refusal, "next hop not probed"),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
