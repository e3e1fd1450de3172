//! What starts at boot: packages of daemons enable themselves when they are installed, which nobody asked for here.
//!
//! So the links that mean "enabled" are compared before and after an installation, and those that appeared are undone in
//! the way an administrator would (Debian then leaves them alone on upgrades): systemd's are removed, those of
//! sysvinit turned from S (start) to K (kill).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// All links that enable something at boot. `root` is `/`, except in tests.
pub(crate) fn links(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for folder in list(&root.join("etc/systemd/system"))? {
        if folder.extension().is_some_and(|kind| kind == "wants" || kind == "requires") {
            found.extend(list(&folder)?);
        }
    }
    for level in 2..=5 {
        let links = list(&root.join(format!("etc/rc{level}.d")))?;
        found.extend(links.into_iter().filter(|link| start_name(link).is_some()));
    }
    Ok(found)
}

/// Those that were not there before.
pub(crate) fn added(before: &BTreeSet<PathBuf>, after: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    after.difference(before).cloned().collect()
}

/// Undoes one link.
pub(crate) fn disable(link: &Path) -> Result<()> {
    let done = match start_name(link) {
        Some(rest) => fs::rename(link, link.with_file_name(format!("K{rest}"))),
        None => fs::remove_file(link),
    };
    done.with_context(|| format!("cannot disable {}", link.display()))
}

/// The services the links are about, each once.
pub(crate) fn services(links: &[PathBuf]) -> Vec<String> {
    let name = |link: &PathBuf| match start_name(link) {
        Some(rest) => Some(rest.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned()),
        None => Some(link.file_stem()?.to_str()?.to_owned()),
    };
    links.iter().filter_map(name).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `01frr` of `/etc/rc2.d/S01frr`.
fn start_name(link: &Path) -> Option<&str> {
    let folder = link.parent()?.file_name()?.to_str()?;
    let name = link.file_name()?.to_str()?;
    if folder.starts_with("rc") && folder.ends_with(".d") { name.strip_prefix('S') } else { None }
}

/// The entries of a folder; none where there is no such folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.with_context(|| format!("cannot list {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_that_an_installation_added_are_undone() {
        let root = std::env::temp_dir().join(format!("xtask-enabled-{}", std::process::id()));
        let wants = root.join("etc/systemd/system/multi-user.target.wants");
        let level = root.join("etc/rc2.d");
        fs::create_dir_all(&wants).unwrap();
        fs::create_dir_all(&level).unwrap();
        fs::write(wants.join("ssh.service"), "").unwrap();
        fs::write(level.join("S01ssh"), "").unwrap();
        let before = links(&root).unwrap();
        fs::write(wants.join("frr.service"), "").unwrap();
        fs::write(level.join("S02frr"), "").unwrap();
        fs::write(level.join("K09old"), "").unwrap();

        let new = added(&before, &links(&root).unwrap());
        new.iter().for_each(|link| disable(link).unwrap());

        let left = links(&root).unwrap();
        let killed = level.join("K02frr").exists();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(new.len(), 2);
        assert_eq!(services(&new), ["frr"]);
        assert_eq!(left, before);
        assert!(killed);
    }
}
