//! House rules on the source text itself: file sizes, and `unsafe` in its few crates only.

mod scan;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::place::Place;

/// The crates where `unsafe` may stand: kernel ABIs and the eBPF side.
const UNSAFE_CRATES: [&str; 4] = ["datapath", "datapath-common", "datapath-ebpf", "sockopt"];
/// Lines of a file without its tests.
const LONGEST: usize = 800;

/// Fails on files that are too long; says how long they are.
pub(crate) fn check_sizes(place: &Place) -> Result<()> {
    let mut sizes = Vec::new();
    for file in files(&place.root)? {
        if !is_test(&file) {
            let lines = scan::lines_without_tests(&read(&place.root, &file)?);
            sizes.push((lines, file));
        }
    }
    sizes.sort();
    let at = |percent: usize| {
        sizes.get((sizes.len().saturating_sub(1)) * percent / 100).map_or(0, |(lines, _)| *lines)
    };
    eprintln!(
        "size: {} files, lines without tests: median {}, nine in ten under {}",
        sizes.len(),
        at(50),
        at(90)
    );
    let long: Vec<String> = sizes
        .iter()
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, file)| format!("{}: {lines} lines without tests", file.display()))
        .collect();
    if long.is_empty() { Ok(()) } else { bail!("longer than {LONGEST} lines:\n  {}", long.join("\n  ")) }
}

/// Every place where `unsafe`, or a lint level for it, stands outside its crates.
pub(crate) fn unsafe_outside(place: &Place) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in files(&place.root)?.into_iter().filter(|file| !may_be_unsafe(file)) {
        for line in scan::unsafe_lines(&read(&place.root, &file)?) {
            complaints.push(format!(
                "{}:{line}: `unsafe` outside of {}",
                file.display(),
                UNSAFE_CRATES.join(", ")
            ));
        }
    }
    for member in manifests(place) {
        let text =
            fs::read_to_string(&member).with_context(|| format!("cannot read {}", member.display()))?;
        complaints.extend(lint_complaint(&place.root, &member, &text));
    }
    Ok(complaints)
}

/// A member must take the workspace's lints as they are, unless it is one of the unsafe crates.
fn lint_complaint(root: &Path, manifest: &Path, text: &str) -> Option<String> {
    let inside = manifest.strip_prefix(root).unwrap_or(manifest);
    let inherits = text.split("[lints]").nth(1).is_some_and(|rest| {
        rest.lines()
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.replace(' ', "") == "workspace=true")
    });
    (!may_be_unsafe(inside) && !inherits)
        .then(|| format!("{}: must have `[lints] workspace = true`", inside.display()))
}

fn manifests(place: &Place) -> Vec<PathBuf> {
    let packages = place.metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|package| package["manifest_path"].as_str().map(PathBuf::from)).collect()
}

fn may_be_unsafe(file: &Path) -> bool {
    file.iter().next().and_then(|part| part.to_str()).is_some_and(|name| UNSAFE_CRATES.contains(&name))
}

/// Whole files of tests, benchmarks and examples.
fn is_test(file: &Path) -> bool {
    let folder = file.iter().any(|part| part == "tests" || part == "benches" || part == "examples");
    folder
        || file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

/// All Rust files of the checkout, relative to it, sorted.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
            if kind.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_has_its_crates() {
        assert!(may_be_unsafe(Path::new("datapath/src/loader.rs")));
        assert!(may_be_unsafe(Path::new("sockopt/src/lib.rs")));
        assert!(!may_be_unsafe(Path::new("bgpd/src/datapath/x.rs")));
        assert!(!may_be_unsafe(Path::new("labs/src/main.rs")));
    }

    #[test]
    fn files_of_tests_are_known_by_place_or_name() {
        for file in ["bgpd/tests/bird.rs", "datapath/src/ring/tests.rs", "bgpd/src/fsm_tests.rs"] {
            assert!(is_test(Path::new(file)), "{file}");
        }
        for file in ["bgpd/src/fsm.rs", "xtask/src/test.rs", "labs/src/tests_of.rs"] {
            assert!(!is_test(Path::new(file)), "{file}");
        }
    }

    #[test]
    fn a_member_may_not_bring_its_own_lints() {
        let complain =
            |path: &str, text: &str| lint_complaint(Path::new("/w"), &Path::new("/w").join(path), text);
        let good = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n";
        let own = "[lints.rust]\nunsafe_code = \"allow\"\n";
        assert_eq!(complain("bgpd/Cargo.toml", good), None);
        assert_eq!(complain("sockopt/Cargo.toml", own), None);
        assert!(complain("bgpd/Cargo.toml", own).is_some());
        assert!(complain("bgpd/Cargo.toml", "[lints]\n\n[x]\nworkspace = true\n").is_some());
    }
}
