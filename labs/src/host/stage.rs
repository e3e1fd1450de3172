//! The lab's files as one run sees them: a copy, so that a planted fault never touches the checkout.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// One replacement in a file of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Relative to the lab's directory.
    pub file: &'static str,
    /// Must occur exactly once: a fault that changes nothing would prove nothing.
    pub find: &'static str,
    pub replace: &'static str,
}

/// Copies the lab's directory and applies the edits.
pub(super) fn stage(source: &Path, target: &Path, edits: &[Edit]) -> Result<()> {
    copy_dir(source, target)
        .with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
    for edit in edits {
        let path = target.join(edit.file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("the fault wants to change {}", edit.file))?;
        let found = text.matches(edit.find).count();
        ensure!(
            found == 1,
            "the fault wants to replace {:?} in {}, found {found} times",
            edit.find,
            edit.file
        );
        std::fs::write(&path, text.replacen(edit.find, edit.replace, 1))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn copy_dir(source: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(target)?;
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        let copy = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &copy)?;
        } else {
            std::fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_must_hit_exactly_once() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir_all(source.join("r1")).unwrap();
        std::fs::write(source.join("r1/x.conf"), "one\ntwo two\n").unwrap();
        let edit = |find, replace| Edit { file: "r1/x.conf", find, replace };
        stage(&source, &target, &[edit("one", "1")]).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("r1/x.conf")).unwrap(), "1\ntwo two\n");
        assert_eq!(std::fs::read_to_string(source.join("r1/x.conf")).unwrap(), "one\ntwo two\n");
        assert!(stage(&source, &target, &[edit("two", "2")]).is_err());
        assert!(stage(&source, &target, &[edit("three", "3")]).is_err());
    }
}
