//! The bytes: stored values, digests, the copy's message.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use proto::v1;
use sha2::{Digest, Sha256};

use super::{Contents, Linger};
use crate::resource;

/// Version of everything that the store writes. A newer one is not read.
pub(super) const SCHEMA: u32 = 1;

/// The whole contents as one message: the copy's payload.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Whole {
    #[prost(uint32, tag = "1")]
    pub(super) schema: u32,
    #[prost(uint64, tag = "2")]
    pub(super) revision: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) config: Option<v1::Config>,
    #[prost(message, repeated, tag = "4")]
    pub(super) lingers: Vec<StoredLinger>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredLinger {
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "1")]
    pub(super) until_ms: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) config: Option<v1::Config>,
}

impl From<&Linger> for StoredLinger {
    fn from(linger: &Linger) -> Self {
        let since = linger.until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let until_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self { until_ms, config: Some(linger.document.clone()) }
    }
}

impl From<StoredLinger> for Linger {
    fn from(stored: StoredLinger) -> Self {
        let until = UNIX_EPOCH.checked_add(Duration::from_millis(stored.until_ms));
        Self { until: until.unwrap_or(SystemTime::UNIX_EPOCH), document: stored.config.unwrap_or_default() }
    }
}

impl From<&Contents> for Whole {
    fn from(contents: &Contents) -> Self {
        Self {
            schema: SCHEMA,
            revision: contents.revision,
            config: Some(contents.document()),
            lingers: contents.lingers.iter().map(StoredLinger::from).collect(),
        }
    }
}

impl Whole {
    pub(super) fn into_contents(self) -> Contents {
        let document = self.config.unwrap_or_default();
        Contents {
            revision: self.revision,
            resources: resource::of_document(&document).into_iter().map(|r| (resource::key(&r), r)).collect(),
            lingers: self.lingers.into_iter().map(Linger::from).collect(),
        }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The config digest: over what users said alone, so that nodes with the same configuration agree whatever their
/// revisions are. Maps are sorted in the generated types.
pub fn digest(document: &api::Document) -> String {
    hex(&sha256(&api::normalized(document).encode_to_vec()))
}

/// Names one state of one resource: changes with each change, also back to an earlier value.
pub fn etag(revision: u64, said: &api::Resource) -> String {
    let hash = sha256(&resource::encode(said));
    format!("{revision}-{}", hex(hash.get(..4).unwrap_or_default()))
}
