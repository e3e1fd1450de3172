//! What a run says: to people step by step, to programs in one line at the end.

use std::io::Write;
use std::time::Instant;

use serde::Serialize;

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub name: String,
    pub ok: bool,
    /// What was measured; what was wrong comes first.
    pub detail: String,
    /// It could not be carried out to its end: that is no proof of a fault.
    #[serde(skip)]
    pub unfinished: bool,
}

/// Result of a run; the last line of `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ok: bool,
    pub checks: Vec<Outcome>,
    /// The planted fault and the checks that it must turn false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_false: Option<Vec<&'static str>>,
}

impl Report {
    /// Exactly the declared checks went false, and by what they saw; `true` only with a fault.
    pub fn as_expected(&self) -> bool {
        let Some(expected) = &self.expected_false else { return false };
        let right =
            |check: &Outcome| check.ok != expected.contains(&check.name.as_str()) && !check.unfinished;
        self.checks.iter().all(right)
            && expected.iter().all(|name| self.checks.iter().any(|check| check.name == *name))
    }
}

/// Writes for people: to stdout, or to stderr when stdout belongs to a program.
#[derive(Debug)]
pub struct Reporter {
    started: Instant,
    json: bool,
}

impl Reporter {
    pub fn new(json: bool) -> Self {
        Self { started: Instant::now(), json }
    }

    pub fn json(&self) -> bool {
        self.json
    }

    /// A new part of the run.
    pub fn title(&self, name: &str, about: &str) {
        self.line(&format!("{:>6.1}s  {name:<16}{about}", self.started.elapsed().as_secs_f32()));
    }

    /// Something that was done or seen.
    pub fn step(&self, text: &str) {
        self.line(&format!("         · {text}"));
    }

    /// An assertion with what was measured.
    pub fn finding(&self, ok: bool, text: &str) {
        self.line(&format!("         {} {text}", if ok { "✓" } else { "✗" }));
    }

    pub fn summary(&self, report: &Report) {
        let bad: Vec<&str> =
            report.checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect();
        let seconds = self.started.elapsed().as_secs_f32();
        self.line("");
        let count = report.checks.len();
        if bad.is_empty() {
            self.line(&format!("all {count} checks passed in {seconds:.0} s"));
        } else {
            self.line(&format!(
                "{} of {count} checks FAILED in {seconds:.0} s: {}",
                bad.len(),
                bad.join(", ")
            ));
        }
        if let (Some(fault), Some(expected)) = (report.fault, &report.expected_false) {
            let verdict = if report.as_expected() { "exactly those" } else { "NOT those" };
            self.line(&format!("planted fault {fault} must fail {}: {verdict} failed", expected.join(", ")));
        }
    }

    /// A free line.
    pub fn line(&self, text: &str) {
        // A reader that has gone away, as `head` does, must not stop the clean-up.
        let _ = if self.json {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_must_fail_exactly_its_checks() {
        let outcome =
            |name: &str, ok| Outcome { name: name.into(), ok, detail: String::new(), unfinished: false };
        let report = |expected: &[&'static str], checks: Vec<Outcome>| Report {
            ok: false,
            checks,
            fault: Some("x"),
            expected_false: Some(expected.to_vec()),
        };
        assert!(report(&["a"], vec![outcome("a", false), outcome("b", true)]).as_expected());
        assert!(!report(&["a"], vec![outcome("a", true), outcome("b", true)]).as_expected());
        assert!(!report(&["a"], vec![outcome("a", false), outcome("b", false)]).as_expected());
        assert!(!report(&["a"], vec![outcome("b", true)]).as_expected());
        let unfinished = Outcome { unfinished: true, ..outcome("a", false) };
        assert!(!report(&["a"], vec![unfinished]).as_expected());
    }
}
