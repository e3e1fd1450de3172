//! A running node: commands inside it, and its files seen from here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::process::{self, Output, ProcessId};
use super::{layer, place::Place};

/// Search path inside a node, the same as in the image (`labs/image`).
pub const PATH: &str = "/usr/local/bin:/usr/lib/frr:/usr/sbin:/usr/bin:/sbin:/bin";
/// For commands that only ask or set something.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    dir: PathBuf,
    init: ProcessId,
    env: Vec<(String, String)>,
}

impl Node {
    pub(super) fn new(place: &Place, name: &str, init: ProcessId, env: Vec<(String, String)>) -> Self {
        Self { name: name.to_owned(), dir: place.node(name), init, env }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// PID 1 of the node, as numbered here.
    pub fn init(&self) -> ProcessId {
        self.init
    }

    /// A command inside all of the node's namespaces. It dies with the process that is started here.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init.pid))
            .args(["--mount", "--net", "--uts", "--pid", "--"])
            .args(["setpriv", "--pdeathsig", "TERM", "--"])
            .args(argv)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("HOME", "/root")
            .envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Runs a command to its end; its exit code is the caller's to judge.
    pub fn output<S: AsRef<std::ffi::OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Output> {
        process::run(&mut self.command(argv), LIMIT)
    }

    /// Runs a command that must succeed; returns its stdout.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<String> {
        let argv: Vec<S> = argv.into_iter().collect();
        let words: Vec<_> = argv.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
        let output = self.output(&argv)?;
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        ensure!(output.success, "{}: `{}` failed: {}", self.name, words.join(" "), said.trim());
        Ok(output.stdout)
    }

    /// As [`Node::run`], from one line split at spaces.
    pub fn sh(&self, line: &str) -> Result<String> {
        self.run(line.split_ascii_whitespace())
    }

    /// Where a path of the node is on the host. Paths that the node shares with the host are themselves.
    pub fn path(&self, path: &str) -> PathBuf {
        layer::on_host(&self.dir, Path::new(path)).unwrap_or_else(|| PathBuf::from(path))
    }

    /// The node's bpffs, seen from the host.
    pub fn bpffs(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    /// The process of a pid file of the node, as numbered inside it; `None` when there is no file.
    pub fn pid_file(&self, path: &str) -> Option<i32> {
        std::fs::read_to_string(self.path(path)).ok()?.trim().parse().ok()
    }
}
