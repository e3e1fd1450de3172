//! Makes a machine with Rust, gcc and apt able to build and show vipcast.
//!
//! Every part looks first and acts only on what is missing, so that a second call costs milliseconds and the other tasks
//! can simply call it. Nothing of the host is started, stopped or enabled, and nothing is written outside of apt, rustup
//! and `target/tools`.

mod debian;
mod enabled;
mod linker;
mod policy;
mod toolchain;

use std::fs::{self, File, TryLockError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

pub(crate) use self::toolchain::Tools;
use self::toolchain::{Compiler, Found};
use crate::place::Place;

/// Programs that the build, the tests and the labs call.
const LAB_PACKAGES: [&str; 8] =
    ["bird2", "ethtool", "frr", "iproute2", "iputils-ping", "procps", "tcpdump", "util-linux"];
/// The eBPF compiler where rustup has no nightly with `rust-src`.
const COMPILER_PACKAGES: [&str; 2] = ["rust-web-src", "rustc-web"];

/// Everything that `demo` and `test` need.
pub(crate) fn all(place: &Place) -> Result<()> {
    let started = Instant::now();
    let _lock = lock(place)?;
    debian::provide(place, &LAB_PACKAGES)?;
    let tools = provide_tools(place)?;
    eprintln!(
        "setup: ready ({} packages, eBPF compiler {}), {:.1} s",
        LAB_PACKAGES.len(),
        tools.version,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Only what compiles the eBPF objects.
pub(crate) fn ebpf_tools(place: &Place) -> Result<Tools> {
    let _lock = lock(place)?;
    provide_tools(place)
}

fn provide_tools(place: &Place) -> Result<Tools> {
    if let Some(tools) = Tools::recorded(place).filter(Tools::is_usable) {
        return Ok(tools);
    }
    let found = provide_compiler(place)?;
    let tools = linker::build(place, found)?;
    tools.record(place)?;
    Ok(tools)
}

/// The first compiler that is there; else the first that can be had. Each refusal is kept for the final error.
fn provide_compiler(place: &Place) -> Result<Found> {
    let mut refused = Vec::new();
    for compiler in Compiler::ALL {
        match toolchain::look(compiler) {
            Ok(found) => return Ok(found),
            Err(why) => refused.push(format!("{}: {why:#}", compiler.name())),
        }
    }
    for compiler in Compiler::ALL {
        let provided = match compiler {
            Compiler::Nightly => toolchain::install_nightly(place),
            Compiler::Debian => debian::provide(place, &COMPILER_PACKAGES),
        };
        match provided.and_then(|()| toolchain::look(compiler)) {
            Ok(found) => return Ok(found),
            Err(why) => refused.push(format!("providing {}: {why:#}", compiler.name())),
        }
    }
    bail!(
        "no compiler for the eBPF objects:\n  {}\nremedy: `rustup toolchain install nightly --component rust-src`, or as \
         root `apt-get install {}`",
        refused.join("\n  "),
        COMPILER_PACKAGES.join(" ")
    )
}

/// One set-up at a time: two would install into the same place.
fn lock(place: &Place) -> Result<File> {
    fs::create_dir_all(place.tools()).with_context(|| format!("cannot make {}", place.tools().display()))?;
    let path = place.tools().join("setup.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("setup: waiting for another set-up in {}", path.display()),
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the tools"),
    }
    file.lock().context("cannot lock the tools")?;
    Ok(file)
}
