//! A token bucket in one word (the generic cell rate algorithm), for packets that the datapath makes itself.
//!
//! The state is the time up to which tokens are spent, in nanoseconds of the monotonic clock. Two CPUs that race can
//! let a few packets more through; a limit on ICMP errors (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f) bears it.

const SECOND: u64 = 1_000_000_000;

/// Takes a token at `now`: the new state, or `None` when there is none left. A full bucket holds `per_second` tokens;
/// 0 admits nothing.
#[inline(always)]
pub const fn admit(spent_until: u64, now: u64, per_second: u32) -> Option<u64> {
    if per_second == 0 {
        return None;
    }
    let oldest = now.saturating_sub(SECOND);
    // A state from the future (pins that outlived the clock's epoch) must not block for ever.
    let start = if spent_until < oldest || spent_until > now { oldest } else { spent_until };
    let next = start + SECOND / per_second as u64;
    if next > now { None } else { Some(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(state: &mut u64, now: u64, rate: u32, tries: u32) -> u32 {
        let mut count = 0;
        for _ in 0..tries {
            if let Some(next) = admit(*state, now, rate) {
                *state = next;
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_full_bucket_then_the_rate() {
        let mut state = 0;
        let start = 5 * SECOND;
        assert_eq!(admitted(&mut state, start, 10, 100), 10);
        assert_eq!(admitted(&mut state, start + SECOND / 10 - 1, 10, 100), 0);
        assert_eq!(admitted(&mut state, start + SECOND / 10, 10, 100), 1);
        assert_eq!(admitted(&mut state, start + 100 * SECOND, 10, 100), 10);
    }

    #[test]
    fn nothing_at_rate_zero_and_no_deadlock_from_the_future() {
        assert_eq!(admit(0, SECOND, 0), None);
        assert_eq!(admitted(&mut { 900 * SECOND }, 5 * SECOND, 3, 100), 3);
    }

    #[test]
    fn the_first_second_of_the_clock() {
        assert_eq!(admit(0, 0, 100), None);
        assert_eq!(admit(0, SECOND / 2, 100), Some(SECOND / 100));
    }
}
