//! One daemon on one run directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another vipcastd (process {holder}) runs on {}: stop it, or give this one other [paths]", run.display())]
    Held { run: PathBuf, holder: String },
    #[error("cannot use the run directory {}: {source}", run.display())]
    Io { run: PathBuf, source: io::Error },
}

/// Held until dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

impl InstanceLock {
    /// Makes the directory when it is missing.
    pub fn take(run: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { run: run.to_owned(), source };
        fs::create_dir_all(run).map_err(failed)?;
        let path = run.join("vipcastd.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                return Err(LockError::Held { run: run.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = directory.path().join("run");
        let first = InstanceLock::take(&run).expect("free");
        let Err(LockError::Held { holder, .. }) = InstanceLock::take(&run) else { panic!("must be held") };
        assert_eq!(holder, std::process::id().to_string());
        drop(first);
        InstanceLock::take(&run).expect("free again");
    }
}
