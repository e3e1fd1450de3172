//! Sysctls on the real system: values from before vipcast are saved once, then changed, kept, and given back.
//!
//! The file of saved values is written whole (temporary file, fsync, rename) *before* the first change, one `path value`
//! a line. A file that cannot be read or written stops every change of a sysctl, and nothing else: a value that could not
//! be given back is not taken.
//! A sysctl that leaves the wanted set gets its old value back. One of an interface that is gone is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use tracing::{info, warn};

use crate::sysctl::Sysctls;
use crate::{Conflict, Sysctl};

const HEADER: &str = "# vipcast: sysctl values from before it changed them";

#[derive(Debug)]
pub(crate) struct Settings {
    /// `/proc/sys`.
    root: PathBuf,
    file: PathBuf,
    saved: Sysctls,
    /// Why the file cannot be used.
    broken: Option<String>,
    /// Read back as wanted: a difference later is drift.
    confirmed: BTreeSet<Sysctl>,
}

/// Outcome of one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) conflicts: Vec<Conflict>,
    /// Values that foreign hands had changed and that were set again.
    pub(crate) repaired: u64,
}

impl Settings {
    pub(crate) fn open(root: &Path, file: &Path) -> Self {
        let read = match fs::read_to_string(file) {
            Ok(text) => parse(&text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(e.to_string()),
        };
        let (saved, broken) = match read {
            Ok(saved) => (saved, None),
            Err(reason) => (BTreeMap::new(), Some(reason)),
        };
        Self { root: root.to_owned(), file: file.to_owned(), saved, broken, confirmed: BTreeSet::new() }
    }

    /// Makes the system as wanted, and gives back what is no longer wanted.
    pub(crate) fn apply(&mut self, wanted: &Sysctls) -> Applied {
        let mut applied = Applied::default();
        let unwanted: Vec<_> = self.saved.keys().filter(|s| !wanted.contains_key(s)).cloned().collect();
        applied.conflicts.extend(self.give_back(&unwanted));

        let mut present = Vec::new();
        let mut unsaved = false;
        for (sysctl, value) in in_order(wanted) {
            match self.read(sysctl) {
                Ok(None) => {}
                Ok(Some(now)) if now == *value && self.broken.is_some() => {}
                Ok(Some(_)) if self.broken.is_some() => {
                    applied.conflicts.push(conflict(sysctl, value, self.unusable()));
                }
                Ok(Some(now)) => {
                    if !self.saved.contains_key(sysctl) {
                        self.saved.insert(sysctl.clone(), now.clone());
                        unsaved = true;
                    }
                    present.push((sysctl, value, now));
                }
                Err(reason) => applied.conflicts.push(conflict(sysctl, value, reason)),
            }
        }
        if unsaved && let Err(e) = self.store() {
            let reason = format!("its present value cannot be saved in {}: {e}", self.file.display());
            // The next pass must try again.
            for (sysctl, value, _) in present {
                self.saved.remove(sysctl);
                applied.conflicts.push(conflict(sysctl, value, reason.clone()));
            }
            return applied;
        }
        for (sysctl, value, now) in present {
            self.set(sysctl, value, &now, &mut applied);
        }
        applied
    }

    /// Gives every value back and removes the file.
    pub(crate) fn restore(&mut self) -> Vec<Conflict> {
        if self.broken.is_some() {
            let what = "sysctls".into();
            return vec![Conflict::Kernel { what, reason: self.unusable() }];
        }
        let all: Vec<_> = self.saved.keys().cloned().collect();
        let mut conflicts = self.give_back(&all);
        if self.saved.is_empty()
            && let Err(e) = fs::remove_file(&self.file)
            && e.kind() != io::ErrorKind::NotFound
        {
            conflicts.push(Conflict::Kernel { what: self.file.display().to_string(), reason: e.to_string() });
        }
        conflicts
    }

    fn unusable(&self) -> String {
        let reason = self.broken.as_deref().unwrap_or_default();
        format!(
            "the old values in {} cannot be read ({reason}): repair or remove the file",
            self.file.display()
        )
    }

    fn set(&mut self, sysctl: &Sysctl, value: &str, now: &str, applied: &mut Applied) {
        if now == value {
            self.confirmed.insert(sysctl.clone());
            return;
        }
        let drift = self.confirmed.remove(sysctl);
        let written = self.write(sysctl, value).and_then(|()| match self.read(sysctl)? {
            Some(now) if now == value => Ok(()),
            now => Err(format!("it stays at {}", now.unwrap_or_default())),
        });
        match written {
            Err(reason) => applied.conflicts.push(conflict(sysctl, value, reason)),
            Ok(()) => {
                self.confirmed.insert(sysctl.clone());
                if drift {
                    applied.repaired += 1;
                    warn!(sysctl = %sysctl.0, found = now, wanted = value, "drift repaired: sysctl");
                } else {
                    info!(sysctl = %sysctl.0, old = now, new = value, "sysctl set");
                }
            }
        }
    }

    fn give_back(&mut self, sysctls: &[Sysctl]) -> Vec<Conflict> {
        if sysctls.is_empty() {
            return Vec::new();
        }
        let mut conflicts = Vec::new();
        let mut ordered: Vec<_> = sysctls.iter().collect();
        ordered.sort_by_key(|s| !s.writes_first());
        for sysctl in ordered {
            let Some(value) = self.saved.get(sysctl).cloned() else { continue };
            let result = match self.read(sysctl) {
                Ok(Some(now)) if now != value => self.write(sysctl, &value),
                // The interface is gone, and its setting with it.
                Err(_) if !self.exists(sysctl) => Ok(()),
                other => other.map(drop),
            };
            match result {
                Err(reason) => conflicts.push(conflict(sysctl, &value, reason)),
                Ok(()) => {
                    info!(sysctl = %sysctl.0, new = value, "sysctl given back");
                    self.saved.remove(sysctl);
                    self.confirmed.remove(sysctl);
                }
            }
        }
        if let Err(e) = self.store() {
            conflicts.push(Conflict::Kernel { what: self.file.display().to_string(), reason: e.to_string() });
        }
        conflicts
    }

    /// `None`: the kernel has no IPv6 at all, and nothing needs to be said about it.
    fn read(&self, sysctl: &Sysctl) -> Result<Option<String>, String> {
        let path = self.path(sysctl)?;
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(normal(&text))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if sysctl.0.starts_with("net/ipv6/") && !self.root.join("net/ipv6").exists() {
                    return Ok(None);
                }
                Err("there is no such setting (is the interface there?)".into())
            }
            Err(e) => Err(e.to_string()),
        }
    }

    fn write(&self, sysctl: &Sysctl, value: &str) -> Result<(), String> {
        // Never create: a path that is not there is not a sysctl.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(sysctl)?)
            .map_err(|e| e.to_string())?;
        file.write_all(value.as_bytes()).map_err(|e| e.to_string())
    }

    fn exists(&self, sysctl: &Sysctl) -> bool {
        self.path(sysctl).is_ok_and(|path| path.exists())
    }

    fn path(&self, sysctl: &Sysctl) -> Result<PathBuf, String> {
        let below = Path::new(&sysctl.0);
        let plain = below.components().all(|c| matches!(c, Component::Normal(_)));
        if plain && !sysctl.0.is_empty() {
            Ok(self.root.join(below))
        } else {
            Err("this is not the name of a sysctl".into())
        }
    }

    fn store(&self) -> io::Result<()> {
        let mut text = format!("{HEADER}\n");
        for (sysctl, value) in &self.saved {
            text.push_str(&format!("{} {value}\n", sysctl.0));
        }
        let parent = self.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        let temporary = self.file.with_extension("new");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.file)?;
        fs::File::open(parent)?.sync_all()
    }
}

