//! `last-good.pb`: the whole contents with their checksum, replaced atomically after each commit. What the node runs
//! from when the database cannot be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use prost::Message;

use super::Contents;
use super::record::{SCHEMA, Whole, sha256};

/// Begins the file; the SHA-256 of the rest follows, then the message.
const MAGIC: &[u8; 16] = b"vipcast copy 01\n";

#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a copy of a vipcast store")]
    Foreign,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its contents cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("it was written by a newer vipcastd (schema {0})")]
    Newer(u32),
}

/// `Ok(None)`: there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Contents>, Damage> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or(Damage::Foreign)?;
    let (sum, payload) = rest.split_at_checked(32).ok_or(Damage::Checksum)?;
    if sha256(payload) != sum {
        return Err(Damage::Checksum);
    }
    let whole = Whole::decode(payload)?;
    if whole.schema > SCHEMA {
        return Err(Damage::Newer(whole.schema));
    }
    Ok(Some(whole.into_contents()))
}

/// Returns after file and directory are on the disk.
pub(super) fn write(path: &Path, contents: &Contents) -> io::Result<()> {
    let payload = Whole::from(contents).encode_to_vec();
    let temporary = path.with_extension("pb.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(MAGIC)?;
    file.write_all(&sha256(&payload))?;
    file.write_all(&payload)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
