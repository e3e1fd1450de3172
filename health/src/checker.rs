//! The running checker: one task for each target, one supervisor that keeps the trackers and publishes.
//!
//! A changed verdict is published at once; counts at most once a second, because a snapshot is copied whole and a thousand
//! targets probe all the time. Tasks are cheap (a timer and, while probing, a socket), so there is no pool of workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::schedule::Schedule;
use crate::tracker::{Outcome, Tracker};
use crate::{Check, NetProber, Prober, Snapshot, Target, Verdict, Wanted};

/// Least time between two snapshots that differ in counts only.
const COUNTS_EVERY: Duration = Duration::from_secs(1);
/// Results that may wait for the supervisor; probers wait beyond it.
const RESULTS_WAITING: usize = 1024;

/// Runs the probes. Needs a tokio runtime. Dropping it stops them.
pub struct Checker {
    wanted: watch::Sender<Wanted>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
}

impl Checker {
    /// Starts without targets; probes go straight to the backends' own addresses.
    pub fn start() -> Self {
        Self::start_with(Arc::new(NetProber::default()))
    }

    /// The same with another way to probe: `NetProber::new(connect)` for other sockets.
    pub fn start_with(prober: Arc<dyn Prober>) -> Self {
        let (wanted, wanted_changes) = watch::channel(Wanted::default());
        let (publish, snapshot) = watch::channel(Arc::default());
        tokio::spawn(Supervisor::new(prober, publish).run(wanted_changes));
        Self { wanted, snapshot }
    }

    /// Replaces the wanted set; returns at once. A target whose check did not change keeps its state, and one whose check
    /// changed keeps its verdict as long as its address is the same.
    pub fn set_wanted(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|old| {
            let changed = *old != wanted;
            *old = wanted;
            changed
        });
    }

    /// The newest snapshot; the receiver wakes when a verdict changes, at once, and at most once a second for counts.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }
}

/// The result of one probe on its way to the supervisor.
struct Report {
    target: Target,
    task: u64,
    outcome: Outcome,
}

struct Entry {
    check: Check,
    tracker: Tracker,
    /// Number of the probing task: a late result of its predecessor is dropped.
    task: u64,
    handle: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

struct Supervisor {
    prober: Arc<dyn Prober>,
    publish: watch::Sender<Arc<Snapshot>>,
    reports: mpsc::Receiver<Report>,
    report: mpsc::Sender<Report>,
    entries: BTreeMap<Target, Entry>,
    tasks: u64,
    published: Instant,
    unpublished: bool,
}

impl Supervisor {
    fn new(prober: Arc<dyn Prober>, publish: watch::Sender<Arc<Snapshot>>) -> Self {
        let (report, reports) = mpsc::channel(RESULTS_WAITING);
        Self {
            prober,
            publish,
            reports,
            report,
            entries: BTreeMap::new(),
            tasks: 0,
            published: Instant::now(),
            unpublished: false,
        }
    }

    async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        loop {
            tokio::select! {
                biased;
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = wanted.borrow_and_update().clone();
                    self.reconcile(wanted);
                    self.publish();
                }
                Some(report) = self.reports.recv() => {
                    if self.record_all(report) {
                        self.publish();
                    }
                }
                () = sleep_until(self.published + COUNTS_EVERY), if self.unpublished => self.publish(),
            }
        }
    }

    fn reconcile(&mut self, wanted: Wanted) {
        self.entries.retain(|target, _| wanted.targets.contains_key(target));
        for (target, check) in wanted.targets {
            match self.entries.get_mut(&target) {
                Some(entry) if same(&entry.check, &check) => entry.check = check,
                _ => self.start(target, check),
            }
        }
    }

    /// Starts the probing task of a new or changed target.
    fn start(&mut self, target: Target, check: Check) {
        let mut tracker = Tracker::new(check.rise, check.fall, check.initial, SystemTime::now());
        if let Some(old) = self.entries.get(&target)
            && old.check.probe.address() == check.probe.address()
        {
            tracker = old.tracker.clone();
            tracker.set_thresholds(check.rise, check.fall);
        }
        self.tasks += 1;
        let task = self.tasks;
        let probing =
            probe_for_ever(target.clone(), check.clone(), task, self.prober.clone(), self.report.clone());
        let handle = tokio::spawn(probing).abort_handle();
        self.entries.insert(target, Entry { check, tracker, task, handle });
    }

    /// Takes the report and all that wait behind it, so that a burst of changes makes one snapshot. True: a verdict changed.
    fn record_all(&mut self, first: Report) -> bool {
        let mut changed = self.record(first);
        for _ in 0..RESULTS_WAITING {
            let Ok(report) = self.reports.try_recv() else { break };
            changed |= self.record(report);
        }
        changed
    }

    fn record(&mut self, report: Report) -> bool {
        let Some(entry) = self.entries.get_mut(&report.target) else { return false };
        if entry.task != report.task {
            return false;
        }
        self.unpublished = true;
        let Some(change) = entry.tracker.record(report.outcome) else { return false };
        let reason = match change.to {
            Verdict::Down => entry.tracker.state().last_error.as_deref().unwrap_or_default(),
            _ => "probes succeed",
        };
        info!(backend = %report.target.0, old = ?change.from, new = ?change.to, reason, "health changed");
        true
    }

    fn publish(&mut self) {
        let targets = self
            .entries
            .iter()
            .map(|(target, entry)| (target.clone(), entry.tracker.state().clone()))
            .collect();
        self.publish.send_replace(Arc::new(Snapshot { targets }));
        self.published = Instant::now();
        self.unpublished = false;
    }
}

/// `initial` is looked at once and is no change of the check.
fn same(old: &Check, new: &Check) -> bool {
    *old == Check { initial: old.initial, ..new.clone() }
}

async fn probe_for_ever(
    target: Target,
    check: Check,
    task: u64,
    prober: Arc<dyn Prober>,
    report: mpsc::Sender<Report>,
) {
    let mut schedule = Schedule::new(&target, check.interval, check.rise, check.fall);
    sleep(schedule.first()).await;
    loop {
        let begin = Instant::now();
        let started = SystemTime::now();
        let result = prober.probe(&target, &check).await.map_err(|e| e.to_string());
        let outcome = Outcome { started, ended: SystemTime::now(), result };
        if report.send(Report { target: target.clone(), task, outcome }).await.is_err() {
            return;
        }
        sleep(schedule.next(begin.elapsed())).await;
    }
}
