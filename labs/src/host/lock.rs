//! One run of a lab at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::place::Place;

/// Held while the lab is built, run or cleaned; the file goes with it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// An error that says so when another process holds it.
    pub fn take(place: &Place) -> Result<Self> {
        let path = place.lock();
        std::fs::create_dir_all(place.root())
            .with_context(|| format!("cannot create {}", place.root().display()))?;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    bail!("lab {} is in use by another vipcast-lab; wait for it to end", place.lab())
                }
                Err(TryLockError::Error(error)) => return Err(error).context("cannot lock"),
            }
            // The previous holder may have removed the file between our open and our lock.
            let ours = file.metadata().context("lock file")?.ino();
            if std::fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Only the last lab takes the directory with it.
        if let Some(root) = self.path.parent() {
            let _ = std::fs::remove_dir(root);
        }
    }
}
