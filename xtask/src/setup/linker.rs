//! `bpf-linker`, built once against the LLVM of the eBPF compiler.
//!
//! Its LLVM must be able to read that compiler's bitcode, so it links to the very library the compiler runs on; the
//! folder it finds it in (`target/tools/llvm/NAME/lib`) stays in its run path. An unoptimised build takes half the time and
//! makes the same objects just as quickly: the work is LLVM's.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::toolchain::{Found, Tools};
use crate::place::Place;
use crate::run;

pub(crate) const VERSION: &str = "0.13.0";
/// The LLVM versions that this version of bpf-linker has a feature for.
pub(crate) const LLVM_MAJORS: RangeInclusive<u32> = 21..=23;

/// Builds it for the compiler that was found.
pub(crate) fn build(place: &Place, found: Found) -> Result<Tools> {
    let tools = place.tools();
    let name = found.llvm.file_name().context("the LLVM library has no name")?;
    let prefix = tools.join("llvm").join(name);
    link_llvm(&prefix.join("lib"), &found.llvm)?;
    let mut command = place.foreign_cargo(&tools.join("build"));
    command
        .env("LLVM_PREFIX", &prefix)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--debug"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", found.llvm_major)])
        .arg("--root")
        .arg(&tools);
    let label = format!("building bpf-linker {VERSION} with LLVM {} (about half a minute)", found.llvm_major);
    run::quiet(&label, &mut command, &place.logs().join("bpf-linker.log"), None).context(
        "remedy: see that crates.io is reachable and gcc is installed, then run `cargo xtask setup` again",
    )?;
    let linker = tools.join("bin/bpf-linker");
    Ok(Tools { compiler: found.compiler, version: found.version, linker, llvm: found.llvm })
}

/// Whether it starts, that is, finds its LLVM, and is the version we want.
pub(crate) fn works(linker: &Path) -> bool {
    run::ask(Command::new(linker).arg("--version")).is_some_and(|version| version.ends_with(VERSION))
}

/// `libLLVM.so` for the link, and the library's own name beside it for the run.
fn link_llvm(folder: &Path, library: &Path) -> Result<()> {
    let name = library.file_name().context("the LLVM library has no name")?;
    let links = [(Path::new("libLLVM.so"), Path::new(name)), (Path::new(name), library)];
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (link, to) in links.map(|(link, to)| (folder.join(link), to)) {
        if fs::read_link(&link).is_ok_and(|old| old == to) {
            continue;
        }
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).with_context(|| format!("cannot remove {}", link.display()))?;
        }
        symlink(to, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}
