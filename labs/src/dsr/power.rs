//! Programs of the lab that checks kill and start again: by the number in their pid file, and by the very line of the
//! topology that started them first.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::host::{Lab, Node, interrupt};

/// A program that a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    pid_file: &'static str,
    /// A word of the line that starts it.
    word: &'static str,
}

pub(super) const DAEMON: Program = Program { pid_file: "/run/vipcastd.pid", word: "/usr/local/bin/vipcastd" };
pub(super) const SERVER: Program =
    Program { pid_file: "/run/server.pid", word: "/usr/local/bin/vipcast-lab" };

/// After SIGKILL there is nothing to wait for but the scheduler.
const DEATH: Duration = Duration::from_secs(5);

impl Program {
    /// SIGKILL; returns when the process is gone.
    pub(super) fn kill(self, lab: &Lab, node: &str) -> Result<()> {
        let node = lab.node(node)?;
        let pid = node.pid_file(self.pid_file);
        let pid = pid.with_context(|| format!("{}: no {}", node.name(), self.pid_file))?;
        ensure!(alive(node, pid), "{} does not run on {}", self.word, node.name());
        node.run(["kill", "-KILL", &pid.to_string()])?;
        let gone =
            interrupt::wait_for(DEATH, Duration::from_millis(2), || Ok((!alive(node, pid)).then_some(())))?;
        gone.with_context(|| format!("process {pid} of {} does not end", node.name()))
    }

    /// Starts it as the topology does, unless it runs.
    pub(super) fn start(self, lab: &Lab, node: &str) -> Result<()> {
        let machine = lab.node(node)?;
        if machine.pid_file(self.pid_file).is_some_and(|pid| alive(machine, pid)) {
            return Ok(());
        }
        machine.run(lab.exec_line(node, self.word)?).map(drop)
    }
}

/// Runs and is not a zombie. `pid` is the number inside the machine.
fn alive(node: &Node, pid: i32) -> bool {
    let stat = std::fs::read_to_string(inside(node, &format!("/proc/{pid}/stat"))).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// A path as the machine sees it, mounts included.
pub(super) fn inside(node: &Node, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", node.init().pid))
}
