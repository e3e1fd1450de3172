//! Route events of a machine's kernel, watched with `ip monitor`.
//!
//! A watcher that has not begun, or has died, sees no event either. So a route of its own, in a table that nothing uses,
//! marks the beginning and the end: both must be seen.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::{Node, interrupt, process};

const TABLE: &str = "202";
const FIRST: &str = "192.0.2.101";
const LAST: &str = "192.0.2.102";
const SEEN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);

/// A watch under way; ended when dropped.
pub(super) struct Monitor<'n> {
    node: &'n Node,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl<'n> Monitor<'n> {
    /// Returns when events are seen.
    pub(super) fn start(node: &'n Node) -> Result<Self> {
        let mut command = node.command(["ip", "-ts", "monitor", "route"]);
        let mut child = process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = child.stdout.take().context("no pipe")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                to.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let monitor = Self { node, child, lines };
        monitor.mark(FIRST)?;
        Ok(monitor)
    }

    /// Events so far that name one of these.
    pub(super) fn events(&mut self, about: &[String]) -> Result<Vec<String>> {
        self.mark(LAST)?;
        let names = |line: &&String| about.iter().any(|name| line.split(' ').any(|word| word == name));
        Ok(self.all().iter().filter(names).cloned().collect())
    }

    /// Everything that was seen.
    pub(super) fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Makes and removes a route until the watcher has seen it.
    fn mark(&self, address: &str) -> Result<()> {
        let seen = interrupt::wait_for(SEEN, STEP, || {
            self.node.sh(&format!("ip route replace blackhole {address} table {TABLE}"))?;
            self.node.sh(&format!("ip route del blackhole {address} table {TABLE}"))?;
            Ok(self.all().iter().any(|line| line.contains(address)).then_some(()))
        })?;
        seen.with_context(|| format!("`ip monitor` on {} sees no events", self.node.name()))
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
