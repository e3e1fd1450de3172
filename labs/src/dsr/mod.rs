//! The first lab, `tcp-l3dsr-ha`: a VIP on three nodes behind one router, three real servers by IPIP with direct server
//! return.

mod checks;
mod control;
mod facts;
mod faults;
mod mac;
mod maps;
mod power;
pub mod predict;
mod preflight;
mod quiet;
mod replies;
mod router;
mod settle;

use crate::suite::Suite;

/// Everything that the lab asserts.
pub const SUITE: Suite = Suite {
    lab: "tcp-l3dsr-ha",
    preflight: preflight::preflight,
    settle: settle::settle,
    checks: checks::ALL,
    faults: faults::ALL,
};
