//! When the next probe of a target starts. Pure and deterministic: the jitter is a hash of the target's name and the
//! number of the probe, so a run can be repeated and a thousand targets do not fire in step.
//!
//! Jitter only shortens an interval (by less than a tenth): `fall` intervals plus one timeout stay an upper bound for
//! the time in which a dead target is declared down.

use std::time::Duration;

use crate::Target;

/// First probes of a fresh set are spread over at most this time.
const FIRST_SPREAD: Duration = Duration::from_millis(250);
/// Longest interval between the probes that make up a target's first verdict: whoever probes once a minute does not
/// want to wait minutes for a server that was not there at the first attempt.
const SETTLING: Duration = Duration::from_secs(1);
/// Pause after a probe that took longer than its interval.
const BREATH: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    seed: u64,
    interval: Duration,
    /// Probes that a first verdict may need.
    settling: u64,
    started: u64,
}

impl Schedule {
    /// `rise` and `fall` as in [`crate::Check`].
    pub fn new(target: &Target, interval: Duration, rise: u32, fall: u32) -> Self {
        Self { seed: fnv1a(target.0.as_bytes()), interval, settling: rise.max(fall).into(), started: 0 }
    }

    /// Delay before the first probe.
    pub fn first(&self) -> Duration {
        fraction(self.interval.min(FIRST_SPREAD), mix(self.seed))
    }

    /// Time from now to the start of the next probe, when the last one started `elapsed` ago.
    pub fn next(&mut self, elapsed: Duration) -> Duration {
        self.started += 1;
        let settled = self.started >= self.settling;
        let interval = if settled { self.interval } else { self.interval.min(SETTLING) };
        let jitter = fraction(interval / 10, mix(self.seed.wrapping_add(self.started)));
        (interval - jitter).saturating_sub(elapsed).max(BREATH)
    }
}

/// `whole` times a fraction in [0, 1) drawn from the upper 32 bits of `random`.
fn fraction(whole: Duration, random: u64) -> Duration {
    whole.mul_f64((random >> 32) as f64 / (1u64 << 32) as f64)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_interval_is_within_a_tenth_and_none_is_longer() {
        for name in 0..50 {
            let mut s = Schedule::new(&Target(format!("pool/{name}")), SECOND, 1, 1);
            for _ in 0..200 {
                let d = s.next(Duration::ZERO);
                assert!(d > Duration::from_millis(899) && d <= SECOND, "{d:?}");
            }
        }
    }

    #[test]
    fn the_same_target_repeats_and_others_differ() {
        let run = |name: &str| {
            let mut s = Schedule::new(&Target(name.into()), SECOND, 1, 1);
            (s.first(), (0..20).map(|_| s.next(Duration::ZERO)).collect::<Vec<_>>())
        };
        assert_eq!(run("a"), run("a"));
        assert_ne!(run("a"), run("b"));
    }

    #[test]
    fn first_probes_are_spread_and_soon() {
        let firsts: BTreeSet<_> =
            (0..100).map(|n| Schedule::new(&Target(n.to_string()), 10 * SECOND, 1, 1).first()).collect();
        assert!(firsts.len() > 95);
        assert!(firsts.iter().all(|d| *d < FIRST_SPREAD));
        let halves = firsts.iter().filter(|d| **d < FIRST_SPREAD / 2).count();
        assert!((25..=75).contains(&halves), "{halves} of 100 in the first half");
    }

    #[test]
    fn time_already_spent_counts_and_a_late_probe_still_breathes() {
        let mut a = Schedule::new(&Target("a".into()), SECOND, 1, 1);
        let mut b = a.clone();
        assert_eq!(a.next(Duration::ZERO) - Duration::from_millis(300), b.next(Duration::from_millis(300)));
        assert_eq!(a.next(5 * SECOND), BREATH);
    }

    #[test]
    fn the_first_verdict_does_not_wait_for_long_intervals() {
        let minute = 60 * SECOND;
        let mut schedule = Schedule::new(&Target("pool/1".into()), minute, 1, 3);
        let pauses: Vec<Duration> = (0..4).map(|_| schedule.next(Duration::ZERO)).collect();
        assert!(pauses[..2].iter().all(|pause| *pause <= SECOND), "{pauses:?}");
        assert!(pauses[2..].iter().all(|pause| *pause > 50 * SECOND), "{pauses:?}");
    }
}
