//! Health probes. Trackers and schedules are pure (`tracker`, `schedule`); probers do I/O (`probe`, `http`). The caller
//! hands over the whole wanted set of targets; results are published as one snapshot (`checker`).
//!
//! Sockets come from a [`Connect`], so that the caller can send probes another way than straight to the backend (through
//! its tunnel, say). This crate knows nothing of services, VIPs or tunnels.

pub mod checker;
pub mod connect;
mod http;
pub mod probe;
pub mod schedule;
pub mod tracker;
pub mod wanted;

pub use checker::Checker;
pub use connect::{Connect, Direct};
pub use probe::{NetProber, Prober};
pub use wanted::{Check, Probe, ProbeError, Snapshot, Stage, Target, TargetState, Verdict, Wanted};
