//! What one run leaves for the next, in the run directory (gone after a boot): which boot it was and which VIPs were
//! announced. Together with adopted pins it decides whether routers may be told that forwarding went on (RFC 4724 4.1).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Identifies this boot of the kernel.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub boot_id: String,
    pub announced: BTreeSet<IpAddr>,
}

/// The record's file.
#[derive(Debug, Clone)]
pub struct RecordFile {
    path: PathBuf,
    boot_id: String,
}

impl RecordFile {
    pub fn new(run: &Path, boot_id: String) -> Self {
        Self { path: run.join("restart.json"), boot_id }
    }

    /// The VIPs that the previous run of this boot announced; empty when there was none or it cannot be read: then
    /// this is not a restart that routers should know of.
    pub fn previous(&self) -> BTreeSet<IpAddr> {
        let Ok(text) = std::fs::read(&self.path) else { return BTreeSet::new() };
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) if record.boot_id == self.boot_id => record.announced,
            _ => BTreeSet::new(),
        }
    }

    /// Replaces the record atomically. Survives a crash of the process, and need not survive one of the host.
    pub fn write(&self, announced: &BTreeSet<IpAddr>) -> io::Result<()> {
        let record = Record { boot_id: self.boot_id.clone(), announced: announced.clone() };
        let temporary = self.path.with_extension("json.new");
        std::fs::write(&temporary, serde_json::to_vec(&record)?)?;
        std::fs::rename(&temporary, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_of_this_boot_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = RecordFile::new(directory.path(), "boot-1".into());
        assert!(file.previous().is_empty());
        let announced = BTreeSet::from([IpAddr::from([192, 0, 2, 1])]);
        file.write(&announced).expect("written");
        assert_eq!(file.previous(), announced);
        assert!(RecordFile::new(directory.path(), "boot-2".into()).previous().is_empty());
        std::fs::write(directory.path().join("restart.json"), "{").expect("written");
        assert!(file.previous().is_empty());
    }
}
