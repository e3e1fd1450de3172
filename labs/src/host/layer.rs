//! A node's own directories, so that its paths are those of a real machine: an empty `/run`, `/var/lib`, `/var/log` and
//! `/usr/local/bin`, and an `/etc` that shows the host's files except where the lab brings its own.
//!
//! They are plain directories below the node's directory on the host (the runner reads sockets and logs there) and are
//! bind-mounted over the real paths in the node's mount namespace alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use crate::clab::Bind;

/// Path in the node -> directory below the node's. `/run` is mounted last: it hides the others' origin.
const PRIVATE: [(&str, &str); 5] =
    [("/etc", "etc"), ("/usr/local/bin", "bin"), ("/var/lib", "lib"), ("/var/log", "log"), ("/run", "run")];
/// The host's `/etc` in the node, where the links of the node's `/etc` point to.
const HOST_ETC: &str = "/run/host/etc";

/// Where a path of the node is on the host; `None` when the node shares it with the host.
pub(super) fn on_host(node_dir: &Path, path: &Path) -> Option<PathBuf> {
    PRIVATE.iter().find_map(|(real, own)| Some(node_dir.join(own).join(path.strip_prefix(real).ok()?)))
}

/// Creates the directories. Runs on the host, before the node.
pub(super) fn prepare(node_dir: &Path) -> Result<()> {
    for (_, own) in PRIVATE {
        let dir = node_dir.join(own);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::create_dir_all(node_dir.join("run/host/etc")).context("cannot create run/host/etc")?;
    mirror(Path::new("/etc"), Path::new(HOST_ETC), &node_dir.join("etc"))
}

/// Mounts binds and directories. Runs in the node's mount namespace; afterwards the host's `/run` is hidden.
pub(super) fn mount_all(node_dir: &Path, binds: &[Bind]) -> Result<()> {
    for bind in binds {
        let target = match on_host(node_dir, &bind.target) {
            Some(own) => make_target(node_dir, &bind.target, &own, bind.source.is_dir())?,
            None => bind.target.clone(),
        };
        bind_mount(&bind.source, &target)?;
        if bind.read_only {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)
                .with_context(|| format!("cannot make {} read-only", target.display()))?;
        }
    }
    bind_mount(Path::new("/etc"), &node_dir.join("run/host/etc"))?;
    for (real, own) in PRIVATE {
        bind_mount(&node_dir.join(own), Path::new(real))?;
    }
    Ok(())
}

pub(super) fn bind_mount(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("cannot mount {} on {}", source.display(), target.display()))
}

/// Fills `own` with links to the entries of `host`, as they are reached in the node.
fn mirror(host: &Path, in_node: &Path, own: &Path) -> Result<()> {
    let entries = fs::read_dir(host).with_context(|| format!("cannot read {}", host.display()))?;
    for entry in entries {
        let entry = entry?;
        let link = own.join(entry.file_name());
        symlink(in_node.join(entry.file_name()), &link)
            .with_context(|| format!("cannot create {}", link.display()))?;
    }
    Ok(())
}

/// Makes an empty file or directory to mount on. Directories of the host's `/etc` on the way become the node's own.
fn make_target(node_dir: &Path, target: &Path, own: &Path, is_dir: bool) -> Result<PathBuf> {
    let etc = node_dir.join("etc");
    let parent = own.parent().context("a bind needs a name")?;
    let mut walked = node_dir.to_path_buf();
    for part in parent.strip_prefix(node_dir).context("outside of the node")?.components() {
        walked.push(part);
        if walked.is_symlink() {
            fs::remove_file(&walked)?;
            fs::create_dir(&walked)?;
            let below = walked.strip_prefix(&etc).context("only /etc has links")?;
            let host = Path::new("/etc").join(below);
            if host.is_dir() {
                mirror(&host, &Path::new(HOST_ETC).join(below), &walked)?;
            }
        } else if !walked.exists() {
            fs::create_dir(&walked)?;
        }
    }
    if own.is_symlink() {
        fs::remove_file(own)?;
    } else if own.exists() {
        bail!("{} is bound twice", target.display());
    }
    if is_dir { fs::create_dir(own) } else { fs::write(own, "") }
        .with_context(|| format!("cannot create {}", own.display()))?;
    Ok(own.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_node_are_found_on_the_host() {
        let dir = Path::new("/x");
        assert_eq!(on_host(dir, Path::new("/run/vipcast/api.sock")), Some("/x/run/vipcast/api.sock".into()));
        assert_eq!(on_host(dir, Path::new("/var/log/a")), Some("/x/log/a".into()));
        assert_eq!(on_host(dir, Path::new("/usr/bin/ip")), None);
    }

    #[test]
    fn a_bind_target_makes_its_directory_the_nodes_own() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        assert_eq!(fs::read_link(dir.path().join("etc/passwd")).unwrap(), Path::new("/run/host/etc/passwd"));
        let target = Path::new("/etc/new/deep/x.conf");
        let own = on_host(dir.path(), target).unwrap();
        make_target(dir.path(), target, &own, false).unwrap();
        assert!(dir.path().join("etc/new/deep/x.conf").is_file());
        assert!(make_target(dir.path(), target, &own, false).is_err());
        // An existing directory of /etc keeps its other entries.
        let target = Path::new("/etc/skel/added");
        make_target(dir.path(), target, &on_host(dir.path(), target).unwrap(), false).unwrap();
        assert_eq!(
            fs::read_link(dir.path().join("etc/skel/.profile")).unwrap(),
            Path::new("/run/host/etc/skel/.profile")
        );
    }
}
