//! The local store: database first, copy after it, then memory and watchers.
//!
//! What a start finds decides what it trusts:
//!
//! | database | copy | run from |
//! |---|---|---|
//! | good, not older than the copy | any | the database (the copy is written anew) |
//! | bad, or older than the copy | good | the copy; writes are refused |
//! | missing | good | the copy, and a new database made from it |
//! | missing | missing | nothing was ever stored: empty |
//! | bad | bad or missing | nothing: neither dial nor touch the datapath |
//! | missing | bad | the same |

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};
use tracing::{error, info, warn};

use super::database::{self, Fault};
use super::{Commit, Committed, Condition, Contents, Event, HISTORY, Store, StoreError, last_good};
use crate::resource;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is open in another process: is a second vipcastd running on these paths?", .0.display())]
    Locked(PathBuf),
}

/// redb, the copy, and what watchers need.
pub struct LocalStore {
    copy: PathBuf,
    condition: Condition,
    database: Mutex<Option<database::File>>,
    history: Mutex<VecDeque<Arc<Committed>>>,
    contents: watch::Sender<Arc<Contents>>,
    hub: broadcast::Sender<Arc<Committed>>,
}

impl LocalStore {
    /// Opens what is in `directory`, making it when it is missing. Anything short of another process in the way gives a
    /// store, whose [`Condition`] says what it is good for. `check` refuses contents that this version cannot run.
    pub fn open(
        directory: &Path,
        check: &dyn Fn(&Contents) -> Result<(), String>,
    ) -> Result<Self, OpenError> {
        let path = directory.join("store.redb");
        let copy = directory.join("last-good.pb");
        let (condition, database, contents) = match prepare(directory) {
            Ok(()) => find(&path, &copy, check)?,
            Err(why) => (
                Condition::Unreadable { why, remedy: "give vipcastd the directory, then restart it".into() },
                None,
                Contents::default(),
            ),
        };
        match &condition {
            Condition::Healthy => {
                if let Err(error) = last_good::write(&copy, &contents) {
                    warn!(path = %copy.display(), %error, "cannot write the store's copy");
                }
                info!(rev = contents.revision, resources = contents.resources.len(), "store opened");
            }
            Condition::LastGood { why, remedy } => {
                error!(rev = contents.revision, %why, %remedy, "running from the store's copy");
            }
            Condition::Unreadable { why, remedy } => {
                error!(%why, %remedy, "nothing is known of the desired state")
            }
        }
        Ok(Self {
            copy,
            condition,
            database: Mutex::new(database),
            history: Mutex::default(),
            contents: watch::Sender::new(Arc::new(contents)),
            hub: broadcast::Sender::new(HISTORY),
        })
    }
}

impl Store for LocalStore {
    fn contents(&self) -> watch::Receiver<Arc<Contents>> {
        self.contents.subscribe()
    }

    fn commit(&self, commit: Commit) -> Result<Arc<Contents>, StoreError> {
        if let Condition::LastGood { why, remedy } | Condition::Unreadable { why, remedy } = &self.condition {
            return Err(StoreError::ReadOnly { why: why.clone(), remedy: remedy.clone() });
        }
        let database = lock(&self.database);
        let old = self.contents.borrow().clone();
        if old.revision != commit.expected {
            return Err(StoreError::Changed { expected: commit.expected, found: old.revision });
        }
        let (contents, committed) = change(&old, commit);
        let file = database.as_ref().ok_or_else(|| StoreError::Write("the database is closed".into()))?;
        file.replace(&contents).map_err(|e| StoreError::Write(e.to_string()))?;
        if let Err(error) = last_good::write(&self.copy, &contents) {
            warn!(path = %self.copy.display(), %error, "cannot write the store's copy");
        }
        let (contents, committed) = (Arc::new(contents), Arc::new(committed));
        let mut history = lock(&self.history);
        history.push_back(committed.clone());
        if history.len() > HISTORY {
            history.pop_front();
        }
        self.contents.send_replace(contents.clone());
        // No receiver is no fault: nobody watches.
        let _ = self.hub.send(committed);
        Ok(contents)
    }

    fn follow(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.hub.subscribe()
    }

    fn since(&self, revision: u64) -> Option<Vec<Arc<Committed>>> {
        let history = lock(&self.history);
        let newest = self.contents.borrow().revision;
        let oldest = history.front().map_or(newest + 1, |c| c.revision);
        (revision + 1 >= oldest).then(|| history.iter().filter(|c| c.revision > revision).cloned().collect())
    }

