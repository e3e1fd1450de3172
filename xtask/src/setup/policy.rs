//! Installing a daemon's package without starting the daemon.
//!
//! Debian's maintainer scripts ask `/usr/sbin/policy-rc.d` before they start a service; exit code 101 refuses. Ours stands
//! there for the time of one installation; whatever stood there before comes back afterwards. Should we be killed in
//! between, the file harms nobody: it only refuses while the process that wrote it lives, and the next set-up clears it up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const PLACE: &str = "usr/sbin/policy-rc.d";
const ASIDE: &str = "usr/sbin/policy-rc.d.before-vipcast";
const MARK: &str = "# vipcast: no service is started while packages are installed";

/// While this lives, no package starts a service.
pub(crate) struct Policy {
    path: PathBuf,
    aside: PathBuf,
}

impl Policy {
    /// `root` is `/`, except in tests.
    pub(crate) fn refuse_starts(root: &Path) -> Result<Self> {
        let policy = Self { path: root.join(PLACE), aside: root.join(ASIDE) };
        policy.restore().context("cannot clear up the policy-rc.d of an interrupted set-up")?;
        if policy.path.symlink_metadata().is_ok() {
            let moved = fs::rename(&policy.path, &policy.aside);
            moved.with_context(|| format!("cannot move {} aside", policy.path.display()))?;
        }
        fs::write(&policy.path, script(std::process::id(), &policy.aside))
            .and_then(|()| fs::set_permissions(&policy.path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", policy.path.display()))?;
        Ok(policy)
    }

    /// Removes ours, if it stands there, and puts the former one back.
    fn restore(&self) -> std::io::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|text| text.contains(MARK)) {
            fs::remove_file(&self.path)?;
        }
        if self.aside.symlink_metadata().is_ok() && self.path.symlink_metadata().is_err() {
            fs::rename(&self.aside, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("setup: cannot restore {}: {error}. Please look at it", self.path.display());
        }
    }
}

fn script(writer: u32, aside: &Path) -> String {
    let aside = aside.display();
    format!(
        "#!/bin/sh\n{MARK}\n\
         case \"$(cat /proc/{writer}/comm 2>/dev/null)\" in xtask*) exit 101 ;; esac\n\
         # Left behind by a set-up that was killed: as if it were not here.\n\
         if [ -x {aside} ]; then exec {aside} \"$@\"; fi\n\
         exit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-policy-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("usr/sbin")).unwrap();
            Self(path)
        }

        fn put(&self, text: &str) {
            fs::write(self.0.join(PLACE), text).unwrap();
            fs::set_permissions(self.0.join(PLACE), fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn answer(&self) -> Option<i32> {
            Command::new(self.0.join(PLACE)).args(["frr", "start"]).status().unwrap().code()
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn starts_are_refused_and_the_former_policy_comes_back() {
        let root = Root::new("back");
        root.put("#!/bin/sh\nexit 104\n");
        let policy = Policy::refuse_starts(&root.0).unwrap();
        assert_eq!(root.answer(), Some(101));
        drop(policy);
        assert_eq!(root.answer(), Some(104));
        assert!(!root.0.join(ASIDE).exists());
    }

    #[test]
    fn where_no_policy_stood_none_stands_afterwards() {
        let root = Root::new("none");
        drop(Policy::refuse_starts(&root.0).unwrap());
        assert_eq!(fs::read_dir(root.0.join("usr/sbin")).unwrap().count(), 0);
    }

    #[test]
    fn a_policy_left_by_a_killed_setup_gives_way_to_the_former_one() {
        let root = Root::new("killed");
        root.put("#!/bin/sh\nexit 104\n");
        fs::rename(root.0.join(PLACE), root.0.join(ASIDE)).unwrap();
        // Process 1 lives, but is no set-up.
        root.put(&script(1, &root.0.join(ASIDE)));
        assert_eq!(root.answer(), Some(104));
        drop(Policy::refuse_starts(&root.0).unwrap());
        assert_eq!(fs::read_to_string(root.0.join(PLACE)).unwrap(), "#!/bin/sh\nexit 104\n");
    }
}
