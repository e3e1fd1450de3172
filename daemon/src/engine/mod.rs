//! One task that turns every observation into a plan and every plan into wanted sets.
//!
//! A pass never waits: it hands the speaker its routes first (a withdraw is out before anything slow begins), then routes
//! and probes, and last gives the datapath thread its work, if that is idle. The read-back that comes from there is the
//! next observation, and the pass that follows announces what it proves. So a change of health reaches BGP and ring in
//! one pass, and nothing is announced ahead of its entries.

mod programming;
mod restart;
mod view;
mod withdraws;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

pub use view::{Dated, View, ViewSource};

use crate::mechanism::{Bgp, Datapath, Event, Health, Request, Routes};
use crate::plan::{self, DatapathView, Facts, Intent, Lingering, Observed, Plan};
use crate::restart::RecordFile;
use crate::store::{Condition, Contents, Store};
use restart::Adoption;
use withdraws::Withdraws;

/// How often the maps are read back although nothing changed.
pub const AUDIT: Duration = Duration::from_secs(10);
/// A datapath that has not answered for this long cannot be trusted.
const UNANSWERED: Duration = Duration::from_secs(10);
/// Longest pause between attempts to repair what did not come out as wanted.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// The engine wakes at least this often, so that the watchdog sees it alive.
const TICK: Duration = Duration::from_secs(1);

/// Wall clock that moves with tokio's, so that tests can turn it and a jump of the host's clock cannot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: SystemTime,
    start: Instant,
}

impl Clock {
    pub fn new(wall: SystemTime) -> Self {
        Self { wall, start: Instant::now() }
    }

    pub fn now(&self) -> SystemTime {
        self.wall + self.start.elapsed()
    }
}

/// Everything that the engine drives.
pub struct Parts {
    pub facts: Facts,
    pub store: Arc<dyn Store>,
    pub routes: Arc<dyn Routes>,
    pub health: Arc<dyn Health>,
    pub bgp: Arc<dyn Bgp>,
    pub datapath: Arc<dyn Datapath>,
    pub events: mpsc::Receiver<Event>,
    pub record: RecordFile,
    /// Longest that a restart waits before it says that its routes are complete.
    pub restart_defer: Duration,
    pub clock: Clock,
}

/// The running engine.
pub struct Engine {
    parts: Parts,
    view: watch::Sender<Arc<View>>,
    /// Passes and ticks so far: a watchdog wants to see it move.
    pulse: Arc<AtomicU64>,
    contents: Arc<Contents>,
    intent: Arc<Intent>,
    datapath: DatapathView,
    /// Opened, so that requests are answered.
    open: bool,
    in_flight: Option<Instant>,
    retry: Retry,
    /// Kernel indices of the ingress interfaces that were ever seen; `None`: gone since.
    ingress: BTreeMap<String, Option<u32>>,
    audit_at: Instant,
    adoption: Adoption,
    withdraws: Withdraws,
    plan: Arc<Plan>,
    sent: Option<bgpd::Wanted>,
    probed: Option<health::Wanted>,
    /// The datapath has said its first word, so it is known whether this is a restart.
    speaking: bool,
    restarted: bool,
    complete: bool,
    started: Instant,
}

/// When to try again what did not come out as wanted.
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Retry {
    fn reset(&mut self, now: Instant) {
        *self = Self { at: now, pause: TICK };
    }

    fn back_off(&mut self, now: Instant) {
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_RETRY);
    }
}

