//! A restart over a living datapath: nothing of it is touched until this run has seen as much as the one before had.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use datapath::ReadBack;
use health::Target;
use routemgr::ResolutionError;
use tokio::time::Instant;

use crate::plan::{Observed, Plan};

/// Longest time that routes and neighbours get to be resolved while the adopted rings forward as they are.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Adoption {
    /// VIPs that the previous run of this boot announced.
    pub(super) previous: BTreeSet<IpAddr>,
    /// Backends with slots in the adopted rings: up until a probe says otherwise.
    pub(super) targets: BTreeSet<Target>,
    pub(super) holding: bool,
    pub(super) deadline: Instant,
}

impl Adoption {
    pub(super) fn new(previous: BTreeSet<IpAddr>) -> Self {
        Self { previous, targets: BTreeSet::new(), holding: false, deadline: Instant::now() }
    }

    pub(super) fn adopt(&mut self, read_back: &ReadBack, now: Instant) {
        for (pool, members) in &read_back.members {
            // The datapath's pools are named POOL/WAY.
            let Some((name, _)) = pool.0.rsplit_once('/') else { continue };
            self.targets.extend(members.iter().map(|member| Target(format!("{name}/{}", member.0))));
        }
        self.holding = !read_back.services.is_empty() || !self.targets.is_empty();
        self.deadline = now + PATIENCE;
    }

    /// Every way that the plan needs is known, good or bad, and every probe has its first state.
    pub(super) fn settled(&self, plan: &Plan, observed: &Observed, now: Instant) -> bool {
        let known = |address| match observed.routes.resolved.get(address) {
            None => false,
            Some(Err(ResolutionError::Pending | ResolutionError::NeighbourPending { .. })) => false,
            Some(_) => true,
        };
        let complete = plan.routes.resolve.iter().all(known)
            && plan.routes.routes.keys().all(|key| observed.routes.routes_installed.contains(key))
            && plan.health.targets.keys().all(|target| observed.health.targets.contains_key(target));
        complete || now >= self.deadline
    }

    /// A backend that left the plan and comes back later begins like any other.
    pub(super) fn forget_absent(&mut self, plan: &Plan) {
        self.targets.retain(|target| plan.health.targets.contains_key(target));
    }
}
