//! `run` and `demo`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use labs::host::interrupt;
use labs::suite::{self, Reporter, Request};

use super::{How, find};

pub(super) fn run(name: &str, how: How) -> Result<ExitCode> {
    interrupt::install()?;
    let request = Request {
        lab: name.to_owned(),
        source: find::lab(name)?,
        programs: find::programs(suite::of_lab(name).is_some())?,
        holder: std::env::current_exe().context("own program")?,
        fault: how.fault,
        only: how.only,
        keep: how.keep,
        evidence: how.evidence,
    };
    let say = Reporter::new(how.json);
    let report = suite::run(&request, &say)?;
    say.summary(&report);
    if how.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    let good = if how.expect { report.as_expected() } else { report.ok };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
