//! Licences, sources and duplicates of the dependencies, by `cargo deny` and `deny.toml`.
//!
//! cargo-deny is built on first use into `target/tools`, unoptimised: a minute instead of three on two cores, and the
//! check itself takes a second either way. Advisories are left out: they need a database from the network, and would let
//! an unchanged checkout fail.

use std::process::Command;

use anyhow::{Context, Result};

use crate::place::Place;
use crate::run;

const VERSION: &str = "0.20.2";

/// Installs what is missing and checks.
pub(crate) fn check(place: &Place) -> Result<()> {
    let program = place.tools().join("bin/cargo-deny");
    let version = run::ask(Command::new(&program).arg("--version"));
    if !version.is_some_and(|version| version.ends_with(VERSION)) {
        install(place)?;
    }
    for manifest in ["Cargo.toml", "datapath-ebpf/Cargo.toml"] {
        let mut command = Command::new(&program);
        command
            .current_dir(&place.root)
            .args(["--config", "deny.toml", "--manifest-path", manifest, "--workspace", "check"])
            // A workspace may need fewer exceptions than the other.
            .args(["--allow", "unmatched-skip", "--allow", "license-not-encountered"])
            .args(["licenses", "bans", "sources"]);
        run::loud(&mut command).with_context(|| format!("{manifest} against deny.toml"))?;
    }
    Ok(())
}

fn install(place: &Place) -> Result<()> {
    let tools = place.tools();
    let mut command = place.foreign_cargo(&tools.join("build"));
    command
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args(["install", "cargo-deny", "--version", VERSION, "--locked", "--force", "--debug", "--root"])
        .arg(&tools);
    let label = format!("building cargo-deny {VERSION} (about a minute)");
    run::quiet(&label, &mut command, &place.logs().join("cargo-deny.log"), None)
        .context("remedy: see that crates.io is reachable, then run `cargo xtask deny` again")
}
