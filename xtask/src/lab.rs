//! The programs, and handing over to the lab runner.
//!
//! The labs use the development build: on a fresh machine it is there in half the time of a release build, the packets are
//! moved by the eBPF object, which is always optimised, and `cargo xtask test` has built most of it already.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::place::Place;
use crate::{ebpf, run, setup};

const PACKAGES: [&str; 3] = ["daemon", "cli", "labs"];
const PROGRAMS: [&str; 3] = ["vipcastd", "vipcast", "vipcast-lab"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// Sets up and builds objects and programs; returns the programs' paths.
pub(crate) fn build(place: &Place, profile: Profile) -> Result<Vec<PathBuf>> {
    setup::all(place)?;
    ebpf::build(place, &setup::ebpf_tools(place)?)?;
    programs(place, profile)
}

/// Builds the programs alone.
pub(crate) fn programs(place: &Place, profile: Profile) -> Result<Vec<PathBuf>> {
    let mut command = place.cargo();
    command.args(["build", "--bins"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    run::loud(&mut command)?;
    let folder = folder(place, profile);
    Ok(PROGRAMS.iter().map(|name| folder.join(name)).collect())
}

/// The lab runner of the development build; it finds the other programs beside itself.
pub(crate) fn runner(place: &Place) -> Command {
    let mut command = Command::new(folder(place, Profile::Dev).join("vipcast-lab"));
    command.current_dir(&place.root);
    command
}

/// Builds, then becomes the lab runner: signals and the exit code are its own, and so is stdout.
pub(crate) fn exec(place: &Place, args: impl IntoIterator<Item = OsString>) -> Result<ExitCode> {
    build(place, Profile::Dev)?;
    // Relative paths among the arguments are meant from where the user stands.
    let here = std::env::current_dir().context("the current directory is gone")?;
    let error = runner(place).current_dir(here).args(args).exec();
    Err(error).context("cannot start vipcast-lab")
}

fn folder(place: &Place, profile: Profile) -> PathBuf {
    place.target.join(match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    })
}