    fn condition(&self) -> Condition {
        self.condition.clone()
    }
}

fn change(old: &Contents, commit: Commit) -> (Contents, Committed) {
    let revision = old.revision + 1;
    let mut contents = Contents { revision, resources: old.resources.clone(), lingers: commit.lingers };
    let mut events = Vec::new();
    for key in commit.delete {
        events.extend(contents.resources.remove(&key).map(Event::Deleted));
    }
    for resource in commit.put {
        contents.resources.insert(resource::key(&resource), resource.clone());
        events.push(Event::Updated(resource));
    }
    (contents, Committed { revision, events })
}

/// The directory holds keys: nobody else may look into it.
fn prepare(directory: &Path) -> Result<(), String> {
    if directory.is_dir() {
        return match fs::read_dir(directory) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("cannot read {}: {e}", directory.display())),
        };
    }
    fs::create_dir_all(directory)
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o750)))
        .map_err(|e| format!("cannot make {}: {e}", directory.display()))
}

type Opened = (Condition, Option<database::File>, Contents);

fn find(
    path: &Path,
    copy: &Path,
    check: &dyn Fn(&Contents) -> Result<(), String>,
) -> Result<Opened, OpenError> {
    let saved = last_good::read(copy).map_err(|e| e.to_string()).and_then(|saved| match saved {
        Some(contents) => check(&contents).map(|()| Some(contents)),
        None => Ok(None),
    });
    if !path.exists() {
        return Ok(without_database(path, copy, saved));
    }
    let opened = match database::File::open(path) {
        Ok((file, contents)) => check(&contents).map(|()| (file, contents)),
        Err(Fault::Locked) => return Err(OpenError::Locked(path.to_owned())),
        Err(fault) => Err(fault.to_string()),
    };
    Ok(match (opened, saved) {
        (Ok((_, contents)), Ok(Some(saved))) if saved.revision > contents.revision => {
            let why = format!(
                "{} is at revision {}, older than its copy at revision {}",
                path.display(),
                contents.revision,
                saved.revision
            );
            let remedy = format!(
                "stop vipcastd, move {} away to go on with the copy, or {} to go back, and start it again",
                path.display(),
                copy.display()
            );
            (Condition::LastGood { why, remedy }, None, saved)
        }
        (Ok((file, contents)), _) => (Condition::Healthy, Some(file), contents),
        (Err(why), Ok(Some(saved))) => {
            let why = format!("{} cannot be used: {why}", path.display());
            let remedy = format!(
                "stop vipcastd, move {} away and start it again: it is made anew from {}",
                path.display(),
                copy.display()
            );
            (Condition::LastGood { why, remedy }, None, saved)
        }
        (Err(why), Ok(None)) => unreadable(path, copy, &why, "it does not exist"),
        (Err(why), Err(saved)) => unreadable(path, copy, &why, &saved),
    })
}

fn without_database(path: &Path, copy: &Path, saved: Result<Option<Contents>, String>) -> Opened {
    let contents = match saved {
        Ok(Some(saved)) => {
            warn!(path = %path.display(), rev = saved.revision, "the store is missing: making it from its copy");
            saved
        }
        Ok(None) => Contents::default(),
        Err(why) => return unreadable(path, copy, "it does not exist", &why),
    };
    match create(path, &contents) {
        Ok(file) => (Condition::Healthy, Some(file), contents),
        Err(why) => {
            let why = format!("cannot make {}: {why}", path.display());
            let remedy = "make room and give vipcastd the directory, then restart it".to_owned();
            match contents.revision {
                0 => (Condition::Unreadable { why, remedy }, None, contents),
                _ => (Condition::LastGood { why, remedy }, None, contents),
            }
        }
    }
}

fn create(path: &Path, contents: &Contents) -> Result<database::File, String> {
    let file = database::File::create(path, contents).map_err(|e| e.to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| e.to_string())?;
    Ok(file)
}

fn unreadable(path: &Path, copy: &Path, database: &str, saved: &str) -> Opened {
    let why = format!("neither {} ({database}) nor {} ({saved}) can be used", path.display(), copy.display());
    let remedy =
        "restore one of them from a backup, or move both away to begin with nothing, and restart vipcastd";
    (Condition::Unreadable { why, remedy: remedy.into() }, None, Contents::default())
}

/// A panic under the lock cannot leave a half-made change behind: the database is transactional and memory is replaced
/// whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
