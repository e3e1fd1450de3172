//! Running other programs: silently with a progress line and a log file, or loudly with their output passed through.

use std::fs::{self, File};
use std::io::{IsTerminal, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a running child is looked at.
const POLL: Duration = Duration::from_millis(50);
/// What a child gets between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(20);
/// Lines of a failed step's log that are shown.
const TAIL: usize = 25;

/// Runs a step whose output is only of interest when it fails: it goes to `log`, the terminal gets `label` and the time.
///
/// A child that is not done within `limit` is stopped, and the step has failed.
pub(crate) fn quiet(label: &str, command: &mut Command, log: &Path, limit: Option<Duration>) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = file.try_clone().context("cannot share the log file")?;
    let started = Instant::now();
    let progress = Progress::start(label);
    let child =
        command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().with_context(|| cannot(command))?;
    let outcome = wait(child, limit, || progress.tick());
    progress.end(started.elapsed(), outcome.as_ref().is_ok_and(ExitStatus::success));
    let status = outcome.with_context(|| format!("{label}; see {}", log.display()))?;
    ensure!(status.success(), "{label} failed ({status}); the end of {}:\n{}", log.display(), tail(log));
    Ok(())
}

/// Runs a program with its output passed through; a failure is an error.
pub(crate) fn loud(command: &mut Command) -> Result<()> {
    loud_within(command, None)
}

/// The same with a limit: a program that is not done by then is asked to end (it may have to clean up), then killed.
pub(crate) fn loud_within(command: &mut Command, limit: Option<Duration>) -> Result<()> {
    let child = command.spawn().with_context(|| cannot(command))?;
    let status = wait(child, limit, || ())?;
    ensure!(status.success(), "{} failed ({})", spell(command), describe(status));
    Ok(())
}

/// What a program prints, when it succeeds; `None` when it is missing or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command as a person would type it.
pub(crate) fn spell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn wait(mut child: Child, limit: Option<Duration>, mut tick: impl FnMut()) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child")? {
            return Ok(status);
        }
        if let Some(limit) = limit.filter(|limit| started.elapsed() > *limit) {
            end(&mut child)?;
            bail!("not done within {} s, stopped", limit.as_secs());
        }
        tick();
        std::thread::sleep(POLL);
    }
}

/// SIGTERM, so that a lab can take itself down, then SIGKILL. std only knows the second, hence the program `kill`.
fn end(child: &mut Child) -> Result<()> {
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    if asked.is_ok_and(|status| status.success()) {
        let started = Instant::now();
        while started.elapsed() < GRACE {
            if child.try_wait().context("cannot wait for a child")?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }
    child.kill().context("cannot kill a child")?;
    child.wait().context("cannot wait for a child")?;
    Ok(())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn cannot(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

fn tail(log: &Path) -> String {
    let mut bytes = Vec::new();
    if File::open(log).and_then(|mut file| file.read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// A line on stderr: a spinner for a person, start and end for a log.
struct Progress {
    label: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn start(label: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            ProgressBar::new_spinner()
                .with_message(label.to_owned())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        if bar.is_none() {
            eprintln!("setup: {label} ...");
        }
        Self { label: label.to_owned(), bar }
    }

    fn tick(&self) {
        if let Some(bar) = &self.bar {
            bar.tick();
        }
    }

    fn end(&self, took: Duration, well: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let word = if well { "done" } else { "failed" };
        eprintln!("setup: {}: {word} after {:.1} s", self.label, took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_over_its_limit_is_asked_to_end_first() {
        let folder = std::env::temp_dir().join(format!("xtask-run-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let note = folder.join("cleaned");
        let script =
            format!("trap 'echo yes > {}; exit 0' TERM; while :; do sleep 0.05; done", note.display());
        let result = loud_within(Command::new("sh").args(["-c", &script]), Some(Duration::from_millis(300)));
        let text = fs::read_to_string(&note).unwrap_or_default();
        fs::remove_dir_all(&folder).unwrap();
        assert!(result.unwrap_err().to_string().contains("not done within"));
        assert_eq!(text.trim(), "yes");
    }

    #[test]
    fn a_failed_step_shows_the_end_of_its_log() {
        let log = std::env::temp_dir().join(format!("xtask-log-{}", std::process::id()));
        let result =
            quiet("a step", Command::new("sh").args(["-c", "echo first; echo why >&2; exit 3"]), &log, None);
        fs::remove_file(&log).unwrap();
        let text = result.unwrap_err().to_string();
        assert!(text.contains("a step failed") && text.ends_with("first\nwhy"), "{text}");
    }
}
