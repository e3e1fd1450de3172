//! Raw material for who does not believe a green line: FIBs, per-connection results, counters, captures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// A directory that is filled during the run, one subdirectory per check.
#[derive(Debug, Clone)]
pub struct Evidence {
    dir: PathBuf,
}

impl Evidence {
    /// Creates the directory. What is in it from an earlier run is overwritten file by file.
    pub fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    pub fn text(&self, check: &str, name: &str, text: &str) -> Result<()> {
        let path = self.path(check, name)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn json(&self, check: &str, name: &str, value: &impl Serialize) -> Result<()> {
        self.text(check, name, &serde_json::to_string_pretty(value)?)
    }

    /// Copies a file, if it is there.
    pub fn file(&self, check: &str, from: &Path) -> Result<()> {
        let Some(name) = from.file_name().and_then(|name| name.to_str()).filter(|_| from.is_file()) else {
            return Ok(());
        };
        let path = self.path(check, name)?;
        std::fs::copy(from, &path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    fn path(&self, check: &str, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(check);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir.join(name))
    }
}
