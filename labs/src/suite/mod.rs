//! What a lab asserts: checks on observed traffic and state, and for each check the planted faults that must turn it
//! false.

mod bench;
mod evidence;
mod report;
mod run;

pub use bench::Bench;
pub use evidence::Evidence;
pub use report::{Outcome, Report, Reporter};
pub use run::{Request, run};

use anyhow::Result;

use crate::host::Edit;

/// The assertions of one lab.
#[derive(Debug)]
pub struct Suite {
    /// Name of the lab.
    pub lab: &'static str,
    /// Looks whether the lab itself is as it should be, before anything is asserted. An error ends the run.
    pub preflight: fn(&Bench<'_>) -> Result<()>,
    /// Brings the lab from "all machines run" to "ready to be checked", or back to it after a check that broke
    /// something on purpose. Cheap when nothing is to be done.
    pub settle: fn(&mut Bench<'_>) -> Result<()>,
    /// In the order in which they run.
    pub checks: &'static [Check],
    pub faults: &'static [Fault],
}

/// One assertion with a name that people and programs refer to.
#[derive(Debug)]
pub struct Check {
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Records findings; an error counts as one that is false.
    pub run: fn(&mut Bench<'_>) -> Result<()>,
}

/// A planted fault: what it changes, and which checks it must turn false.
#[derive(Debug)]
pub struct Fault {
    pub name: &'static str,
    pub about: &'static str,
    /// Changes to the lab's files, before it comes up.
    pub edits: &'static [Edit],
    /// Changes to the running lab.
    pub plant: Option<fn(&Bench<'_>, Moment<'_>) -> Result<()>>,
    /// Must become false, each of them.
    pub falsifies: &'static [&'static str],
    /// Run with the fault and must stay true: the fault is caught by its own checks, not by everything.
    pub spares: &'static [&'static str],
}

/// When a fault may act on the running lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<'a> {
    /// The lab was settled and a check is about to run.
    Settled,
    /// The daemon of this node was killed and has not been started again.
    DaemonDead(&'a str),
}

impl Suite {
    pub fn check(&self, name: &str) -> Option<&'static Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    pub fn fault(&self, name: &str) -> Option<&'static Fault> {
        self.faults.iter().find(|fault| fault.name == name)
    }
}

/// The suite of a lab; `None` for a lab that only comes up.
pub fn of_lab(lab: &str) -> Option<&'static Suite> {
    [&crate::dsr::SUITE].into_iter().find(|suite| suite.lab == lab)
}

/// Name of the check that every run ends with.
pub const CLEAN: &str = "clean";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_fault_and_every_fault_its_checks() {
        let suite = &crate::dsr::SUITE;
        let names: BTreeSet<&str> = suite.checks.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), suite.checks.len(), "a name is used twice");
        let mut proven = BTreeSet::new();
        for fault in suite.faults {
            assert!(!fault.falsifies.is_empty(), "{} proves nothing", fault.name);
            assert!(!fault.edits.is_empty() || fault.plant.is_some(), "{} changes nothing", fault.name);
            for check in fault.falsifies.iter().chain(fault.spares) {
                assert!(names.contains(check), "{} names {check}", fault.name);
            }
            proven.extend(fault.falsifies);
        }
        assert_eq!(names, proven, "a check without a fault is not a check");
    }
}
