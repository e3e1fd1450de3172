//! Health probes. Trackers and schedules are pure (`tracker`, `schedule`); probers do I/O. The caller hands over the
//! whole wanted set of targets; results are published as one snapshot.

pub mod checker;
pub mod wanted;

pub use checker::Checker;
pub use wanted::{Check, Probe, Snapshot, Target, TargetState, Verdict, Wanted};
