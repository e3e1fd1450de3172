//! The running manager's handle: hands the wanted set to the worker and publishes what it observes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::worker::Worker;
use crate::{Conflict, Observed, Wanted};

const PROC_SYS: &str = "/proc/sys";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Full resync interval; 30 s unless said.
    pub resync: Duration,
    /// How often the next hop of every `resolve` address is probed (ARP / ND) to keep it fresh.
    pub probe_interval: Duration,
    /// File that remembers the sysctl values from before vipcast, for a clean uninstall.
    pub saved_sysctls: PathBuf,
}

impl Options {
    /// The usual intervals: resync every 30 s, next hops probed every 5 s.
    pub fn new(saved_sysctls: PathBuf) -> Self {
        Self { resync: Duration::from_secs(30), probe_interval: Duration::from_secs(5), saved_sysctls }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("netlink: {0}")]
    Netlink(String),
    #[error("no rights to change routes: run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    /// Everything else was removed; these are left.
    #[error("not removed: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Leftover(Vec<Conflict>),
}

/// Runs on the caller's tokio runtime, in its network namespace. Dropping it stops the work and leaves the kernel as it is:
/// routes outlive a restart of the daemon.
pub struct RouteManager {
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    observed: watch::Receiver<Arc<Observed>>,
    uninstall: mpsc::Sender<Uninstall>,
}

/// A request to remove everything; the answer says what is left.
pub(crate) type Uninstall = oneshot::Sender<Vec<Conflict>>;

impl RouteManager {
    /// Opens netlink, subscribes, and takes the first dump. Changes nothing before the first `set_wanted`.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_ADMIN; [`Error::Netlink`] when the kernel cannot be asked.
    pub async fn start(options: Options) -> Result<Self, Error> {
        Self::start_at(options, Path::new(PROC_SYS)).await
    }

    async fn start_at(options: Options, proc_sys: &Path) -> Result<Self, Error> {
        let (publish, observed) = watch::channel(Arc::default());
        let worker = Worker::start(options, proc_sys, publish).await?;
        let (wanted, wanted_changes) = watch::channel(None);
        let (uninstall, requests) = mpsc::channel(1);
        tokio::spawn(worker.run(wanted_changes, requests));
        Ok(Self { wanted, observed, uninstall })
    }

    /// Replaces the wanted set; returns at once. The same set again costs nothing. An empty set removes all that is ours:
    /// call it when the whole set is known, not before.
    pub fn set_wanted(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|old| {
            let changed = old.as_deref() != Some(&wanted);
            if changed {
                *old = Some(Arc::new(wanted));
            }
            changed
        });
    }

    /// The newest observed state; wakes on each change.
    pub fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        self.observed.clone()
    }

    /// Removes every route and address with our mark and restores the sysctls.
    ///
    /// # Errors
    /// [`Error::Leftover`] names what could not be removed; the rest is gone.
    pub async fn uninstall(self) -> Result<(), Error> {
        let gone = |_| Error::Netlink("the route manager has stopped".into());
        let (answer, left) = oneshot::channel();
        self.uninstall.send(answer).await.map_err(|_| gone(()))?;
        let left = left.await.map_err(|_| gone(()))?;
        if left.is_empty() { Ok(()) } else { Err(Error::Leftover(left)) }
    }
}
