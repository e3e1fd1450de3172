//! When each next hop is asked again. Pure: time is an argument, the spread is a hash of the hop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::netlink::neighbour::NeighbourKey;

/// Hops that fall due within this time are asked together.
const TOGETHER: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Probes {
    interval: Duration,
    due: BTreeMap<NeighbourKey, Instant>,
}

impl Probes {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: BTreeMap::new() }
    }

    /// Replaces the set of hops; new ones are due at once.
    pub(crate) fn set(&mut self, hops: &BTreeSet<NeighbourKey>, now: Instant) {
        self.due.retain(|hop, _| hops.contains(hop));
        for hop in hops {
            self.due.entry(*hop).or_insert(now);
        }
    }

    /// Asks for a probe of this hop now, if it is in the set.
    pub(crate) fn hurry(&mut self, hop: &NeighbourKey, now: Instant) {
        if let Some(due) = self.due.get_mut(hop) {
            *due = now;
        }
    }

    /// The hops to ask now; each is due again after the interval, give or take a tenth.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<NeighbourKey> {
        let mut taken = Vec::new();
        for (hop, due) in &mut self.due {
            if *due <= now + TOGETHER {
                *due = now + self.interval.mul_f64(0.9 + f64::from(spread(hop)) / 1280.0);
                taken.push(*hop);
            }
        }
        taken
    }

    /// When the next hop is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }
}

/// 0..=255 from the hop's address and interface.
fn spread(hop: &NeighbourKey) -> u8 {
    let octets = match hop.1 {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let seed = hop.0.wrapping_mul(0x9e37_79b9);
    (octets.iter().fold(seed, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)) >> 24) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn hop(n: u8) -> NeighbourKey {
        (2, IpAddr::from([10, 0, 0, n]))
    }

    #[test]
    fn new_hops_at_once_then_once_an_interval() {
        let start = Instant::now();
        let mut p = Probes::new(INTERVAL);
        assert_eq!(p.next(), None);
        let hops: BTreeSet<_> = (0..100).map(hop).collect();
        p.set(&hops, start);
        assert_eq!(p.next(), Some(start));
        assert_eq!(p.take_due(start).len(), 100);
        assert!(p.take_due(start).is_empty());
        let mut asked = 0;
        let mut now = start;
        while let Some(next) = p.next().filter(|n| *n <= start + INTERVAL.mul_f64(1.11)) {
            assert!(next >= start + INTERVAL.mul_f64(0.9) && next >= now);
            now = next;
            asked += p.take_due(now).len();
        }
        assert_eq!(asked, 100);
    }

    #[test]
    fn a_set_that_stays_keeps_its_times_and_hurry_brings_one_forward() {
        let start = Instant::now();
        let mut p = Probes::new(INTERVAL);
        p.set(&[hop(1), hop(2)].into(), start);
        p.take_due(start);
        let later = start + Duration::from_secs(1);
        p.set(&[hop(1), hop(2), hop(3)].into(), later);
        assert_eq!(p.take_due(later), [hop(3)]);
        p.hurry(&hop(2), later);
        p.hurry(&hop(9), later);
        assert_eq!(p.take_due(later), [hop(2)]);
        p.set(&BTreeSet::new(), later);
        assert_eq!(p.next(), None);
    }
}
