//! `cargo xtask test`: everything that must hold, once, in its short form.
//!
//! Ends with a table of the steps and, as the very last line, their counts. Tests run as root on purpose: the datapath's
//! and the labs' need namespaces and XDP.

use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::place::Place;
use crate::steps::{self, Report, Step};
use crate::{deny, deps, ebpf, lab, run, setup, source};

/// A lab takes at most two minutes; one that hangs must not take the whole run with it.
const LAB_LIMIT: Duration = Duration::from_secs(300);
/// Cases of each property test with `--full`; proptest's own default is 256.
const FULL_CASES: &str = "4096";

/// Runs all steps and prints the counts; the exit code says whether all passed.
pub(crate) fn run(place: &Place, full: bool) -> Result<ExitCode> {
    let mut reports = Vec::new();
    for step in base(place, full) {
        let report = steps::run(step, &reports);
        reports.push(report);
    }
    for step in labs(place, &reports) {
        let report = steps::run(step, &reports);
        reports.push(report);
    }
    let mut out = std::io::stdout().lock();
    write!(out, "\n{}\n{}\n", steps::table(&reports), steps::summary(&reports))
        .context("cannot print the result")?;
    out.flush().context("cannot print the result")?;
    Ok(if steps::failures(&reports) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn base(place: &Place, full: bool) -> Vec<Step<'_>> {
    let cargo = move |args: &'static [&'static str]| move || run::loud(place.cargo().args(args));
    vec![
        Step::new("setup", &[], || setup::all(place)),
        Step::new("format", &[], || format(place)),
        Step::new("deps", &[], || deps::check(place)),
        Step::new("size", &[], || source::check_sizes(place)),
        Step::new("ebpf", &["setup"], || ebpf::build(place, &setup::ebpf_tools(place)?).map(|_| ())),
        Step::new(
            "clippy",
            &["ebpf"],
            cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        ),
        // The protocol library must do without tokio and sockets.
        Step::new("bgpd pure", &[], || {
            let pure = ["--package", "bgpd", "--no-default-features"];
            run::loud(place.cargo().arg("clippy").args(pure).args([
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]))?;
            run::loud(place.cargo().arg("test").args(pure))
        }),
        Step::new("tests", &["ebpf"], move || {
            let mut command = place.cargo();
            command.args(["test", "--workspace", "--no-fail-fast"]);
            if full {
                command.env("PROPTEST_CASES", FULL_CASES);
            }
            run::loud(&mut command)
        }),
        Step::new("deny", &[], || deny::check(place)),
        Step::new("programs", &["ebpf"], || lab::programs(place, lab::Profile::Dev).map(|_| ())),
    ]
}

/// The demo, and each fault that must be caught by exactly the checks that declare it.
fn labs<'a>(place: &'a Place, before: &[Report]) -> Vec<Step<'a>> {
    const NEEDS: &[&str] = &["programs"];
    let demo = Step::new("demo", NEEDS, || run::loud_within(lab::runner(place).arg("demo"), Some(LAB_LIMIT)));
    if !steps::passed(before, "programs") {
        return vec![demo, Step::new("faults", NEEDS, || Ok(()))];
    }
    let faults = match faults(lab::runner(place)) {
        Ok(faults) => faults,
        Err(error) => return vec![demo, Step::new("faults", NEEDS, || Err(error))],
    };
    let broken = faults.into_iter().map(|fault| {
        Step::new(format!("fault {fault}"), NEEDS, move || {
            let mut command = lab::runner(place);
            command.args(["demo", "--expect", "--break", &fault]);
            run::loud_within(&mut command, Some(LAB_LIMIT))
        })
    });
    std::iter::once(demo).chain(broken).collect()
}

fn format(place: &Place) -> Result<()> {
    run::loud(place.cargo().args(["fmt", "--all", "--", "--check"]))?;
    let own = ["fmt", "--manifest-path", "datapath-ebpf/Cargo.toml", "--", "--check"];
    run::loud(place.cargo().args(own))
}

/// The faults that the lab runner knows.
fn faults(mut runner: Command) -> Result<Vec<String>> {
    let text = run::ask(runner.args(["faults", "--json"])).context("`vipcast-lab faults --json` fails")?;
    parse_faults(&text)
}

/// A list of names, or of objects with a `name`, bare or as the member `faults`. None at all is an error: the checks
/// would be proven by nothing.
fn parse_faults(text: &str) -> Result<Vec<String>> {
    let document: Value = serde_json::from_str(text).context("the list of faults is not JSON")?;
    let list = document.get("faults").unwrap_or(&document);
    let entries = list.as_array().context("the list of faults is not a list")?;
    let name = |entry: &Value| entry.as_str().or_else(|| entry["name"].as_str()).map(str::to_owned);
    let names: Option<Vec<String>> = entries.iter().map(name).collect();
    match names {
        Some(names) if !names.is_empty() => Ok(names),
        Some(_) => bail!("the lab runner knows no fault"),
        None => bail!("a fault without a name in {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_in_either_form() {
        let names = ["other-ring", "echo-off"];
        assert_eq!(parse_faults(r#"["other-ring", "echo-off"]"#).unwrap(), names);
        let objects = r#"{"faults": [{"name": "other-ring", "checks": ["spread"]}, {"name": "echo-off"}]}"#;
        assert_eq!(parse_faults(objects).unwrap(), names);
    }

    #[test]
    fn a_runner_without_faults_is_an_error() {
        assert!(parse_faults("[]").is_err());
        assert!(parse_faults(r#"[{"title": "x"}]"#).is_err());
        assert!(parse_faults("none").is_err());
    }
}
