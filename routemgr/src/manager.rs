//! The running manager: subscribes, dumps, applies the difference, follows changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Observed, Wanted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Full resync interval; 30 s unless said.
    pub resync: Duration,
    /// How often the next hop of every `resolve` address is probed (ARP / ND) to keep it fresh.
    pub probe_interval: Duration,
    /// File that remembers the sysctl values from before vipcast, for a clean uninstall.
    pub saved_sysctls: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("netlink: {0}")]
    Netlink(String),
}

/// Runs on the caller's tokio runtime.
pub struct RouteManager {}

impl RouteManager {
    /// Opens netlink, subscribes, and takes the first dump. Changes nothing before the first `set_wanted`.
    pub async fn start(_options: Options) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Replaces the wanted set; returns at once.
    pub fn set_wanted(&self, _wanted: Wanted) {}

    /// The newest observed state; wakes on each change.
    pub fn observed(&self) -> tokio::sync::watch::Receiver<Arc<Observed>> {
        tokio::sync::watch::channel(Arc::default()).1
    }

    /// Removes every route and address with our mark and restores the sysctls.
    pub async fn uninstall(self) -> Result<(), Error> {
        Ok(())
    }
}
