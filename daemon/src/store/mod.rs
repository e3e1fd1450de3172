//! The desired state, kept durably. Behind a trait with revisions, compare-and-set and watch, so that a shared store
//! can take the place of the local one. Nothing is acknowledged before [`Store::commit`] returned.
//!
//! The local store is redb with a checksummed copy beside it: a bad store never means an empty one (design 8).

mod database;
mod last_good;
mod local;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use api::{Document, Resource};
use tokio::sync::{broadcast, watch};

pub use local::{LocalStore, OpenError};
pub use record::{digest, etag, hex};

use crate::resource::{self, Key};

/// Events that a watcher may lag behind before it is cut off, and that are kept for one who comes back.
pub const HISTORY: usize = 1024;

/// Everything stored at one revision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// Counts commits; 0: nothing was ever stored.
    pub revision: u64,
    /// Meta and spec, by kind and name.
    pub resources: BTreeMap<Key, Resource>,
    /// Removed, but still serving.
    pub lingers: Vec<Linger>,
}

impl Contents {
    /// The whole configuration, sorted by kind and name.
    pub fn document(&self) -> Document {
        resource::document(self.resources.values())
    }
}

/// What one commit removed, with everything that it needs to go on serving until then: a closed document of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Linger {
    pub until: SystemTime,
    pub document: Document,
}

/// One atomic change.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Revision that the change was made from; another one in the store refuses it.
    pub expected: u64,
    /// Created or replaced; their meta carries `expected + 1`.
    pub put: Vec<Resource>,
    pub delete: Vec<Key>,
    /// The whole list after the change.
    pub lingers: Vec<Linger>,
}

/// What a commit did, for watchers.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Updated(Resource),
    /// As it was last.
    Deleted(Resource),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    pub revision: u64,
    pub events: Vec<Event>,
}

/// Can the store be trusted and written?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Healthy,
    /// Serving from the copy; writes are refused until `remedy` is done.
    LastGood {
        why: String,
        remedy: String,
    },
    /// Nothing is known of the desired state: nothing may be changed.
    Unreadable {
        why: String,
        remedy: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store is at revision {found}, the change was made from {expected}")]
    Changed { expected: u64, found: u64 },
    #[error("{why}: {remedy}")]
    ReadOnly { why: String, remedy: String },
    #[error("cannot write the store: {0}")]
    Write(String),
}

/// The durable desired state.
pub trait Store: Send + Sync + 'static {
    /// The newest contents; wakes on each commit.
    fn contents(&self) -> watch::Receiver<Arc<Contents>>;
    /// Makes the change durable, then visible. Blocks for the disk.
    fn commit(&self, commit: Commit) -> Result<Arc<Contents>, StoreError>;
    /// Every later commit, in order; a reader that lags more than [`HISTORY`] behind is told so.
    fn follow(&self) -> broadcast::Receiver<Arc<Committed>>;
    /// Commits after `revision`, oldest first; `None` when they are not known any more.
    fn since(&self, revision: u64) -> Option<Vec<Arc<Committed>>>;
    fn condition(&self) -> Condition;
}
