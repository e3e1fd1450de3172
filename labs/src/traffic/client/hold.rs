//! Long connections: a frame goes out, its answer must come back right; how long that took at worst is the stall.

use std::io::{self, BufReader, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::job::{Failure, FailureKind, Held, Hold, Opened, now_ms};
use super::super::stream;
use super::super::wire::{Greeting, Request, read_line};
use super::{connect, print};

/// A connection that cannot be opened in this time has failed.
const OPEN: Duration = Duration::from_secs(5);

pub(super) fn run(hold: &Hold, stop: &AtomicBool) -> Result<()> {
    let (opened, results) = channel();
    let held = thread::scope(|scope| {
        let threads: Vec<_> = hold
            .ports
            .iter()
            .map(|port| {
                let opened = opened.clone();
                scope.spawn(move || one(hold, *port, stop, opened))
            })
            .collect();
        drop(opened);
        let open = results.iter().take(hold.ports.len()).filter(|open| *open).count();
        print(&Opened { open, failed: hold.ports.len() - open })?;
        anyhow::Ok(threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>())
    })?;
    print(&held)
}

fn one(hold: &Hold, port: u16, stop: &AtomicBool, opened: Sender<bool>) -> Held {
    let mut held =
        Held { port, server: None, frames: 0, bytes: 0, worst_ms: 0, worst_at_ms: 0, failure: None };
    let result = talk(hold, &mut held, stop, &opened);
    if held.server.is_none() {
        let _ = opened.send(false);
    }
    if let Err(error) = result {
        let kind = if held.server.is_none() { FailureKind::NotOpened } else { kind(&error) };
        held.failure = Some(Failure { kind, at_ms: now_ms(), message: error.to_string() });
    }
    held
}

fn talk(hold: &Hold, held: &mut Held, stop: &AtomicBool, opened: &Sender<bool>) -> io::Result<()> {
    let seed = u64::from(held.port);
    let stream = connect(hold.target, hold.source, held.port, OPEN)?;
    (&stream).write_all(Request::Hold { seed }.line().as_bytes())?;
    let mut input = BufReader::new(&stream);
    let greeting = Greeting::parse(&read_line(&mut input)?).ok_or(ErrorKind::InvalidData)?;
    held.server = Some(greeting.server);
    let _ = opened.send(true);
    let give_up = Some(Duration::from_millis(hold.give_up_ms));
    stream.set_read_timeout(give_up)?;
    stream.set_write_timeout(give_up)?;
    let pause = Duration::from_millis(hold.interval_ms);
    for sequence in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let (at_ms, start) = (now_ms(), Instant::now());
        let result = stream::send(&mut &stream, seed, sequence, hold.payload)
            .and_then(|()| stream::receive(&mut input, !seed, sequence));
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if took_ms > held.worst_ms {
            (held.worst_ms, held.worst_at_ms) = (took_ms, at_ms);
        }
        held.bytes += u64::from(result?);
        held.frames += 1;
        thread::sleep(pause.saturating_sub(start.elapsed()));
    }
    Ok(())
}

fn kind(error: &io::Error) -> FailureKind {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => FailureKind::Reset,
        ErrorKind::UnexpectedEof => FailureKind::Closed,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => FailureKind::Stalled,
        ErrorKind::InvalidData => FailureKind::WrongBytes,
        _ => FailureKind::Other,
    }
}
