//! The redb file: one row for each resource, and a digest over all rows that is checked at start, because a database
//! whose pages are well-formed can still hold wrong bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use api::Kind;
use prost::Message;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::record::{SCHEMA, StoredLinger, Whole, sha256};
use super::{Contents, Linger};
use crate::resource;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const RESOURCES: TableDefinition<(u8, &str), &[u8]> = TableDefinition::new("resources");
const LINGERS: TableDefinition<u64, &[u8]> = TableDefinition::new("lingers");
const DIGEST: TableDefinition<(), &[u8]> = TableDefinition::new("digest");

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("another process has it open")]
    Locked,
    #[error("{0}")]
    Redb(#[from] redb::Error),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it was written by a newer vipcastd (schema {0})")]
    Newer(u64),
}

macro_rules! from_redb {
    ($($error:ident),*) => { $(impl From<redb::$error> for Fault {
        fn from(error: redb::$error) -> Self { Fault::Redb(error.into()) }
    })* };
}
from_redb!(TransactionError, TableError, StorageError, CommitError);

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Fault::Locked,
            other => Fault::Redb(other.into()),
        }
    }
}

/// An open database whose contents were read and verified.
pub(super) struct File {
    database: Database,
}

impl File {
    /// Opens an existing file and reads all of it.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), Fault> {
        let path: PathBuf = path.to_owned();
        // redb is free to panic over pages that it never wrote; that must not take the node down.
        catch_unwind(AssertUnwindSafe(|| {
            let mut database = Database::open(&path)?;
            database.check_integrity()?;
            let file = Self { database };
            let contents = file.read()?;
            Ok((file, contents))
        }))
        .unwrap_or_else(|_| Err(Fault::Damaged("its pages contradict each other".into())))
    }

    /// Makes a new file that holds `contents`.
    pub(super) fn create(path: &Path, contents: &Contents) -> Result<Self, Fault> {
        let file = Self { database: Database::create(path)? };
        file.replace(contents)?;
        Ok(file)
    }

    fn read(&self) -> Result<Contents, Fault> {
        let transaction = self.database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let number = |key: &str| -> Result<u64, Fault> {
            let value = meta.get(key)?;
            value.map(|v| v.value()).ok_or_else(|| Fault::Damaged(format!("it has no {key}")))
        };
        let schema = number("schema")?;
        if schema > u64::from(SCHEMA) {
            return Err(Fault::Newer(schema));
        }
        let mut contents = Contents { revision: number("revision")?, ..Contents::default() };
        for row in transaction.open_table(RESOURCES)?.iter()? {
            let (key, value) = row?;
            let (kind, name) = key.value();
            let kind = Kind::ALL.into_iter().find(|k| tag(*k) == kind);
            let kind = kind.ok_or_else(|| Fault::Damaged(format!("{name} is of an unknown kind")))?;
            let resource = resource::decode(kind, value.value())
                .map_err(|e| Fault::Damaged(format!("{} {name}: {e}", kind.word())))?;
            contents.resources.insert((kind, name.to_owned()), resource);
        }
        for row in transaction.open_table(LINGERS)?.iter()? {
            let stored = StoredLinger::decode(row?.1.value())
                .map_err(|e| Fault::Damaged(format!("lingering resources: {e}")))?;
            contents.lingers.push(Linger::from(stored));
        }
        let digest = transaction.open_table(DIGEST)?;
        let stored = digest.get(())?;
        if stored.is_none_or(|d| d.value() != sha256(&Whole::from(&contents).encode_to_vec())) {
            return Err(Fault::Damaged("its rows do not match their digest".into()));
        }
        Ok(contents)
    }

    /// Durable when it returns. Only rows that differ are written.
    pub(super) fn replace(&self, contents: &Contents) -> Result<(), Fault> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("schema", u64::from(SCHEMA))?;
            meta.insert("revision", contents.revision)?;
            let mut rows = transaction.open_table(RESOURCES)?;
            rows.retain(|(kind, name), _| {
                Kind::ALL
                    .iter()
                    .any(|k| tag(*k) == kind && contents.resources.contains_key(&(*k, name.to_owned())))
            })?;
            for ((kind, name), resource) in &contents.resources {
                let bytes = resource::encode(resource);
                let key = (tag(*kind), name.as_str());
                let same = rows.get(key)?.is_some_and(|old| old.value() == bytes);
                if !same {
                    rows.insert(key, bytes.as_slice())?;
                }
            }
            let mut lingers = transaction.open_table(LINGERS)?;
            lingers.retain(|_, _| false)?;
            for (i, linger) in (0u64..).zip(&contents.lingers) {
                lingers.insert(i, StoredLinger::from(linger).encode_to_vec().as_slice())?;
            }
            let digest = sha256(&Whole::from(contents).encode_to_vec());
            transaction.open_table(DIGEST)?.insert((), digest.as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Never changes its meaning: part of the file's format.
fn tag(kind: Kind) -> u8 {
    match kind {
        Kind::Vip => 1,
        Kind::Pool => 2,
        Kind::Service => 3,
        Kind::Peer => 4,
        Kind::EndpointRoute => 5,
    }
}
