//! What a check works with: the lab, somewhere to speak, and what it has found so far.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{Evidence, Fault, Moment, Outcome, Reporter};
use crate::capture::{Captures, Point};
use crate::host::{Lab, Node, interrupt};
use crate::netstat::{self, Counters};
use crate::pcap::Frame;

pub struct Bench<'a> {
    pub lab: &'a Lab,
    pub say: &'a Reporter,
    pub(super) fault: Option<&'static Fault>,
    pub(super) evidence: Option<Evidence>,
    /// Name of the running check.
    check: &'static str,
    findings: Vec<(bool, String)>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        say: &'a Reporter,
        fault: Option<&'static Fault>,
        evidence: Option<Evidence>,
    ) -> Self {
        Self { lab, say, fault, evidence, check: "setup", findings: Vec::new() }
    }

    pub fn node(&self, name: &str) -> Result<&'a Node> {
        self.lab.node(name)
    }

    /// Says what is being done.
    pub fn step(&self, text: impl AsRef<str>) {
        self.say.step(text.as_ref());
    }

    /// Asserts, and says what was measured either way.
    pub fn expect(&mut self, ok: bool, text: impl Into<String>) {
        let text = text.into();
        self.say.finding(ok, &text);
        self.findings.push((ok, text));
    }

    /// Asks again and again until there is an answer or the time is over.
    pub fn wait_for<T>(&self, limit: Duration, ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        interrupt::wait_for(limit, Duration::from_millis(50), ask)
    }

    /// Lets the planted fault act, if there is one that acts now.
    pub fn moment(&self, moment: Moment<'_>) -> Result<()> {
        match self.fault.and_then(|fault| fault.plant) {
            Some(plant) => plant(self, moment),
            None => Ok(()),
        }
    }

    /// Keeps a text as evidence of the running check.
    pub fn keep_text(&self, name: &str, text: &str) -> Result<()> {
        self.evidence.as_ref().map_or(Ok(()), |evidence| evidence.text(self.check, name, text))
    }

    /// Keeps a value as evidence of the running check.
    pub fn keep_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.evidence.as_ref().map_or(Ok(()), |evidence| evidence.json(self.check, name, value))
    }

    /// Ends captures and keeps their files as evidence of the running check.
    pub fn captured(&self, captures: impl Into<Vec<Captures>>) -> Result<BTreeMap<Point, Vec<Frame>>> {
        let captured = Captures::stop_all(captures.into())?;
        captured.files.iter().try_for_each(|file| self.keep_file(file))?;
        Ok(captured.frames)
    }

    /// Keeps all machines' counters as evidence of the running check, in the form of `nstat -asz`.
    pub fn counters(&self, when: &str) -> Result<BTreeMap<String, Counters>> {
        let all = netstat::of_all(self.lab)?;
        for (node, counters) in &all {
            self.keep_text(&format!("nstat-{node}-{when}.txt"), &netstat::text(counters))?;
        }
        Ok(all)
    }

    /// Keeps a copy of a file as evidence of the running check.
    pub fn keep_file(&self, path: &Path) -> Result<()> {
        self.evidence.as_ref().map_or(Ok(()), |evidence| evidence.file(self.check, path))
    }

    pub(super) fn begin(&mut self, check: &'static str) {
        self.check = check;
        self.findings.clear();
    }

    /// The verdict over what was found since [`Bench::begin`]. A check that asserted nothing has failed.
    pub(super) fn verdict(&mut self, result: Result<()>) -> Outcome {
        let unfinished = result.is_err();
        if let Err(error) = result {
            self.expect(false, format!("{error:#}"));
        } else if self.findings.is_empty() {
            self.expect(false, "nothing was asserted");
        }
        let mut findings = std::mem::take(&mut self.findings);
        findings.sort_by_key(|(ok, _)| *ok);
        let ok = findings.iter().all(|(ok, _)| *ok);
        let mark = |(fine, text): (bool, String)| if fine { text } else { format!("FAILED: {text}") };
        let detail = findings.into_iter().map(mark).collect::<Vec<_>>().join("; ");
        Outcome { name: self.check.to_owned(), ok, detail, unfinished }
    }
}
