//! Sockets, timers and the session thread around the pure core.

use std::sync::Arc;

use crate::{SpeakerConfig, SpeakerStatus, Wanted};

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
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot start the BGP thread: {0}")]
    Thread(std::io::Error),
    #[error("invalid configuration: {0}")]
    Config(String),
}

/// A running speaker. Its sessions run on a thread of their own.
pub struct Speaker {}

impl Speaker {
    /// Binds the listeners and starts the session thread.
    pub fn start(_config: SpeakerConfig) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Replaces the wanted state. Returns at once; idempotent.
    pub fn set_wanted(&self, _wanted: Wanted) {}

    /// The newest status; the receiver wakes on each change.
    pub fn status(&self) -> tokio::sync::watch::Receiver<Arc<SpeakerStatus>> {
        tokio::sync::watch::channel(Arc::default()).1
    }

    /// Ends all sessions and the thread.
    pub async fn shutdown(self, _how: Shutdown) {}
}
