//! Ctrl-C: one thread takes the signals, everything that waits in this program asks here.
//!
//! So the first signal unwinds the run through its ordinary clean-up. The second one leaves at once; `vipcast-lab clean`
//! then repairs. Signals are caught and never blocked: children would inherit the mask and could not be ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static PENDING: AtomicBool = AtomicBool::new(false);
/// How often a sleeping thread looks.
const STEP: Duration = Duration::from_millis(20);

/// Takes SIGINT, SIGTERM and SIGHUP over from now on.
pub fn install() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot take signals over")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
            if PENDING.swap(true, Ordering::SeqCst) {
                eprintln!("{name} again: leaving at once; `vipcast-lab clean NAME` removes what is left");
                std::process::exit(130);
            }
            eprintln!("{name}: taking the lab down");
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
