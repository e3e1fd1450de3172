//! The first lab, `tcp-l3dsr-ha`: a VIP on three nodes behind one router, three real servers by IPIP with direct server
//! return.

mod control;
mod facts;
pub mod predict;
mod preflight;
mod settle;

use crate::suite::Suite;

/// Everything that the lab asserts.
pub const SUITE: Suite = Suite {
    lab: "tcp-l3dsr-ha",
    preflight: preflight::preflight,
    settle: settle::settle,
    checks: &[],
    faults: &[],
};
