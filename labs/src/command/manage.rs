//! `list`, `shell` and `clean`.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use labs::host::{journal::Journal, lab, place, place::Place};

use super::find;

pub(super) fn list() -> Result<ExitCode> {
    let present = place::present();
    for name in find::names() {
        let state = state(&name)?;
        println!("{name:<24}{state}");
    }
    for name in present.iter().filter(|name| !find::names().contains(name)) {
        println!("{name:<24}{} (its files are elsewhere)", state(name)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn state(name: &str) -> Result<String> {
    let Some(journal) = Journal::read(&Place::new(name))? else { return Ok("-".to_owned()) };
    Ok(match (journal.running(), journal.kept) {
        (true, true) => "up, kept".to_owned(),
        (true, false) => format!("running, process {}", journal.runner.pid),
        (false, _) => format!("left over; `vipcast-lab clean {name}` removes it"),
    })
}

/// Becomes the command.
pub(super) fn shell(lab_name: &str, node: &str, command: &[String]) -> Result<ExitCode> {
    let node = lab::find_node(&Place::new(lab_name), node)?;
    let shell = ["/bin/sh".to_owned(), "-i".to_owned()];
    let argv = if command.is_empty() { &shell[..] } else { command };
    let mut process = node.command(argv);
    if let Some(terminal) = std::env::var_os("TERM") {
        process.env("TERM", terminal);
    }
    process.env("PS1", format!("{lab_name}:{} # ", node.name()));
    Err(process.exec()).context("cannot start nsenter")
}

pub(super) fn clean(name: &str) -> Result<ExitCode> {
    let removed = lab::clean(&Place::new(name))?;
    println!("{}", if removed { format!("{name}: removed") } else { format!("{name}: nothing to remove") });
    Ok(ExitCode::SUCCESS)
}
