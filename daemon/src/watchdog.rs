//! The last resort: when the engine's pulse stops, health no longer reaches anything, so nothing may be announced. A
//! thread of its own, because a runtime that is stuck cannot watch itself. It also feeds systemd's watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::error;

/// The engine ticks every second; a pass takes milliseconds.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(500);

/// Pure part: is the pulse still moving?
#[derive(Debug)]
struct Judge {
    pulse: u64,
    moved: Instant,
    stuck: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Alive,
    /// For the first time.
    Stuck,
    StillStuck,
}

impl Judge {
    fn look(&mut self, pulse: u64, now: Instant) -> Judgement {
        if pulse != self.pulse {
            *self = Self { pulse, moved: now, stuck: false };
        }
        if now.duration_since(self.moved) < STUCK_AFTER {
            return Judgement::Alive;
        }
        match std::mem::replace(&mut self.stuck, true) {
            false => Judgement::Stuck,
            true => Judgement::StillStuck,
        }
    }
}

/// Watches until the process ends. `withdraw` is called once each time that the engine gets stuck.
pub fn start(pulse: Arc<AtomicU64>, withdraw: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let feed = sd_notify::watchdog_enabled().is_some();
    let watch = move || {
        let mut judge = Judge { pulse: 0, moved: Instant::now(), stuck: false };
        loop {
            match judge.look(pulse.load(Ordering::Relaxed), Instant::now()) {
                Judgement::Alive if feed => {
                    // Without systemd there is nobody to tell.
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
                Judgement::Stuck => {
                    error!("the planner is stuck: withdrawing everything");
                    withdraw();
                }
                Judgement::Alive | Judgement::StillStuck => {}
            }
            std::thread::sleep(LOOK);
        }
    };
    std::thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_that_stops_is_noticed_once_and_may_come_back() {
        let start = Instant::now();
        let mut judge = Judge { pulse: 0, moved: start, stuck: false };
        assert_eq!(judge.look(1, start), Judgement::Alive);
        assert_eq!(judge.look(1, start + STUCK_AFTER - LOOK), Judgement::Alive);
        assert_eq!(judge.look(1, start + STUCK_AFTER), Judgement::Stuck);
        assert_eq!(judge.look(1, start + STUCK_AFTER + LOOK), Judgement::StillStuck);
        assert_eq!(judge.look(2, start + STUCK_AFTER * 2), Judgement::Alive);
        assert_eq!(judge.look(2, start + STUCK_AFTER * 3), Judgement::Stuck);
    }
}
