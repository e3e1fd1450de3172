//! The engine's dealings with the datapath: one request at a time, repaired when it does not come out as wanted, adopted
//! when it was there before.

use std::sync::Arc;

use datapath::{Found, ReadBack};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{AUDIT, Engine};
use crate::mechanism::{Event, Request};
use crate::plan::Plan;

impl Engine {
    /// An ingress interface that was made anew carries no program of ours, whatever the last read-back said.
    pub(super) fn notice_interfaces(&mut self, now: Instant) {
        let routes = self.parts.routes.observed().borrow().clone();
        for name in &self.parts.facts.ingress {
            let index = routes.interfaces.get(name).map(|(index, _)| *index);
            let known = self.ingress.get(name).copied();
            if index == known.flatten() {
                continue;
            }
            if let (Some(_), Some(read_back)) = (known, &mut self.datapath.read_back) {
                warn!(interface = name.as_str(), "the interface is gone or was made anew");
                Arc::make_mut(read_back).attached.remove(name);
            }
            self.ingress.insert(name.clone(), index);
            self.retry.reset(now);
        }
    }

    /// The maps hold what is wanted, proven by the last read-back.
    pub(super) fn converged(&self, plan: &Plan) -> bool {
        let (Some(attempted), Some(read_back)) = (&self.datapath.attempted, &self.datapath.read_back) else {
            return false;
        };
        **attempted == plan.datapath && holds(&plan.datapath, read_back)
    }

    /// What is wanted was attempted and did not come out.
    pub(super) fn failed(&self) -> bool {
        self.datapath.attempted.as_deref() == Some(&self.plan.datapath) && !self.converged(&self.plan)
    }

    pub(super) fn program(&mut self, plan: &Plan, converged: bool, now: Instant) {
        if !self.open || self.adoption.holding || self.in_flight.is_some() {
            return;
        }
        if converged {
            return self.retry.reset(now);
        }
        let changed = self.datapath.attempted.as_deref() != Some(&plan.datapath);
        if changed || now >= self.retry.at {
            let wanted = Arc::new(plan.datapath.clone());
            self.in_flight = Some(now);
            self.parts.datapath.request(Request::Apply(wanted));
        }
    }

    pub(super) fn on_datapath(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Unusable(why) => {
                self.datapath.fault = Some(why);
                self.speak(false);
            }
            Event::Opened { found, read_back } => {
                self.open = true;
                self.datapath.fault = None;
                self.datapath.read_back = read_back.ok().map(Arc::new);
                self.opened(&found, now);
            }
            Event::Applied { wanted, outcome, read_back } => {
                self.in_flight = None;
                self.datapath.fault = None;
                match &outcome {
                    Ok(()) => {}
                    Err(error) => warn!(%error, "the datapath was not programmed as wanted; trying again"),
                }
                let complete = outcome.is_ok() && read_back.as_ref().is_ok_and(|r| holds(&wanted, r));
                self.datapath.attempted = Some(wanted);
                self.took(read_back);
                self.audit_at = now + AUDIT;
                if !complete {
                    self.retry.back_off(now);
                }
            }
            Event::Audited(read_back) => {
                self.in_flight = None;
                self.datapath.fault = None;
                let before = self.datapath.read_back.clone();
                self.took(read_back);
                if before != self.datapath.read_back {
                    warn!("the datapath was changed by somebody else; repairing it");
                    self.retry.reset(now);
                }
            }
        }
    }

    pub(super) fn took(&mut self, read_back: Result<ReadBack, String>) {
        match read_back {
            Ok(read_back) => self.datapath.read_back = Some(Arc::new(read_back)),
            Err(error) => {
                warn!(%error, "the datapath cannot be read back");
                self.datapath.read_back = None;
                self.datapath.fault = Some(error);
            }
        }
    }

    /// The first word from the datapath decides whether routers hear of a restart.
    pub(super) fn opened(&mut self, found: &Found, now: Instant) {
        let attached = match (found, &self.datapath.read_back) {
            (Found::Adopted { attached }, Some(read_back)) => {
                self.adoption.adopt(read_back, now);
                info!(?attached, holding = self.adoption.holding, "adopted the running datapath");
                self.parts
                    .facts
                    .ingress
                    .iter()
                    .all(|i| attached.contains(i) && read_back.attached.contains_key(i))
            }
            _ => false,
        };
        self.speak(attached && !self.adoption.previous.is_empty());
    }

    pub(super) fn speak(&mut self, restarting: bool) {
        if !self.speaking {
            self.speaking = true;
            self.restarted = restarting;
            info!(restarting, "starting BGP");
            self.parts.bgp.start(restarting);
        }
    }
}

/// Every entry of `wanted` was read back.
fn holds(wanted: &datapath::Wanted, read_back: &ReadBack) -> bool {
    wanted.ingress.keys().all(|interface| read_back.attached.contains_key(interface))
        && wanted.vips.iter().all(|(address, spec)| read_back.vips.get(address) == Some(spec))
        && wanted.services.iter().all(|(id, spec)| read_back.services.get(id) == Some(&spec.pool))
}