impl Engine {
    /// Reads the store; touches nothing yet.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let previous = parts.record.previous();
        let started_at = parts.clock.now();
        Self {
            view: watch::Sender::new(Arc::new(View::new(started_at, parts.store.condition()))),
            pulse: Arc::default(),
            contents: Arc::default(),
            intent: Arc::default(),
            datapath: DatapathView { fault: Some("it is not open yet".into()), ..DatapathView::default() },
            open: false,
            in_flight: None,
            retry: Retry { at: now, pause: TICK },
            ingress: BTreeMap::new(),
            audit_at: now + AUDIT,
            adoption: Adoption::new(previous),
            withdraws: Withdraws::default(),
            plan: Arc::default(),
            sent: None,
            probed: None,
            speaking: false,
            restarted: false,
            complete: false,
            started: now,
            parts,
        }
    }

    /// What the API shows; wakes after each pass.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    pub fn pulse(&self) -> Arc<AtomicU64> {
        self.pulse.clone()
    }

    /// Runs until `stop`. Leaves everything as it is: the datapath goes on forwarding.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        if let Condition::Unreadable { .. } = self.parts.store.condition() {
            // Nothing is known of what is wanted: neither dial nor touch anything (design 8).
            return self.idle(stop).await;
        }
        let mut contents = self.parts.store.contents();
        let mut health = self.parts.health.snapshot();
        let mut routes = self.parts.routes.observed();
        let mut routes_fault = self.parts.routes.fault();
        let mut bgp = self.parts.bgp.status();
        let mut bgp_fault = self.parts.bgp.fault();
        self.reload(contents.borrow_and_update().clone());
        self.pass();
        loop {
            let wake = self.wake();
            let plan_again = tokio::select! {
                biased;
                () = &mut stop => return,
                Ok(()) = health.changed() => { health.mark_unchanged(); true }
                Some(event) = self.parts.events.recv() => { self.on_datapath(event); true }
                Ok(()) = routes.changed() => { routes.mark_unchanged(); true }
                Ok(()) = routes_fault.changed() => { routes_fault.mark_unchanged(); true }
                Ok(()) = contents.changed() => {
                    let newest = contents.borrow_and_update().clone();
                    self.reload(newest);
                    true
                }
                Ok(()) = bgp.changed() => { bgp.mark_unchanged(); false }
                Ok(()) = bgp_fault.changed() => { bgp_fault.mark_unchanged(); false }
                () = tokio::time::sleep_until(wake) => self.on_time(),
            };
            if plan_again {
                self.pass();
            } else {
                self.publish();
            }
        }
    }

    async fn idle(self, mut stop: std::pin::Pin<&mut impl Future<Output = ()>>) {
        self.publish();
        loop {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// The contents were checked before they were stored, and at start.
    fn reload(&mut self, contents: Arc<Contents>) {
        match intent(&contents) {
            Ok(intent) => {
                self.intent = Arc::new(intent);
                self.contents = contents;
            }
            Err(why) => {
                error!(rev = contents.revision, %why, "stored contents cannot be used; keeping the last")
            }
        }
    }

    fn observed(&self) -> Observed {
        Observed {
            routes: self.parts.routes.observed().borrow().clone(),
            health: self.parts.health.snapshot().borrow().clone(),
            datapath: self.datapath.clone(),
            announced: self.plan.announced.clone(),
            adopted: self.adoption.targets.clone(),
            holding: self.adoption.holding,
        }
    }

    fn pass(&mut self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.notice_interfaces(now);
        let mut observed = self.observed();
        let mut plan = plan::plan(&self.intent, &self.parts.facts, &observed, self.parts.clock.now());
        if self.adoption.holding && self.adoption.settled(&plan, &observed, now) {
            self.adoption.holding = false;
            observed.holding = false;
            plan = plan::plan(&self.intent, &self.parts.facts, &observed, self.parts.clock.now());
        }
        let converged = self.converged(&plan);
        self.complete |= self.is_complete(&plan, converged, now);
        plan.bgp.complete = self.complete;
        self.announce(&plan);
        if plan.routes != self.plan.routes {
            self.parts.routes.set_wanted(plan.routes.clone());
        }
        // What a target begins with is looked at once: it must be known by then which backends had slots before.
        if self.speaking && self.probed.as_ref() != Some(&plan.health) {
            self.parts.health.set_wanted(plan.health.clone());
            self.probed = Some(plan.health.clone());
        }
        self.program(&plan, converged, now);
        self.remember(&plan, &observed);
        self.adoption.forget_absent(&plan);
        self.plan = Arc::new(plan);
        self.publish();
    }

    fn announce(&mut self, plan: &Plan) {
        if self.sent.as_ref() != Some(&plan.bgp) {
            self.parts.bgp.set_wanted(plan.bgp.clone());
            self.sent = Some(plan.bgp.clone());
        }
    }

    fn is_complete(&self, plan: &Plan, converged: bool, now: Instant) -> bool {
        let again = || {
            let wanted: BTreeSet<IpAddr> = plan.vips.values().map(|vip| vip.address).collect();
            self.adoption.previous.intersection(&wanted).all(|address| plan.announced.contains(address))
        };
        let settled = self.open && !self.adoption.holding && self.in_flight.is_none();
        settled && converged && again() || now >= self.started + self.parts.restart_defer
    }

    /// True: plan again.
    fn on_time(&mut self) -> bool {
        self.pulse.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(since) = self.in_flight {
            let silent = now.duration_since(since) >= UNANSWERED;
            if silent && self.datapath.fault.is_none() {
                error!("the datapath does not answer: withdrawing");
                self.datapath.fault = Some(format!("it has not answered for {} s", UNANSWERED.as_secs()));
                return true;
            }
        } else if self.open && !self.adoption.holding && now >= self.audit_at {
            self.audit_at = now + AUDIT;
            self.in_flight = Some(now);
            self.parts.datapath.request(Request::Audit);
        }
        let removal_due = self.plan.next_removal.is_some_and(|at| at <= self.parts.clock.now());
        let complete_due = !self.complete && now >= self.started + self.parts.restart_defer;
        let retry_due = self.open && now >= self.retry.at && !self.converged(&self.plan);
        removal_due || complete_due || retry_due || self.adoption.holding
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + TICK;
        if let Some(at) = self.plan.next_removal {
            let left = at.duration_since(self.parts.clock.now()).unwrap_or_default();
            wake = wake.min(now + left);
        }
        if self.adoption.holding {
            wake = wake.min(self.adoption.deadline.max(now));
        }
        wake
    }

    /// Logs and records what this plan changes about announcements.
    fn remember(&mut self, plan: &Plan, observed: &Observed) {
        for (name, vip) in &plan.vips {
            let (was, is) = (self.plan.announced.contains(&vip.address), vip.announce.is_ok());
            match &vip.announce {
                Ok(()) if !was => info!(vip = name.as_str(), prefix = %vip.prefix, "announcing"),
                Err(reason) if was => {
                    warn!(vip = name.as_str(), prefix = %vip.prefix, %reason, "withdrawing")
                }
                _ => {}
            }
            if was && !is {
                self.withdraws.begin(name, vip, plan, observed);
            } else if is {
                self.withdraws.cancel(&vip.address);
            }
        }
        if plan.announced != self.plan.announced
            && let Err(error) = self.parts.record.write(&plan.announced)
        {
            warn!(%error, "cannot record what is announced: a restart would not be graceful");
        }
    }

    fn publish(&self) {
        let speaker = self.parts.bgp.status().borrow().clone();
        self.withdraws.finish(&speaker);
        let source = ViewSource {
            contents: self.contents.clone(),
            intent: self.intent.clone(),
            plan: self.plan.clone(),
            observed: self.observed(),
            speaker,
            bgp_fault: self.parts.bgp.fault().borrow().clone(),
            routes_fault: self.parts.routes.fault().borrow().clone(),
            store: self.parts.store.condition(),
            failed: self.failed(),
            restarted: self.restarted,
            withdraw_latencies: self.withdraws.latencies(),
        };
        let old = self.view.borrow().clone();
        self.view.send_replace(Arc::new(old.next(source, &self.parts.facts, self.parts.clock.now())));
    }
}

/// The stored documents as values. Contents are stored only after this succeeded.
pub fn intent(contents: &Contents) -> Result<Intent, String> {
    let desired = api::desired(&contents.document()).map_err(|e| e.to_string())?;
    let lingering = contents.lingers.iter().map(|linger| {
        let desired = api::desired(&linger.document).map_err(|e| e.to_string())?;
        Ok(Lingering { until: linger.until, desired })
    });
    Ok(Intent { desired, lingering: lingering.collect::<Result<_, String>>()? })
}

#[cfg(test)]
mod tests;
