//! A list of steps that are all tried: one that fails stops only those that need it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

type Work<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// One thing to try.
pub(crate) struct Step<'a> {
    pub(crate) name: String,
    /// Names of earlier steps without which this one says nothing.
    needs: &'static [&'static str],
    work: Work<'a>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        needs: &'static [&'static str],
        work: impl FnOnce() -> Result<()> + 'a,
    ) -> Self {
        Self { name: name.into(), needs, work: Box::new(work) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Not tried, because this step did not pass.
    Blocked(String),
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Runs one step, given what came of those before.
pub(crate) fn run(step: Step<'_>, before: &[Report]) -> Report {
    let started = Instant::now();
    let outcome = match step.needs.iter().find(|need| !passed(before, need)) {
        Some(need) => Outcome::Blocked((*need).to_owned()),
        None => {
            eprintln!("\n== {} ==", step.name);
            (step.work)().map_or_else(|error| Outcome::Failed(format!("{error:#}")), |()| Outcome::Passed)
        }
    };
    if let Outcome::Failed(why) = &outcome {
        eprintln!("FAILED: {}: {why}", step.name);
    }
    Report { name: step.name, outcome, took: started.elapsed() }
}

pub(crate) fn passed(reports: &[Report], name: &str) -> bool {
    reports.iter().any(|report| report.name == name && report.outcome == Outcome::Passed)
}

/// A line for each step, with its time, and the sum of times.
pub(crate) fn table(reports: &[Report]) -> String {
    let width = reports.iter().map(|report| report.name.len()).max().unwrap_or(0).max("total".len());
    let mut text = String::new();
    for Report { name, outcome, took } in reports {
        let said = match outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Failed(why) => format!("FAILED  {}", why.lines().next().unwrap_or_default()),
            Outcome::Blocked(need) => format!("FAILED  not tried: {need} did not pass"),
        };
        let _ = writeln!(text, "{name:width$}  {:>7.1} s  {said}", took.as_secs_f64());
    }
    let total: Duration = reports.iter().map(|report| report.took).sum();
    let _ = writeln!(text, "{:width$}  {:>7.1} s", "total", total.as_secs_f64());
    text
}

/// The counts that CI reads: what was not tried has not passed.
pub(crate) fn summary(reports: &[Report]) -> String {
    let failed = failures(reports);
    format!("{} passed, {failed} failed", reports.len() - failed)
}

pub(crate) fn failures(reports: &[Report]) -> usize {
    reports.iter().filter(|report| report.outcome != Outcome::Passed).count()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn reports() -> Vec<Report> {
        let steps = vec![
            Step::new("format", &[], || Ok(())),
            Step::new("ebpf", &[], || bail!("no compiler\nat all")),
            Step::new("tests", &["ebpf"], || Ok(())),
            Step::new("demo", &["tests"], || Ok(())),
            Step::new("deps", &["format"], || Ok(())),
        ];
        let mut reports = Vec::new();
        for step in steps {
            reports.push(run(step, &reports));
        }
        reports
    }

    #[test]
    fn a_failure_stops_only_what_needs_it() {
        let outcomes: Vec<Outcome> = reports().into_iter().map(|report| report.outcome).collect();
        assert_eq!(
            outcomes,
            [
                Outcome::Passed,
                Outcome::Failed("no compiler\nat all".into()),
                Outcome::Blocked("ebpf".into()),
                Outcome::Blocked("tests".into()),
                Outcome::Passed
            ]
        );
    }

    #[test]
    fn what_was_not_tried_counts_as_failed() {
        assert_eq!(summary(&reports()), "2 passed, 3 failed");
        assert_eq!(failures(&reports()), 3);
    }

    #[test]
    fn the_table_has_a_line_for_each_step_and_the_total() {
        let text = table(&reports());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[1].starts_with("ebpf") && lines[1].ends_with("FAILED  no compiler"));
        assert!(lines[2].ends_with("not tried: ebpf did not pass"));
    }
}
