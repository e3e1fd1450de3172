//! When to dial again: jittered exponential back-off (RFC 4271 8.1.1 and 10), and the quick retry that a restart needs
//! (a router answers the first OPEN after a killed session with Cease/7: it is still clearing the old one).

use std::time::Duration;

/// SplitMix64: a few bits of spread, not a secret.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A duration in `from..to`.
    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let fraction = ((z ^ (z >> 31)) >> 40) as u32;
        from + to.saturating_sub(from).mul_f64(f64::from(fraction) / f64::from(1 << 24))
    }

    /// 75 to 100 % of `interval`, RFC 4271 10.
    pub(super) fn spread(&mut self, interval: Duration) -> Duration {
        self.between(interval.mul_f64(0.75), interval)
    }
}

const FIRST: Duration = Duration::from_millis(500);
const QUICK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(500));
/// A peer that answers Cease/7 for ever gets the usual back-off in the end.
const MOST_QUICK: u32 = 20;

/// Failures since the last session.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    failures: u32,
    quick: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// 0.5 s, doubled with each failure up to `cap`, less up to a quarter.
    pub(super) fn next(&mut self, cap: Duration, jitter: &mut Jitter) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        jitter.spread(doubled.min(cap))
    }

    /// 200 to 500 ms without growth, as long as it is not overdone.
    pub(super) fn quick(&mut self, cap: Duration, jitter: &mut Jitter) -> Duration {
        if self.quick >= MOST_QUICK {
            return self.next(cap, jitter);
        }
        self.quick += 1;
        jitter.between(QUICK.0, QUICK.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_never_beyond() {
        let (mut jitter, mut backoff) = (Jitter::new(7), Backoff::default());
        let cap = Duration::from_secs(5);
        let delays: Vec<_> = (0..12).map(|_| backoff.next(cap, &mut jitter)).collect();
        assert!(delays[0] >= Duration::from_millis(375) && delays[0] <= Duration::from_millis(500));
        assert!(delays[3] >= Duration::from_millis(3000) && delays[3] <= Duration::from_millis(4000));
        assert!(delays[4..].iter().all(|d| *d >= cap.mul_f64(0.75) && *d <= cap), "{delays:?}");
        assert!(delays[4..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {delays:?}");
    }

    #[test]
    fn quick_stays_quick_then_gives_up() {
        let (mut jitter, mut backoff) = (Jitter::new(1), Backoff::default());
        let cap = Duration::from_secs(5);
        for _ in 0..MOST_QUICK {
            let delay = backoff.quick(cap, &mut jitter);
            assert!(delay >= QUICK.0 && delay < QUICK.1, "{delay:?}");
        }
        for _ in 0..4 {
            backoff.quick(cap, &mut jitter);
        }
        assert!(backoff.quick(cap, &mut jitter) > QUICK.1);
    }
}
