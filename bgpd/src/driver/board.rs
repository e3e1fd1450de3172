//! Where the peers' tasks write their status, and the task that publishes it as one value.
//!
//! Writers change their own entry in place; the copy for the readers is made on another thread, at most every
//! 10 ms, so that no number of routes holds a session up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

use crate::{PeerStatus, SpeakerStatus};

const COALESCE: Duration = Duration::from_millis(10);
/// Counters that change without any event are published this often.
const REFRESH: Duration = Duration::from_secs(1);
const MAX_WITHDRAWN: usize = 65536;

#[derive(Debug, Default)]
pub(super) struct Board {
    peers: Mutex<BTreeMap<String, Arc<Mutex<PeerStatus>>>>,
    withdrawn: Mutex<BTreeMap<IpNet, SystemTime>>,
    rejected: AtomicU64,
    dirty: Notify,
    /// Counters have changed since the last copy was made.
    counted: AtomicBool,
}

/// One peer's place on the board.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    board: Arc<Board>,
    status: Arc<Mutex<PeerStatus>>,
}

impl Board {
    /// Puts a peer up, in place of what was there under this name.
    pub(super) fn enter(self: &Arc<Self>, name: &str, status: PeerStatus) -> Entry {
        let status = Arc::new(Mutex::new(status));
        lock(&self.peers).insert(name.to_owned(), status.clone());
        self.dirty.notify_one();
        Entry { board: self.clone(), status }
    }

    /// Takes a peer off; what its task still writes is seen by nobody.
    pub(super) fn remove(&self, name: &str) {
        lock(&self.peers).remove(name);
        self.dirty.notify_one();
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.dirty.notify_one();
    }

    fn snapshot(&self) -> SpeakerStatus {
        let entries = lock(&self.peers).clone();
        let peers = entries.into_iter().map(|(name, status)| (name, lock(&status).clone())).collect();
        SpeakerStatus {
            peers,
            last_withdrawn: lock(&self.withdrawn).clone(),
            rejected_connections: self.rejected.load(Ordering::Relaxed),
        }
    }

    /// Publishes for ever.
    pub(super) async fn publish(self: Arc<Self>, status: watch::Sender<Arc<SpeakerStatus>>) {
        loop {
            tokio::select! {
                () = self.dirty.notified() => {}
                () = tokio::time::sleep(REFRESH) => {
                    if !self.counted.load(Ordering::Relaxed) {
                        continue;
                    }
                }
            }
            self.counted.store(false, Ordering::Relaxed);
            let board = self.clone();
            // Fails only when the runtime goes down.
            let Ok(snapshot) = tokio::task::spawn_blocking(move || board.snapshot()).await else { return };
            publish(&status, snapshot);
            tokio::time::sleep(COALESCE).await;
        }
    }

    /// The last word, when the sessions are over.
    pub(super) fn publish_now(&self, status: &watch::Sender<Arc<SpeakerStatus>>) {
        publish(status, self.snapshot());
    }
}

fn publish(status: &watch::Sender<Arc<SpeakerStatus>>, snapshot: SpeakerStatus) {
    status.send_if_modified(|current| {
        let changed = **current != snapshot;
        if changed {
            *current = Arc::new(snapshot);
        }
        changed
    });
}

impl Entry {
    /// Changes the status and has it published.
    pub(super) fn update(&self, change: impl FnOnce(&mut PeerStatus)) {
        change(&mut lock(&self.status));
        self.board.dirty.notify_one();
    }

    /// Changes counters that need not wake anybody at once; `change` says whether it changed anything.
    pub(super) fn count(&self, change: impl FnOnce(&mut PeerStatus) -> bool) {
        if change(&mut lock(&self.status)) {
            self.board.counted.store(true, Ordering::Relaxed);
        }
    }

    /// The kernel has taken the withdraws of these prefixes.
    pub(super) fn withdrawn(&self, prefixes: &[IpNet], at: SystemTime) {
        let mut withdrawn = lock(&self.board.withdrawn);
        withdrawn.extend(prefixes.iter().map(|prefix| (*prefix, at)));
        if withdrawn.len() > MAX_WITHDRAWN {
            let mut times: Vec<_> = withdrawn.values().copied().collect();
            let excess = times.len() - MAX_WITHDRAWN;
            let (_, newest_to_drop, _) = times.select_nth_unstable(excess - 1);
            let newest_to_drop = *newest_to_drop;
            withdrawn.retain(|_, at| *at > newest_to_drop);
        }
    }
}

/// A panic of another session while it held the lock leaves a status that is old, not one that is unsafe.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
