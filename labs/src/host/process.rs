//! Child processes: identity that survives reuse of a number, and commands that end in time.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::interrupt;

/// After a command's end its output must end too, unless a process that it left behind holds it.
const HELD: Duration = Duration::from_secs(2);

/// A process by number and start time (clock ticks since boot, `proc_pid_stat(5)` field 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    pub started: u64,
}

impl ProcessId {
    /// `None` when there is no such process.
    pub fn of(pid: i32) -> Option<Self> {
        stat_of(pid).map(|(_, started)| Self { pid, started })
    }

    pub fn myself() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).context("own process number")?;
        Self::of(pid).context("/proc does not know this process")
    }

    /// Still running: the same process, and not a zombie.
    pub fn alive(self) -> bool {
        stat_of(self.pid).is_some_and(|(state, started)| started == self.started && state != 'Z')
    }

    /// Sends a signal if this very process is still there.
    pub fn signal(self, signal: Signal) {
        if self.alive() {
            // It may end in between; that is what was wanted.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// State letter and start time.
fn stat_of(pid: i32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields are counted after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Output {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end with nothing on stdin. Killed, and an error, when it takes longer than `limit` or when the
/// run is interrupted. A non-zero exit is not an error here.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    run_with_input(command, b"", limit)
}

/// As [`run`], with stdin.
pub fn run_with_input(command: &mut Command, input: &[u8], limit: Duration) -> Result<Output> {
    let name = format!("{command:?}");
    let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input closes it; its exit code says the rest.
        let _ = stdin.write_all(input);
    }
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("{name}: cannot wait"))? {
            break status;
        }
        let interrupted = interrupt::check();
        if interrupted.is_err() || Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            interrupted?;
            bail!("{name}: no end after {} s", limit.as_secs_f32());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    let text = |pipe: Receiver<Vec<u8>>| -> Result<String> {
        let bytes = pipe.recv_timeout(HELD);
        let bytes =
            bytes.with_context(|| format!("{name}: it left a process behind that holds its output"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Output { success: status.success(), stdout: text(stdout)?, stderr: text(stderr)? })
}

/// Starts a child in a process group of its own: the terminal's Ctrl-C is for the runner alone, which then ends its
/// children in order.
pub fn spawn(command: &mut Command) -> Result<Child> {
    command.process_group(0).spawn().with_context(|| format!("cannot start {:?}", command.get_program()))
}

/// All of a pipe, once every process has closed it.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        sender.send(bytes)
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = ProcessId::myself().unwrap();
        assert!(me.alive());
        assert!(!ProcessId { started: me.started + 1, ..me }.alive());
    }

    #[test]
    fn output_and_exit_code_come_back() {
        let mut command = Command::new("sh");
        let output =
            run_with_input(command.args(["-c", "cat; echo no >&2; exit 3"]), b"yes", Duration::from_secs(10))
                .unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.success), ("yes", "no\n", false));
    }

    #[test]
    fn a_process_that_holds_the_output_is_an_error_and_no_hang() {
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", "sleep 5 & exit 0"]), Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains("left a process behind"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let error = run(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("no end after"), "{error}");
    }
}
