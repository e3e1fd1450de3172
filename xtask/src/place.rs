//! Where things are: the checkout and cargo's build directory.
//!
//! Both are asked of cargo, so that `CARGO_TARGET_DIR` and `build.target-dir` are honoured, and one build directory can
//! serve several checkouts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The absolute paths every task works from.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The checkout: the folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// cargo's build directory.
    pub(crate) target: PathBuf,
    /// `cargo metadata --no-deps` of the workspace.
    pub(crate) metadata: Value,
}

impl Place {
    /// Asks cargo, starting from the checkout whose `xtask` this is.
    pub(crate) fn find() -> Result<Self> {
        // At run time first: one build directory may hold the xtask of another checkout.
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = here.parent().context("xtask lies outside of a workspace")?.to_path_buf();
        let metadata = metadata(&root.join("Cargo.toml"))?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(Self { target: PathBuf::from(target), root, metadata })
    }

    /// Tools that are built once: `bpf-linker`, `cargo-deny`.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Output of steps that run silently.
    pub(crate) fn logs(&self) -> PathBuf {
        self.tools().join("log")
    }

    /// cargo on this workspace, with the build directory spelled out.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// cargo for something that must not see the flags meant for this workspace: another compiler, another target.
    pub(crate) fn foreign_cargo(&self, target: &Path) -> Command {
        let mut command = Command::new(cargo());
        scrub(&mut command).current_dir(&self.root).env("CARGO_TARGET_DIR", target);
        command
    }
}

/// Takes the variables out of a command's environment that would choose compiler, target or flags for it.
pub(crate) fn scrub(command: &mut Command) -> &mut Command {
    for name in [
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    command
}

/// `cargo metadata --no-deps` of one workspace.
pub(crate) fn metadata(manifest: &Path) -> Result<Value> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .context("cargo does not start")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata of {} failed:\n{errors}", manifest.display());
    serde_json::from_slice(&output.stdout).context("cargo metadata printed something that is not JSON")
}

/// The cargo that started us, or the one in the path.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
