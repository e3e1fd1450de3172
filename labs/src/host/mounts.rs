//! The mounts of this mount namespace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

/// Mount points at or below `dir`, the innermost first.
pub fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
    let mut points = mount_points(&text);
    points.retain(|point| point.starts_with(dir));
    // Later mounts may lie on top of earlier ones of the same path.
    points.reverse();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(points)
}

/// Takes a mount away at once, whoever still uses it. One that has gone by itself is no error: removing a mount's file
/// or directory elsewhere, as another lab does when it ends, detaches it in every namespace.
pub fn detach(point: &Path) -> Result<()> {
    match umount2(point, MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot unmount {}", point.display())),
    }
}

/// Field 5 of `proc_pid_mountinfo(5)`.
fn mount_points(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_and_unescaped() {
        let text = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                    99 27 0:5 net:[4026] /run/netns/a\\040b rw shared:1 - nsfs nsfs rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/proc"), PathBuf::from("/run/netns/a b")]);
    }
}
