//! The datapath behind a thread of its own: map syscalls block, and the engine must not. One request at a time, in
//! order; opening is tried again until it works, because rights, a bpffs or a foreign program can be cured.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use datapath::{Datapath, Found, Options, ReadBack, Stats, Wanted};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

const RETRY: Duration = Duration::from_secs(5);
/// Events that the engine may be behind; it asks for few things at once.
const EVENTS: usize = 64;

#[derive(Debug)]
pub enum Request {
    Apply(Arc<Wanted>),
    /// Read back without changing anything.
    Audit,
    Stats(oneshot::Sender<Result<Stats, String>>),
    /// Maps and counters as they are now.
    Inspect(oneshot::Sender<Result<(ReadBack, Stats), String>>),
}

#[derive(Debug)]
pub enum Event {
    /// Once, before everything else that works.
    Opened {
        found: Found,
        read_back: Result<ReadBack, String>,
    },
    /// It cannot be opened; tried again.
    Unusable(String),
    /// `read_back` is what the maps hold now, also after an error.
    Applied {
        wanted: Arc<Wanted>,
        outcome: Result<(), String>,
        read_back: Result<ReadBack, String>,
    },
    Audited(Result<ReadBack, String>),
}

/// Handle of the thread; the thread ends with the last handle.
#[derive(Clone)]
pub struct DatapathThread {
    requests: blocking::Sender<Request>,
}

impl DatapathThread {
    /// The receiver hears [`Event::Opened`] or [`Event::Unusable`] first. Without `touch` nothing is opened at all and
    /// requests are refused.
    pub fn start(options: Options, touch: bool) -> std::io::Result<(Self, mpsc::Receiver<Event>)> {
        let (requests, inbox) = blocking::channel();
        let (events, outbox) = mpsc::channel(EVENTS);
        let thread = move || match touch {
            true => serve(&options, &inbox, &events),
            false => while refuse_until_retry(&inbox, "it is left untouched").is_some() {},
        };
        std::thread::Builder::new().name("datapath".into()).spawn(thread)?;
        Ok((Self { requests }, outbox))
    }
}

impl super::Datapath for DatapathThread {
    fn request(&self, request: Request) {
        // The thread ends only with its handles or the engine; then nobody waits for an answer.
        let _ = self.requests.send(request);
    }
}

fn serve(options: &Options, inbox: &blocking::Receiver<Request>, events: &mpsc::Sender<Event>) {
    let Some(mut datapath) = open(options, inbox, events) else { return };
    while let Ok(request) = inbox.recv() {
        let event = match request {
            Request::Apply(wanted) => {
                let (outcome, read_back) = match datapath.apply(&wanted) {
                    Ok(read_back) => (Ok(()), Ok(read_back)),
                    Err(error) => (Err(error.to_string()), read_back(&datapath)),
                };
                Event::Applied { wanted, outcome, read_back }
            }
            Request::Audit => Event::Audited(read_back(&datapath)),
            Request::Stats(reply) => {
                // Who asked may have left.
                let _ = reply.send(datapath.stats().map_err(|e| e.to_string()));
                continue;
            }
            Request::Inspect(reply) => {
                let stats = datapath.stats().map_err(|e| e.to_string());
                let _ = reply.send(read_back(&datapath).and_then(|read_back| Ok((read_back, stats?))));
                continue;
            }
        };
        if events.blocking_send(event).is_err() {
            return;
        }
    }
}

fn read_back(datapath: &Datapath) -> Result<ReadBack, String> {
    datapath.read_back().map_err(|e| e.to_string())
}

fn open(
    options: &Options,
    inbox: &blocking::Receiver<Request>,
    events: &mpsc::Sender<Event>,
) -> Option<Datapath> {
    let mut last = String::new();
    loop {
        match Datapath::open(options.clone()) {
            Ok((datapath, found)) => {
                let read_back = read_back(&datapath);
                events.blocking_send(Event::Opened { found, read_back }).ok()?;
                return Some(datapath);
            }
            Err(error) => {
                let error = error.to_string();
                if error != last {
                    warn!(%error, "the datapath cannot be opened; trying again");
                }
                events.blocking_send(Event::Unusable(error.clone())).ok()?;
                last = error;
            }
        }
        refuse_until_retry(inbox, &last)?;
    }
}

/// Answers requests with the reason until it is time to try again; `None`: all handles are gone.
fn refuse_until_retry(inbox: &blocking::Receiver<Request>, why: &str) -> Option<()> {
    let retry = std::time::Instant::now() + RETRY;
    loop {
        match inbox.recv_timeout(retry.saturating_duration_since(std::time::Instant::now())) {
            Ok(Request::Stats(reply)) => {
                let _ = reply.send(Err(why.to_owned()));
            }
            Ok(Request::Inspect(reply)) => {
                let _ = reply.send(Err(why.to_owned()));
            }
            Ok(Request::Apply(_) | Request::Audit) => {}
            Err(blocking::RecvTimeoutError::Timeout) => return Some(()),
            Err(blocking::RecvTimeoutError::Disconnected) => return None,
        }
    }
}
