//! The eBPF objects: `datapath-ebpf`, a workspace of its own, compiled for its own target by its own compiler.
//!
//! Each binary of the crate becomes `target/bpf/NAME.o` (or `$VIPCAST_BPF_DIR/NAME.o`), where `datapath/build.rs` finds
//! it. An object that did not change is not written again, so that nothing behind it is rebuilt.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::place::{Place, metadata};
use crate::run;
use crate::setup::Tools;

const TARGET: &str = "bpfel-unknown-none";
/// Debug information becomes BTF, without which maps have no types; `v3` brings 32-bit jumps and atomics with a result.
const FLAGS: [&str; 3] = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"];
/// What separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\x1f";

/// Builds all objects; returns their paths.
pub(crate) fn build(place: &Place, tools: &Tools) -> Result<Vec<PathBuf>> {
    let manifest = place.root.join("datapath-ebpf/Cargo.toml");
    let names = binaries(&metadata(&manifest)?);
    ensure!(!names.is_empty(), "{} has no binary", manifest.display());
    // Its own build directory: no waiting for the lock of a build on the host's side.
    let target = place.target.join("bpf-build");
    compile(place, tools, &manifest, &target)?;
    let output = std::env::var_os("VIPCAST_BPF_DIR").map_or_else(|| place.target.join("bpf"), PathBuf::from);
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let built = target.join(TARGET).join("release");
    names.iter().map(|name| publish(&built.join(name), &output.join(format!("{name}.o")))).collect()
}

fn compile(place: &Place, tools: &Tools, manifest: &Path, target: &Path) -> Result<()> {
    let mut command = tools.compiler.cargo(place, target);
    // cargo would not notice another compiler's flags or linker; the linker is found by its name in the path.
    let folder = tools.linker.parent().context("the recorded linker has no folder")?;
    command
        .env("PATH", in_front(folder)?)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join(SEPARATOR))
        .args(["build", "--release", "--bins", "-Z", "build-std=core", "--target", TARGET, "--manifest-path"])
        .arg(manifest);
    run::loud(&mut command).with_context(|| format!("the eBPF objects do not build with {}", tools.version))
}

fn in_front(folder: &Path) -> Result<std::ffi::OsString> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).context("the build directory's name has a colon")
}

/// The names of the binary targets in cargo's metadata.
fn binaries(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let is_bin = |target: &&Value| {
        target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
    };
    let mut names: Vec<String> =
        targets.filter(is_bin).filter_map(|target| target["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

/// Copies an object where the loader's build script looks, unless it is there already.
fn publish(from: &Path, to: &Path) -> Result<PathBuf> {
    let object = fs::read(from).with_context(|| format!("the build left no {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == object) {
        return Ok(to.to_path_buf());
    }
    // In one step: a build may be reading it.
    let draft = to.with_extension(format!("o.{}", std::process::id()));
    fs::write(&draft, object)
        .and_then(|()| fs::rename(&draft, to))
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to.to_path_buf())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_objects_are_the_binary_targets() {
        let metadata = json!({"packages": [{"targets": [
            {"name": "vipcast-xdp", "kind": ["bin"]},
            {"name": "vipcast-decap", "kind": ["bin"]},
            {"name": "datapath_ebpf", "kind": ["lib"]},
        ]}]});
        assert_eq!(binaries(&metadata), ["vipcast-decap", "vipcast-xdp"]);
    }

    #[test]
    fn an_unchanged_object_keeps_its_time() {
        let folder = std::env::temp_dir().join(format!("xtask-ebpf-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("vipcast-xdp"), folder.join("vipcast-xdp.o"));
        fs::write(&from, "one").unwrap();
        publish(&from, &to).unwrap();
        let first = fs::metadata(&to).unwrap().modified().unwrap();
        publish(&from, &to).unwrap();
        let second = fs::metadata(&to).unwrap().modified().unwrap();
        fs::write(&from, "two").unwrap();
        publish(&from, &to).unwrap();
        let text = fs::read_to_string(&to).unwrap();
        let files = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(first, second);
        assert_eq!(text, "two");
        assert_eq!(files, 2);
    }
}
