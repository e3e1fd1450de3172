//! Sockets, timers and the session thread around the pure core.
//!
//! [`Speaker`] is the handle. Its thread runs a current-thread tokio runtime with one [`supervisor`], one task for each
//! peer ([`peer`]) and one for each listener; wanted sets and status cross the threads as whole values in `watch`
//! channels, so nothing queues up between them.

mod board;
mod listener;
mod output;
mod peer;
mod socket;
mod supervisor;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::{SpeakerConfig, SpeakerStatus, Wanted};
use listener::Listener;
use supervisor::Supervisor;

/// How a speaker ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shutdown {
    /// Restart or upgrade: close the sockets without a NOTIFICATION, so that routers keep our routes (RFC 4724).
    Keep,
    /// Withdraw everything, wait until the peers' TCP acknowledged it, then Cease/2 with these words (RFC 9003).
    Cease(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot start the BGP thread: {0}")]
    Thread(std::io::Error),
    #[error("invalid configuration: {0}")]
    Config(String),
}

/// A running speaker. Its sessions run on a thread of their own. Dropping it ends it like [`Shutdown::Keep`].
#[derive(Debug)]
pub struct Speaker {
    wanted: watch::Sender<Arc<Wanted>>,
    status: watch::Receiver<Arc<SpeakerStatus>>,
    listening: Vec<SocketAddr>,
    stop: oneshot::Sender<(Shutdown, oneshot::Sender<()>)>,
    thread: JoinHandle<()>,
}

impl Speaker {
    /// Binds the listeners and starts the session thread.
    ///
    /// # Errors
    /// An address that cannot be bound, a configuration that no session could work with, or no thread to be had.
    pub fn start(config: SpeakerConfig) -> Result<Self, Error> {
        check(&config).map_err(Error::Config)?;
        let listeners =
            config.listen.iter().map(|address| Listener::bind(*address)).collect::<Result<Vec<_>, _>>()?;
        let listening = listeners.iter().map(Listener::address).collect();
        let (wanted, wanted_rx) = watch::channel(Arc::new(Wanted::default()));
        let (status_tx, status) = watch::channel(Arc::default());
        let (stop, stop_rx) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::Thread)?;
        let thread = std::thread::Builder::new().name("bgp".to_owned());
        let thread = thread
            .spawn(move || {
                let supervisor = Supervisor::new(config, wanted_rx, status_tx);
                runtime.block_on(supervisor.run(listeners, stop_rx));
                runtime.shutdown_background();
            })
            .map_err(Error::Thread)?;
        Ok(Self { wanted, status, listening, stop, thread })
    }

    /// Replaces the wanted state. Returns at once; idempotent.
    pub fn set_wanted(&self, wanted: Wanted) {
        self.wanted.send_replace(Arc::new(wanted));
    }

    /// The newest status; the receiver wakes on each change.
    pub fn status(&self) -> watch::Receiver<Arc<SpeakerStatus>> {
        self.status.clone()
    }

    /// The addresses that it listens on, with the port that the kernel chose where the configuration said 0.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Ends all sessions and the thread. Bounded: 2 s for withdraws to be acknowledged, as much again for the goodbye.
    pub async fn shutdown(self, how: Shutdown) {
        let (done, finished) = oneshot::channel();
        if self.stop.send((how, done)).is_ok() {
            // An error means that the thread is gone already.
            let _ = finished.await;
        }
        if self.thread.join().is_err() {
            tracing::error!("the BGP thread panicked");
        }
    }
}

fn check(config: &SpeakerConfig) -> Result<(), String> {
    if config.asn == 0 || config.asn == u32::MAX {
        return Err(format!("AS number {} is reserved (RFC 7607, RFC 7300)", config.asn));
    }
    if config.router_id.is_unspecified() {
        return Err("router id 0.0.0.0 is not a BGP identifier (RFC 6286)".to_owned());
    }
    if config.restart_time.is_some_and(|time| time.as_secs() > 4095 || time.as_secs() == 0) {
        return Err("restart time must be 1 to 4095 s (RFC 4724)".to_owned());
    }
    Ok(())
}
