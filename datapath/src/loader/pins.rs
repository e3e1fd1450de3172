//! The pin directory: what lies where on the bpffs, who may work with it, and how it goes away.
//!
//! ```text
//! PIN_DIR/abi-<abi>-<host layout>/   empty; says which layouts the rest has
//!         maps/<NAME>
//!         links/<slot>-<interface>   XDP links: they keep the programs loaded and attached
//! ```
//!
//! A bpffs takes no files and no dots in names. A process holds a lock on the directory while it works with it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{Error, unlink};

const MAPS: &str = "maps";
const LINKS: &str = "links";
const ABI: &str = "abi-";

/// A locked pin directory.
#[derive(Debug)]
pub(crate) struct Pins {
    dir: PathBuf,
    /// Held for its lock alone.
    _lock: Flock<File>,
}

/// An interface's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkPin {
    pub(crate) slot: u32,
    pub(crate) interface: String,
}

impl Pins {
    /// Opens or makes the directory; true when it was there with pins of `layout`.
    pub(crate) fn open(dir: &Path, layout: &str) -> Result<(Self, bool), Error> {
        check_bpffs(dir)?;
        fs::create_dir_all(dir).map_err(|e| Error::io(format!("make {}", dir.display()), e))?;
        let pins = Self { dir: dir.to_owned(), _lock: lock(dir)? };
        let expected = format!("{ABI}{layout}");
        let names = list(dir)?;
        if names.contains(&expected) {
            pins.make_folders()?;
            return Ok((pins, true));
        }
        if !names.is_empty() {
            let found = names.into_iter().find(|name| name.starts_with(ABI));
            let found = found.unwrap_or_else(|| "pins of something else".into());
            return Err(Error::OtherAbi { dir: dir.to_owned(), found, expected });
        }
        make_dir(&dir.join(expected))?;
        pins.make_folders()?;
        Ok((pins, false))
    }

    fn make_folders(&self) -> Result<(), Error> {
        [MAPS, LINKS].iter().try_for_each(|name| make_dir(&self.dir.join(name)))
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.dir.join(MAPS).join(name)
    }

    pub(crate) fn link(&self, pin: &LinkPin) -> PathBuf {
        self.dir.join(LINKS).join(pin.file_name())
    }

    /// Interfaces with a link pin.
    pub(crate) fn links(&self) -> Result<Vec<LinkPin>, Error> {
        let names = list(&self.dir.join(LINKS))?;
        Ok(names.iter().filter_map(|name| LinkPin::parse(name)).collect())
    }

    /// Takes an interface's link away, and with it the attachment.
    pub(crate) fn remove_link(&self, pin: &LinkPin) -> Result<(), Error> {
        remove_link(&self.link(pin))
    }

    /// An interface was renamed: its link follows.
    pub(crate) fn rename_link(&self, old: &LinkPin, new: &LinkPin) -> Result<(), Error> {
        let (from, to) = (self.link(old), self.link(new));
        fs::rename(&from, &to).map_err(|e| Error::io(format!("rename {}", from.display()), e))
    }

    /// Removes everything: links first, so that no program runs without its maps' names.
    pub(crate) fn remove_all(self) -> Result<(), Error> {
        remove_tree(&self.dir)
    }
}

/// Removes what a pin directory of whatever layout holds, and the directory; nothing to do when there is none.
pub(crate) fn remove(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    check_bpffs(dir)?;
    let _lock = lock(dir)?;
    remove_tree(dir)
}

impl LinkPin {
    fn file_name(&self) -> String {
        let name = self.interface.replace('%', "%25").replace('.', "%2e");
        format!("{}-{name}", self.slot)
    }

    fn parse(file_name: &str) -> Option<Self> {
        let (slot, name) = file_name.split_once('-')?;
        let interface = name.replace("%2e", ".").replace("%25", "%");
        Some(Self { slot: slot.parse().ok()?, interface })
    }
}

/// The nearest directory that exists must be on a bpffs; checked before anything is made.
fn check_bpffs(dir: &Path) -> Result<(), Error> {
    let exists = |path: &&Path| path.try_exists().unwrap_or(true);
    let there = dir.ancestors().find(exists).unwrap_or(Path::new("/"));
    let fs = statfs(there).map_err(|e| Error::io(format!("look at {}", there.display()), e.into()))?;
    if fs.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    let usual = Path::new("/sys/fs/bpf");
    let mount = if dir.starts_with(usual) { usual } else { dir.parent().unwrap_or(dir) };
    Err(Error::NotBpffs { dir: dir.to_owned(), mount: mount.to_owned() })
}

fn lock(dir: &Path) -> Result<Flock<File>, Error> {
    let file = File::open(dir).map_err(|e| Error::io(format!("open {}", dir.display()), e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => Error::InUse { dir: dir.to_owned() },
        other => Error::io(format!("lock {}", dir.display()), other.into()),
    })
}

/// Sorted names in a directory.
fn list(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |e| Error::io(format!("list {}", dir.display()), e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io(format!("make {}", dir.display()), e))
        }
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

fn remove_link(path: &Path) -> Result<(), Error> {
    match unlink::detach(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("detach {}", path.display()), e))
        }
        _ => remove_file(path),
    }
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", dir.display()), e))
        }
        _ => Ok(()),
    }
}

/// Folders that we make, nothing else: what somebody else put there stays, and so does the directory, with an error.
fn remove_tree(dir: &Path) -> Result<(), Error> {
    let (links, maps) = (dir.join(LINKS), dir.join(MAPS));
    if links.exists() {
        list(&links)?.iter().try_for_each(|name| remove_link(&links.join(name)))?;
    }
    if maps.exists() {
        list(&maps)?.iter().try_for_each(|name| remove_file(&maps.join(name)))?;
    }
    remove_dir(&links)?;
    remove_dir(&maps)?;
    for name in list(dir)?.iter().filter(|name| name.starts_with(ABI)) {
        remove_dir(&dir.join(name))?;
    }
    remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_survive_the_pin() {
        for name in ["eth0", "eth0.100", "a-b", "50%2e", "%.%"] {
            let pin = LinkPin { slot: 12, interface: name.into() };
            assert!(!pin.file_name().contains('.'), "a bpffs takes no dots");
            assert_eq!(LinkPin::parse(&pin.file_name()), Some(pin));
        }
        assert_eq!(LinkPin::parse("links"), None);
    }

    #[test]
    fn an_ordinary_directory_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let pin_dir = dir.path().join("not/there");
        let error = Pins::open(&pin_dir, "1-1").expect_err("no bpffs");
        assert!(matches!(error, Error::NotBpffs { .. }), "{error}");
        assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
        assert!(!dir.path().join("not").exists());
    }
}
