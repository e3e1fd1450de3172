//! From single probe results to a verdict: rise, fall and the books about failures. Pure; time is an argument.
//!
//! A verdict from before a restart is kept until `fall` (or `rise`) results in a row contradict it, so that a daemon that
//! comes back does not empty its rings. A target that was never seen is `Unknown`, which carries no traffic.

use std::time::SystemTime;

use crate::{TargetState, Verdict};

/// One finished probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub started: SystemTime,
    pub ended: SystemTime,
    /// `Err` says why, in an operator's words.
    pub result: Result<(), String>,
}

/// A verdict that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: Verdict,
    pub to: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    rise: u32,
    fall: u32,
    /// Good (failed) probes in a row up to now; one of the two is always 0.
    good: u32,
    failed: u32,
    state: TargetState,
}

impl Tracker {
    /// `rise` and `fall` below one count as one.
    pub fn new(rise: u32, fall: u32, initial: Verdict, now: SystemTime) -> Self {
        let state = TargetState {
            verdict: initial,
            since: now,
            failing_since: None,
            last_failure_at: None,
            last_error: None,
            probes: 0,
            failures: 0,
        };
        Self { rise: rise.max(1), fall: fall.max(1), good: 0, failed: 0, state }
    }

    pub fn state(&self) -> &TargetState {
        &self.state
    }

    /// Takes new thresholds and keeps what is known of the target. The present run counts against the new thresholds,
    /// at the next probe.
    pub fn set_thresholds(&mut self, rise: u32, fall: u32) {
        self.rise = rise.max(1);
        self.fall = fall.max(1);
    }

    pub fn record(&mut self, outcome: Outcome) -> Option<Change> {
        self.state.probes += 1;
        match outcome.result {
            Ok(()) => {
                self.good = self.good.saturating_add(1);
                self.failed = 0;
                self.state.failing_since = None;
            }
            Err(reason) => {
                self.failed = self.failed.saturating_add(1);
                self.good = 0;
                self.state.failures += 1;
                self.state.failing_since.get_or_insert(outcome.started);
                self.state.last_failure_at = Some(outcome.ended);
                self.state.last_error = Some(reason);
            }
        }
        let to = if self.good >= self.rise {
            Verdict::Up
        } else if self.failed >= self.fall {
            Verdict::Down
        } else {
            return None;
        };
        let from = self.state.verdict;
        if from == to {
            return None;
        }
        self.state.verdict = to;
        self.state.since = outcome.ended;
        Some(Change { from, to })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A tracker on a virtual clock: probe n starts at second n and takes 100 ms.
    struct Bench {
        tracker: Tracker,
        next: u64,
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn ended(second: u64) -> SystemTime {
        at(second) + Duration::from_millis(100)
    }

    impl Bench {
        fn new(rise: u32, fall: u32, initial: Verdict) -> Self {
            Self { tracker: Tracker::new(rise, fall, initial, at(0)), next: 1 }
        }

        fn probe(&mut self, good: bool) -> Option<Change> {
            let n = self.next;
            self.next += 1;
            let result = if good { Ok(()) } else { Err(format!("failure {n}")) };
            self.tracker.record(Outcome { started: at(n), ended: ended(n), result })
        }
    }

    #[test]
    fn unknown_goes_up_after_rise_and_not_before() {
        let mut b = Bench::new(3, 2, Verdict::Unknown);
        assert_eq!(b.probe(true), None);
        assert_eq!(b.probe(true), None);
        assert_eq!(b.tracker.state().verdict, Verdict::Unknown);
        assert_eq!(b.probe(true), Some(Change { from: Verdict::Unknown, to: Verdict::Up }));
        assert_eq!(b.tracker.state().since, ended(3));
    }

    #[test]
    fn unknown_goes_down_after_fall() {
        let mut b = Bench::new(1, 2, Verdict::Unknown);
        assert_eq!(b.probe(false), None);
        assert_eq!(b.probe(false), Some(Change { from: Verdict::Unknown, to: Verdict::Down }));
    }

    #[test]
    fn a_verdict_from_before_a_restart_holds_until_contradicted() {
        let mut up = Bench::new(2, 3, Verdict::Up);
        assert_eq!(up.probe(true), None);
        assert_eq!(up.probe(false), None);
        assert_eq!(up.probe(false), None);
        assert_eq!(up.tracker.state().verdict, Verdict::Up);
        assert_eq!(up.tracker.state().since, at(0));
        assert_eq!(up.probe(false), Some(Change { from: Verdict::Up, to: Verdict::Down }));

        let mut down = Bench::new(2, 3, Verdict::Down);
        assert_eq!(down.probe(true), None);
        assert_eq!(down.probe(true), Some(Change { from: Verdict::Down, to: Verdict::Up }));
    }

    #[test]
    fn alternating_results_never_change_a_verdict_that_needs_two_in_a_row() {
        let mut b = Bench::new(2, 2, Verdict::Up);
        for n in 0..20 {
            assert_eq!(b.probe(n % 2 == 0), None);
        }
        assert_eq!(b.tracker.state().probes, 20);
        assert_eq!(b.tracker.state().failures, 10);
    }

    #[test]
    fn the_books_about_failures_follow_the_present_run() {
        let mut b = Bench::new(1, 3, Verdict::Up);
        b.probe(false);
        b.probe(false);
        let s = b.tracker.state();
        assert_eq!((s.failing_since, s.last_failure_at), (Some(at(1)), Some(ended(2))));
        assert_eq!(s.last_error.as_deref(), Some("failure 2"));
        b.probe(true);
        let s = b.tracker.state();
        assert_eq!((s.failing_since, s.last_failure_at), (None, Some(ended(2))));
        b.probe(false);
        let s = b.tracker.state();
        assert_eq!((s.failing_since, s.last_failure_at), (Some(at(4)), Some(ended(4))));
    }

    #[test]
    fn new_thresholds_keep_the_run() {
        let mut b = Bench::new(1, 5, Verdict::Up);
        b.probe(false);
        b.probe(false);
        b.tracker.set_thresholds(1, 3);
        assert_eq!(b.tracker.state().verdict, Verdict::Up);
        assert_eq!(b.probe(false), Some(Change { from: Verdict::Up, to: Verdict::Down }));
    }

    #[test]
    fn zero_thresholds_count_as_one() {
        let mut b = Bench::new(0, 0, Verdict::Unknown);
        assert!(b.probe(true).is_some());
        assert!(b.probe(false).is_some());
    }
}