fn in_order(wanted: &Sysctls) -> impl Iterator<Item = (&Sysctl, &String)> {
    let first = wanted.iter().filter(|(s, _)| s.writes_first());
    first.chain(wanted.iter().filter(|(s, _)| !s.writes_first()))
}

fn conflict(sysctl: &Sysctl, wanted: &str, reason: String) -> Conflict {
    Conflict::Sysctl { path: sysctl.0.clone(), wanted: wanted.into(), reason }
}

/// The kernel separates the numbers of one value by tabs.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parse(text: &str) -> Result<Sysctls, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err("it does not begin with the line that vipcast writes".into());
    }
    let entry = |(number, line): (usize, &str)| match line.split_once(' ') {
        Some((path, value)) if path.starts_with("net/") => Ok((Sysctl(path.into()), value.into())),
        _ => Err(format!("line {} is not a sysctl and its value", number + 2)),
    };
    lines.enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        directory: tempfile::TempDir,
    }

    impl Bench {
        fn new(values: &[(&str, &str)]) -> Self {
            let bench = Self { directory: tempfile::tempdir().unwrap() };
            for (path, value) in values {
                bench.put(path, value);
            }
            bench
        }

        fn root(&self) -> PathBuf {
            self.directory.path().join("sys")
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("state/saved-sysctls")
        }

        fn put(&self, path: &str, value: &str) {
            let path = self.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }

        fn value(&self, path: &str) -> String {
            normal(&fs::read_to_string(self.root().join(path)).unwrap())
        }

        fn open(&self) -> Settings {
            Settings::open(&self.root(), &self.file())
        }
    }

    const RP: &str = "net/ipv4/conf/eth0/rp_filter";
    const SEND: &str = "net/ipv4/conf/eth0/send_redirects";

    fn wanted(set: &[(&str, &str)]) -> Sysctls {
        set.iter().map(|(s, v)| (Sysctl((*s).into()), (*v).into())).collect()
    }

    #[test]
    fn saved_once_set_and_given_back() {
        let b = Bench::new(&[(RP, "2"), (SEND, "1")]);
        let set = wanted(&[(RP, "0"), (SEND, "0")]);
        assert_eq!(b.open().apply(&set), Applied::default());
        assert_eq!((b.value(RP), b.value(SEND)), ("0".into(), "0".into()));
        // A second daemon must not take the changed values for the old ones.
        let mut second = b.open();
        assert_eq!(second.apply(&set), Applied::default());
        assert_eq!(second.restore(), []);
        assert_eq!((b.value(RP), b.value(SEND)), ("2".into(), "1".into()));
        assert!(!b.file().exists());
    }

    #[test]
    fn drift_is_repaired_and_counted() {
        let b = Bench::new(&[(RP, "2")]);
        let mut s = b.open();
        let set = wanted(&[(RP, "0")]);
        assert_eq!(s.apply(&set).repaired, 0);
        b.put(RP, "1");
        assert_eq!(s.apply(&set).repaired, 1);
        assert_eq!(b.value(RP), "0");
        assert_eq!(s.apply(&set).repaired, 0);
        s.restore();
        assert_eq!(b.value(RP), "2");
    }

    #[test]
    fn what_is_no_longer_wanted_gets_its_old_value_back() {
        let b = Bench::new(&[(RP, "2"), (SEND, "1")]);
        b.open().apply(&wanted(&[(RP, "0"), (SEND, "0")]));
        let mut s = b.open();
        s.apply(&wanted(&[(SEND, "0")]));
        assert_eq!((b.value(RP), b.value(SEND)), ("2".into(), "0".into()));
        assert!(!fs::read_to_string(b.file()).unwrap().contains(RP));
    }

    #[test]
    fn a_setting_that_is_not_there_is_a_conflict_and_the_others_are_set() {
        let b = Bench::new(&[(RP, "2")]);
        let applied = b.open().apply(&wanted(&[(RP, "0"), ("net/ipv4/conf/gone/rp_filter", "0")]));
        assert_eq!(b.value(RP), "0");
        let [Conflict::Sysctl { path, wanted, .. }] = applied.conflicts.as_slice() else {
            panic!("{applied:?}")
        };
        assert_eq!((path.as_str(), wanted.as_str()), ("net/ipv4/conf/gone/rp_filter", "0"));
    }

    #[test]
    fn a_kernel_without_ipv6_needs_no_ipv6_settings() {
        let b = Bench::new(&[(RP, "2")]);
        let set = wanted(&[("net/ipv6/conf/all/accept_redirects", "0")]);
        assert_eq!(b.open().apply(&set), Applied::default());
        b.put("net/ipv6/conf/default/accept_redirects", "1");
        assert_eq!(b.open().apply(&set).conflicts.len(), 1);
    }

    #[test]
    fn nothing_is_changed_when_the_old_values_cannot_be_saved() {
        let b = Bench::new(&[(RP, "2")]);
        let mut s = b.open();
        // A directory stands where the file should go.
        fs::create_dir_all(b.file().join("in the way")).unwrap();
        let applied = s.apply(&wanted(&[(RP, "0")]));
        assert!(matches!(applied.conflicts.as_slice(), [Conflict::Sysctl { .. }]), "{applied:?}");
        assert_eq!(b.value(RP), "2");
        fs::remove_dir_all(b.file()).unwrap();
        assert_eq!(s.apply(&wanted(&[(RP, "0")])), Applied::default());
        s.restore();
        assert_eq!(b.value(RP), "2");
    }

    #[test]
    fn a_file_that_cannot_be_read_stops_changes_and_is_left() {
        let b = Bench::new(&[(RP, "2"), (SEND, "0")]);
        b.put("../state/saved-sysctls", "something else");
        let mut s = b.open();
        let applied = s.apply(&wanted(&[(RP, "0"), (SEND, "0")]));
        let [Conflict::Sysctl { path, reason, .. }] = applied.conflicts.as_slice() else {
            panic!("{applied:?}")
        };
        assert_eq!(path, RP, "the other is as wanted");
        assert!(reason.contains("saved-sysctls"), "{reason}");
        assert_eq!(s.restore().len(), 1);
        assert_eq!(b.value(RP), "2");
        assert_eq!(b.value("../state/saved-sysctls"), "something else");
    }

    #[test]
    fn names_that_leave_the_tree_are_refused() {
        let b = Bench::new(&[(RP, "2")]);
        b.put("../secret", "1");
        for name in ["../secret", "/etc/passwd", "net/../../secret", ""] {
            let applied = b.open().apply(&wanted(&[(name, "0")]));
            assert_eq!(applied.conflicts.len(), 1, "{name}");
        }
        assert_eq!(b.value("../secret"), "1");
    }

    #[test]
    fn forwarding_is_written_before_what_it_resets() {
        let set = wanted(&[("net/ipv4/conf/all/accept_redirects", "0"), ("net/ipv4/ip_forward", "1")]);
        let order: Vec<_> = in_order(&set).map(|(s, _)| s.0.as_str()).collect();
        assert_eq!(order, ["net/ipv4/ip_forward", "net/ipv4/conf/all/accept_redirects"]);
    }

    #[test]
    fn settings_of_an_interface_that_is_gone_are_forgotten() {
        let b = Bench::new(&[(RP, "2"), (SEND, "1")]);
        let mut s = b.open();
        s.apply(&wanted(&[(RP, "0"), (SEND, "0")]));
        fs::remove_file(b.root().join(RP)).unwrap();
        assert_eq!(s.restore(), []);
        assert_eq!(b.value(SEND), "1");
        assert!(!b.file().exists());
    }
}
