//! The compiler of the eBPF objects.
//!
//! The target `bpfel-unknown-none` has no compiled `core`, so the compiler must come with core's source and accept `-Z`
//! flags. Two are known to work: rustup's nightly with `rust-src`, and Debian's packaged compiler with its source package,
//! driven by our own cargo. The linker has to speak the bitcode of that compiler, hence its LLVM is looked up as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::place::Place;
use crate::{place, run};

/// A download that takes longer than this is not going to arrive.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The compilers in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// rustup's `nightly` with the component `rust-src`.
    Nightly,
    /// Debian's `/usr/bin/rustc` with its packaged source.
    Debian,
}

impl Compiler {
    pub(crate) const ALL: [Self; 2] = [Self::Nightly, Self::Debian];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Debian => "debian",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compiler| compiler.name() == name)
    }

    fn rustc(self) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "rustc"]);
                command
            }
            Self::Debian => Command::new(DEBIAN_RUSTC),
        };
        place::scrub(&mut command);
        command
    }

    /// cargo that compiles with this compiler; `-Z` flags work.
    pub(crate) fn cargo(self, place: &Place, target: &Path) -> Command {
        match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                place::scrub(&mut command).args(["run", "nightly", "cargo"]);
                command.current_dir(&place.root).env("CARGO_TARGET_DIR", target);
                command
            }
            Self::Debian => {
                let mut command = place.foreign_cargo(target);
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command
            }
        }
    }
}

/// A compiler that is there, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) compiler: Compiler,
    /// First line of `rustc -vV`.
    pub(crate) version: String,
    /// The LLVM that the compiler itself runs on.
    pub(crate) llvm: PathBuf,
    pub(crate) llvm_major: u32,
}

/// What `ebpf` builds with: the outcome of the set-up, recorded under `target/tools`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tools {
    pub(crate) compiler: Compiler,
    pub(crate) version: String,
    pub(crate) linker: PathBuf,
    pub(crate) llvm: PathBuf,
}

/// Looks whether this compiler is there with everything it needs.
pub(crate) fn look(compiler: Compiler) -> Result<Found> {
    let verbose = run::ask(compiler.rustc().arg("-vV")).context("not installed")?;
    let sysroot =
        run::ask(compiler.rustc().args(["--print", "sysroot"])).context("it does not know its own place")?;
    let sysroot = PathBuf::from(sysroot);
    let source = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
    ensure!(source.exists(), "it has no source of core ({} is missing)", source.display());
    let llvm_major = llvm_major(&verbose).context("it does not name its LLVM")?;
    let supported = super::linker::LLVM_MAJORS;
    ensure!(
        supported.contains(&llvm_major),
        "it is made with LLVM {llvm_major}, bpf-linker {} knows {} to {}",
        super::linker::VERSION,
        supported.start(),
        supported.end()
    );
    let llvm = shared_llvm(compiler, &sysroot, llvm_major)?;
    let version = verbose.lines().next().unwrap_or_default().to_owned();
    Ok(Found { compiler, version, llvm, llvm_major })
}

/// Has rustup bring nightly and its `rust-src`.
pub(crate) fn install_nightly(place: &Place) -> Result<()> {
    let mut command = Command::new("rustup");
    let installed = run::ask(Command::new("rustup").args(["run", "nightly", "rustc", "-V"])).is_some();
    if installed {
        command.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
    } else {
        command.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
    }
    let label = "fetching nightly rust-src with rustup";
    run::quiet(label, &mut command, &place.logs().join("rustup.log"), Some(DOWNLOAD_LIMIT))
}

impl Tools {
    /// The set-up's record, if there is one.
    pub(crate) fn recorded(place: &Place) -> Option<Self> {
        Self::parse(&fs::read_to_string(record(place)).ok()?)
    }

    pub(crate) fn record(&self, place: &Place) -> Result<()> {
        let path = record(place);
        fs::write(&path, self.print()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether what was recorded is still so: compilers get upgraded and removed.
    pub(crate) fn is_usable(&self) -> bool {
        let version = run::ask(self.compiler.rustc().arg("-V"));
        self.llvm.exists() && version.as_ref() == Some(&self.version) && super::linker::works(&self.linker)
    }

    fn print(&self) -> String {
        format!(
            "compiler = {}\nversion = {}\nlinker = {}\nllvm = {}\n",
            self.compiler.name(),
            self.version,
            self.linker.display(),
            self.llvm.display()
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value)
        };
        Some(Self {
            compiler: Compiler::from_name(value("compiler")?)?,
            version: value("version")?.to_owned(),
            linker: PathBuf::from(value("linker")?),
            llvm: PathBuf::from(value("llvm")?),
        })
    }
}

fn record(place: &Place) -> PathBuf {
    place.tools().join("ebpf-toolchain")
}

/// The major number in `LLVM version: 22.1.8` of `rustc -vV`.
fn llvm_major(verbose: &str) -> Option<u32> {
    let version = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.trim().parse().ok()
}

/// The file of the LLVM that the compiler loads: beside a rustup toolchain, in the system's folder for Debian's.
fn shared_llvm(compiler: Compiler, sysroot: &Path, major: u32) -> Result<PathBuf> {
    let folders = match compiler {
        Compiler::Nightly => vec![sysroot.join("lib")],
        Compiler::Debian => multiarch(Path::new("/usr/lib")),
    };
    let found =
        folders.iter().find_map(|folder| pick_llvm(&names(folder), major).map(|name| folder.join(name)));
    found.with_context(|| format!("no libLLVM.so.{major}* in {folders:?}"))
}

/// The file name that is the library's own name (soname), as the linked program will ask for it.
fn pick_llvm(names: &[String], major: u32) -> Option<&String> {
    let exact = format!("libLLVM.so.{major}");
    let dotted = format!("{exact}.");
    names.iter().filter(|name| **name == exact || name.starts_with(&dotted)).min()
}

fn multiarch(lib: &Path) -> Vec<PathBuf> {
    names(lib).into_iter().filter(|name| name.ends_with("-linux-gnu")).map(|name| lib.join(name)).collect()
}

/// Sorted names in a folder; none where it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_major_is_read_from_the_verbose_version() {
        let verbose = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\nhost: \
                       x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8";
        assert_eq!(llvm_major(verbose), Some(22));
        assert_eq!(llvm_major("LLVM version: 9.0"), Some(9));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
        assert_eq!(llvm_major("LLVM version: unknown"), None);
    }

    #[test]
    fn the_library_of_the_right_major_is_picked() {
        let names =
            ["libLLVM-22-rust-1.97.0-nightly.so", "libLLVM.so.2.0", "libLLVM.so.22.1-rust-1.97.0-nightly"]
                .map(str::to_owned);
        assert_eq!(pick_llvm(&names, 22), Some(&names[2]));
        assert_eq!(pick_llvm(&names, 23), None);
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let tools = Tools {
            compiler: Compiler::Debian,
            version: "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)".into(),
            linker: "/b/tools/bin/bpf-linker".into(),
            llvm: "/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1".into(),
        };
        assert_eq!(Tools::parse(&tools.print()), Some(tools));
        assert_eq!(Tools::parse("compiler = gcc\n"), None);
    }
}
