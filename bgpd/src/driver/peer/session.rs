//! The established session's routes: its adj-RIB-out, fed from the wanted table and drained into the socket.

use std::io;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use super::link::Link;
use super::report::Report;
use crate::PeerConfig;
use crate::driver::supervisor::{Revision, Shared};
use crate::export::{self, Encoder};
use crate::fsm::{ConnectionId, Negotiated};
use crate::rib::{AdjRibOut, Batch};

/// Bytes of UPDATEs made at a time: what waits in front of the socket, and how long a withdraw can wait behind it.
const BUFFER: usize = 16 * 1024;
/// Buffers written before others get their turn.
const ROUNDS: usize = 4;

pub(super) struct Session {
    pub(super) id: ConnectionId,
    pub(super) rib: AdjRibOut,
    /// The socket would take more, but others are to have their turn first.
    pub(super) has_more: bool,
    pub(super) updates_sent: u64,
    encoder: Encoder,
    local: IpAddr,
    revision: u64,
    complete: bool,
    in_flight: Option<Batch>,
    completed: bool,
}

impl Session {
    pub(super) fn new(
        id: ConnectionId,
        local_asn: u32,
        negotiated: &Negotiated,
        config: &PeerConfig,
        local: IpAddr,
        revision: &Revision,
        name: &str,
    ) -> Self {
        let (next_hop_v4, next_hop_v6) = export::next_hops(config, local);
        let encoder = Encoder {
            local_asn,
            internal: negotiated.internal,
            four_octet_asn: negotiated.four_octet_asn,
            next_hop_v4,
            next_hop_v6,
        };
        let mut rib = AdjRibOut::new(encoder.clone(), &negotiated.families);
        for (prefix, attributes) in revision.table.all_for_peer(name) {
            rib.set(prefix, Some(attributes));
        }
        Self {
            id,
            rib,
            has_more: false,
            updates_sent: 0,
            encoder,
            local,
            revision: revision.number,
            complete: revision.complete,
            in_flight: None,
            completed: false,
        }
    }

    /// Takes in another state of the wanted routes.
    pub(super) fn apply(&mut self, revision: &Revision, name: &str) {
        if revision.number == self.revision + 1 {
            for prefix in revision.changed.iter() {
                self.rib.set(*prefix, revision.table.for_peer(prefix, name));
            }
        } else {
            for prefix in self.rib.wanted_outside(|prefix| revision.table.for_peer(prefix, name).is_some()) {
                self.rib.set(prefix, None);
            }
            for (prefix, attributes) in revision.table.all_for_peer(name) {
                self.rib.set(prefix, Some(attributes));
            }
        }
        self.revision = revision.number;
        self.complete = revision.complete;
    }

    pub(super) fn set_next_hops(&mut self, config: &PeerConfig) {
        let (next_hop_v4, next_hop_v6) = export::next_hops(config, self.local);
        self.encoder = Encoder { next_hop_v4, next_hop_v6, ..self.encoder.clone() };
        self.rib.set_encoder(self.encoder.clone());
    }

    pub(super) fn withdraw_all(&mut self) {
        for prefix in self.rib.wanted_outside(|_| false) {
            self.rib.set(prefix, None);
        }
    }

    /// Writes until the socket takes no more, or nothing is left. UPDATEs are made only when everything before them is
    /// in the kernel; what the kernel has taken is reported with its time.
    pub(super) fn write(&mut self, link: &mut Link, shared: &Shared, report: &mut Report) -> io::Result<()> {
        self.has_more = false;
        for _ in 0..ROUNDS {
            if !link.output.flush(&link.stream)? {
                return Ok(());
            }
            if let Some(batch) = self.in_flight.take() {
                self.completed |= batch.completes_end_of_rib;
                report.written(&batch, SystemTime::now());
            }
            let complete = self.complete || Instant::now() >= shared.defer_until;
            let batch = self.rib.fill(link.output.buffer(), BUFFER, complete);
            report.not_sendable(&batch);
            if batch.messages == 0 {
                return Ok(());
            }
            self.updates_sent += batch.messages;
            self.in_flight = Some(batch);
        }
        self.has_more = true;
        Ok(())
    }

    /// Whether End-of-RIB of every family has just gone into the kernel.
    pub(super) fn take_completed(&mut self) -> bool {
        std::mem::take(&mut self.completed)
    }
}
