//! PID 1 of a node: makes the mount namespace what the node expects, sets sysctls before any interface exists, then
//! waits and reaps.
//!
//! It ends when the pipe on its stdin is closed without a word, and with it every process of the node: that is what a
//! killed runner leaves behind, nothing. A single byte on the pipe means "the lab is kept".

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::{layer, mounts, place};
use crate::clab::Bind;

/// What the runner tells it, as JSON in the node's directory.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    pub hostname: String,
    /// The node's directory on the host.
    pub dir: PathBuf,
    /// Directory of all labs: their mounts are of no concern to this node.
    pub labs: PathBuf,
    pub sysctls: BTreeMap<String, String>,
    pub binds: Vec<BindSpec>,
}

/// A [`Bind`] with an absolute source.
#[derive(Debug, Serialize, Deserialize)]
pub struct BindSpec {
    pub source: PathBuf,
    pub target: PathBuf,
    pub read_only: bool,
}

/// What it tells the runner, one line of JSON, once the node is ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Its number outside of the PID namespace.
    pub pid: i32,
    pub netns_inode: u64,
}

/// Name of the specification in the node's directory.
pub const SPEC: &str = "node.json";

/// Runs as the node's PID 1, inside fresh network, mount, PID and UTS namespaces. Returns when the lab is over.
pub fn main(spec: &Path) -> Result<()> {
    ensure!(std::process::id() == 1, "node-init is started by the runner alone");
    let bytes = std::fs::read(spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let spec: Spec = serde_json::from_slice(&bytes).context("node specification")?;
    // The host's /proc is still mounted: its `self` is our number out there.
    let pid = std::fs::read_link("/proc/self").context("/proc")?;
    let pid = pid.to_str().and_then(|pid| pid.parse().ok()).context("/proc/self is no number")?;

    let signals = block_child_signal()?;
    make_mounts(&spec)?;
    std::fs::write("/proc/sys/kernel/hostname", &spec.hostname).context("cannot set the host name")?;
    // Switching forwarding resets others to their defaults: it comes first.
    let (first, rest): (Vec<_>, Vec<_>) = spec.sysctls.iter().partition(|(key, _)| key.contains("forward"));
    for (key, value) in first.into_iter().chain(rest) {
        write_sysctl(key, value)?;
    }
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip")?;
    ensure!(status.success(), "cannot bring lo up");

    let ready = Ready { pid, netns_inode: netns_inode()? };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&ready)?).context("the runner is gone")?;
    stdout.flush().context("the runner is gone")?;
    wait(&signals)
}

fn make_mounts(spec: &Spec) -> Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("cannot make mounts private")?;
    // Mounts of other nodes and labs were copied with the namespace and would keep them alive.
    let bpf = spec.dir.join("bpf");
    for dir in [place::NETNS.as_ref(), spec.labs.as_path()] {
        for point in mounts::below(dir)?.iter().filter(|point| **point != bpf && *point != dir) {
            mounts::detach(point)?;
        }
    }
    let fresh = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys")] {
        mount(Some(kind), target, Some(kind), fresh, None::<&str>)
            .with_context(|| format!("cannot mount {target}"))?;
    }
    layer::bind_mount(&bpf, Path::new("/sys/fs/bpf"))?;
    let binds: Vec<Bind> = spec
        .binds
        .iter()
        .map(|bind| Bind {
            source: bind.source.clone(),
            target: bind.target.clone(),
            read_only: bind.read_only,
        })
        .collect();
    layer::mount_all(&spec.dir, &binds)
}

/// `net.ipv4.conf.all.rp_filter` and the like; a name with dots inside is written with slashes, as in `sysctl.conf(5)`.
fn write_sysctl(key: &str, value: &str) -> Result<()> {
    let path = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    if path.split('/').any(|part| part == "..") {
        bail!("sysctl {key}: no name");
    }
    std::fs::write(Path::new("/proc/sys").join(path), value)
        .with_context(|| format!("sysctl {key} cannot be set to {value}"))
}

fn netns_inode() -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self/ns/net").context("/proc/self/ns/net")?.ino())
}

fn block_child_signal() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block().context("cannot block SIGCHLD")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).context("signalfd")
}

/// Reaps what daemons leave behind until the runner lets go of the pipe.
fn wait(signals: &SignalFd) -> Result<()> {
    let stdin = std::io::stdin();
    let mut held = true;
    loop {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if held {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, PollTimeout::NONE).context("poll")?;
        let said = fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false));
        while let Ok(Some(_)) = signals.read_signal() {}
        reap();
        if said {
            let mut word = [0; 1];
            match stdin.lock().read(&mut word) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => held = false,
            }
        }
    }
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
