//! Clients seen from the runner: a job goes in as JSON, results come back as values.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::job::Job;
use crate::host::{Node, interrupt, process};

/// The client's program inside every machine.
const PROGRAM: &str = "/usr/local/bin/vipcast-lab";
/// How often a waiting runner looks for a signal.
const STEP: Duration = Duration::from_millis(20);

/// Does a job to its end.
pub fn run<T: DeserializeOwned>(node: &Node, job: &Job, limit: Duration) -> Result<T> {
    let mut client = Client::start(node, job)?;
    client.answer(limit)
}

/// A job under way. Killed when dropped.
#[derive(Debug)]
pub struct Client {
    name: String,
    child: Child,
    /// The job goes on until this is closed.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    pub fn start(node: &Node, job: &Job) -> Result<Self> {
        let text = serde_json::to_string(job).context("job")?;
        let mut command = node.command([PROGRAM, "client", &text]);
        let mut child = process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no pipe")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name: node.name().to_owned(), child, stdin, lines })
    }

    /// Its next line of results.
    pub fn answer<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T> {
        let end = Instant::now() + limit;
        loop {
            interrupt::check()?;
            match self.lines.recv_timeout(STEP) {
                Ok(line) => {
                    let value = serde_json::from_str(&line);
                    return value.with_context(|| format!("the client on {} said {line:?}", self.name));
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the client on {} ended early", self.name),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= end => {
                    bail!("the client on {} has no result after {} s", self.name, limit.as_secs_f32())
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Tells it to end, and waits for its last line.
    pub fn finish<T: DeserializeOwned>(mut self, limit: Duration) -> Result<T> {
        drop(self.stdin.take());
        self.answer(limit)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
