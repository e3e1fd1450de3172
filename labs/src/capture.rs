//! Captures with `tcpdump` inside machines of a lab.
//!
//! Frames that an XDP program redirects are invisible on the machine that does it, so a capture point is the other end of
//! the link. A capture counts as begun when `tcpdump` says that it listens, and is given up as evidence when the kernel
//! had to drop frames: what was not recorded proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::{Lab, interrupt, process};
use crate::pcap::{self, Frame};

/// An interface of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub node: &'static str,
    pub interface: &'static str,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.interface)
    }
}

/// Whole frames of these links, and a little of what GRO has merged. The kernel's buffer is cut into slots of this size: a
/// larger one leaves few of them, and frames are lost.
pub const WHOLE: u32 = 4096;
/// From the last packet of interest to the end of a capture: the kernel hands frames over without delay, `tcpdump` has to
/// be scheduled.
const SETTLE: Duration = Duration::from_millis(200);
/// KiB of kernel buffer for each capture.
const BUFFER: &str = "16384";

impl From<Captures> for Vec<Captures> {
    fn from(one: Captures) -> Self {
        vec![one]
    }
}

/// Captures under way. Ended when dropped.
#[derive(Debug)]
pub struct Captures {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    point: Point,
    child: Child,
    stderr: BufReader<ChildStderr>,
    file: PathBuf,
}

/// What was captured.
#[derive(Debug)]
pub struct Captured {
    /// In the order of time.
    pub frames: BTreeMap<Point, Vec<Frame>>,
    pub files: Vec<PathBuf>,
}

impl Captures {
    /// Starts a capture of what `filter` (see `pcap-filter(7)`) lets through at every point, at most `snap` bytes of each
    /// frame. Files are named after `tag` and the point. Returns when all of them listen.
    pub fn start(lab: &Lab, tag: &str, points: &[Point], filter: &str, snap: u32) -> Result<Self> {
        let dir = lab.place().dir().join("captures");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut captures = Self { running: Vec::new() };
        for point in points {
            let file = dir.join(format!("{tag}-{}-{}.pcap", point.node, point.interface));
            // The file is opened here: inside the machine its path may be hidden.
            let out = File::create(&file).with_context(|| format!("cannot create {}", file.display()))?;
            let snap = snap.to_string();
            let argv = ["tcpdump", "--immediate-mode", "-U", "-n", "-Z", "root", "-B", BUFFER, "-s", &snap];
            let argv = argv.into_iter().chain(["-i", point.interface, "-w", "-", filter]);
            let mut command = lab.node(point.node)?.command(argv);
            let mut child = process::spawn(command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()))?;
            let stderr = child.stderr.take().context("no pipe")?;
            captures.running.push(Running { point: *point, child, stderr: BufReader::new(stderr), file });
        }
        for running in &mut captures.running {
            running.until_listening()?;
        }
        Ok(captures)
    }

    /// Waits until what was sent before this call is recorded, ends the captures and reads them.
    pub fn stop_all(mut all: Vec<Self>) -> Result<Captured> {
        interrupt::sleep(SETTLE)?;
        for running in all.iter_mut().flat_map(|captures| &mut captures.running) {
            running.end();
        }
        let mut captured = Captured { frames: BTreeMap::new(), files: Vec::new() };
        for mut running in all.iter_mut().flat_map(|captures| std::mem::take(&mut captures.running)) {
            running.nothing_dropped()?;
            let frames = pcap::read(&running.file)
                .with_context(|| format!("cannot read the capture of {}", running.point))?;
            captured.frames.insert(running.point, frames);
            captured.files.push(running.file);
        }
        Ok(captured)
    }
}

impl Drop for Captures {
    fn drop(&mut self) {
        for running in &mut self.running {
            running.end();
            let _ = running.child.wait();
        }
    }
}

impl Running {
    fn until_listening(&mut self) -> Result<()> {
        let mut said = String::new();
        loop {
            let start = said.len();
            let read = self.stderr.read_line(&mut said).context("cannot read from tcpdump")?;
            ensure!(read > 0, "tcpdump on {} does not start: {}", self.point, said.trim());
            if said[start..].contains("listening on") {
                return Ok(());
            }
        }
    }

    /// Asks the process to end; it writes its counters first.
    fn end(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended already; its counters then say why.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    fn nothing_dropped(&mut self) -> Result<()> {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).context("cannot read from tcpdump")?;
        self.child.wait().context("cannot wait for tcpdump")?;
        match dropped(&said) {
            Some(0) => Ok(()),
            Some(count) => bail!("the capture on {} lost {count} frames", self.point),
            None => bail!("tcpdump on {} ended without its counters: {}", self.point, said.trim()),
        }
    }
}

/// The last line of `tcpdump`: "0 packets dropped by kernel".
fn dropped(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("dropped by kernel"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_tcpdump_are_understood() {
        let said = "3 packets captured\n3 packets received by filter\n0 packets dropped by kernel\n";
        assert_eq!(dropped(said), Some(0));
        assert_eq!(dropped(&said.replace('0', "7")), Some(7));
        assert_eq!(dropped("tcpdump: eth9: No such device exists"), None);
    }
}
