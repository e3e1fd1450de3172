//! What the peer sends us. Import is closed (RFC 8212): routes are counted and forgotten, so a peer that floods us costs
//! no memory, and nothing learned can be advertised to anybody.

use crate::wire::attribute::Fault;
use crate::wire::{Update, Verdict};

/// Counters of one session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Import {
    /// Prefixes announced by the peer, repetitions included.
    pub announced: u64,
    pub withdrawn: u64,
    /// UPDATEs of which attributes were discarded, or that counted as withdrawals (RFC 7606).
    pub malformed: u64,
    /// The newest of these faults.
    pub last_fault: Option<Fault>,
}

impl Import {
    pub(super) fn update(&mut self, update: &Update<'_>) {
        let attributes = &update.attributes;
        let announced = update.announced.len() + attributes.mp_reach.map_or(0, |reach| reach.prefixes.len());
        let withdrawn = update.withdrawn.len() + attributes.mp_unreach.map_or(0, |prefixes| prefixes.len());
        self.withdrawn += withdrawn as u64;
        match update.verdict {
            Verdict::Accept => self.announced += announced as u64,
            Verdict::AttributeDiscard(fault) => {
                self.announced += announced as u64;
                self.fault(fault);
            }
            Verdict::TreatAsWithdraw(fault) => {
                self.withdrawn += announced as u64;
                self.fault(fault);
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.malformed += 1;
        self.last_fault = Some(fault);
    }
}
