//! Ctrl-C without a signal handler: the signals are blocked in every thread, and one thread waits for them.
//!
//! Everything that waits in this program asks here, so that the first signal unwinds the run through its ordinary
//! clean-up. The second one leaves at once; `vipcast-lab clean` then repairs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

static PENDING: AtomicBool = AtomicBool::new(false);
/// How often a sleeping thread looks.
const STEP: Duration = Duration::from_millis(20);

/// Blocks SIGINT, SIGTERM and SIGHUP and starts the waiting thread. Call before any other thread exists: children are
/// started with no signal blocked.
pub fn install() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if PENDING.swap(true, Ordering::SeqCst) {
                eprintln!("{signal} again: leaving at once; `vipcast-lab clean NAME` removes what is left");
                std::process::exit(130);
            }
            eprintln!("{signal}: taking the lab down");
        }
    });
    Ok(())
}

/// An error once a signal has come.
pub fn check() -> Result<()> {
    if PENDING.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

/// Sleeps, unless interrupted.
pub fn sleep(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        match end.checked_duration_since(Instant::now()) {
            Some(rest) if !rest.is_zero() => std::thread::sleep(rest.min(STEP)),
            _ => return Ok(()),
        }
    }
}

/// Asks again and again until there is an answer; `None` when `limit` has passed without one.
pub fn wait_for<T>(
    limit: Duration,
    every: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        sleep(every)?;
    }
}
