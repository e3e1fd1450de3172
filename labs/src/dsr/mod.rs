//! The first lab, `tcp-l3dsr-ha`: a VIP on three nodes behind one router, three real servers by IPIP with direct server
//! return.

mod checks;
mod facts;
mod faults;
mod maps;
mod power;
pub mod predict;
mod quiet;
mod replies;
mod router;

use crate::suite::Suite;

/// Everything that the lab asserts.
pub const SUITE: Suite =
    Suite { lab: "tcp-l3dsr-ha", settle: |_| Ok(()), checks: checks::ALL, faults: faults::ALL };
