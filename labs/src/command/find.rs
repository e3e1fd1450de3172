//! Where labs and programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The daemon and the command line come from the same build as this program.
const PROGRAMS: [&str; 3] = ["vipcastd", "vipcast", "vipcast-lab"];

/// The directory of the labs: `$VIPCAST_LABS`, `labs/` here or above, or where this program was built from.
pub(super) fn labs_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("VIPCAST_LABS") {
        return PathBuf::from(dir);
    }
    let here = std::env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|dir| dir.join("labs")).find(|dir| dir.join(MARK).is_file());
    above.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
}

/// A file that only the directory of the labs has.
const MARK: &str = "image/Dockerfile";

pub(super) fn topology(lab: &Path) -> Option<PathBuf> {
    let name = lab.file_name()?.to_str()?;
    Some(lab.join(format!("{name}.clab.yml"))).filter(|file| file.is_file())
}

/// The directory of one lab.
pub(super) fn lab(name: &str) -> Result<PathBuf> {
    let dir = labs_dir().join(name);
    let known = names().join(", ");
    topology(&dir).with_context(|| format!("there is no lab {name}; there is {known}"))?;
    Ok(dir)
}

pub(super) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(labs_dir()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| topology(&entry.path()).is_some())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The programs that every machine of a lab gets: those beside this one. `all`: none of them may be missing.
pub(super) fn programs(all: bool) -> Result<Vec<PathBuf>> {
    let own = std::env::current_exe().context("own program")?;
    let dir = own.parent().context("own directory")?;
    let (there, missing): (Vec<_>, Vec<_>) =
        PROGRAMS.iter().map(|name| dir.join(name)).partition(|path| path.is_file());
    if let Some(path) = missing.first().filter(|_| all) {
        bail!("{} is missing: `cargo xtask build` builds it", path.display());
    }
    Ok(there)
}
