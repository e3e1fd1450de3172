//! What the rest of the world learns of a peer: its entry on the status board, and the log.

use std::time::{Duration, Instant, SystemTime};

use super::session::Session;
use crate::driver::board::Entry;
use crate::fsm::{Import, Negotiated, Peer};
use crate::rib::Batch;
use crate::{PeerState, RouteStatus};

#[derive(Debug)]
pub(super) struct Report {
    name: String,
    entry: Entry,
    /// UPDATEs sent in earlier sessions.
    updates_before: u64,
    updates: u64,
    /// The last reason that was logged: one that repeats at every attempt is not news.
    logged: Option<String>,
    /// Malformed UPDATEs that were logged, and when.
    malformed: u64,
    malformed_at: Option<Instant>,
}

/// A router that sends one malformed UPDATE sends many.
const LOG_MALFORMED_EVERY: Duration = Duration::from_secs(60);

impl Report {
    pub(super) fn new(name: &str, entry: Entry) -> Self {
        Self {
            name: name.to_owned(),
            entry,
            updates_before: 0,
            updates: 0,
            logged: None,
            malformed: 0,
            malformed_at: None,
        }
    }

    pub(super) fn state(&mut self, old: PeerState, new: PeerState, reason: &str) {
        self.entry.update(|status| {
            status.state = new;
            status.since = SystemTime::now();
        });
        let matters = [old, new].iter().any(|s| matches!(s, PeerState::Established | PeerState::Idle));
        let news = matters || self.logged.as_deref() != Some(reason);
        // An attempt that fails like the one before is not worth a line every few seconds.
        if news && !matches!((old, new), (PeerState::Active, PeerState::Connect)) {
            tracing::info!(peer = self.name, ?old, ?new, reason, "BGP state");
            self.logged = Some(reason.to_owned());
        } else {
            tracing::debug!(peer = self.name, ?old, ?new, reason, "BGP state");
        }
    }

    pub(super) fn error(&self, why: &str) {
        self.entry.update(|status| status.last_error = Some(why.to_owned()));
    }

    pub(super) fn up(&mut self, negotiated: &Negotiated) {
        tracing::info!(
            peer = self.name,
            router_id = %negotiated.remote_id,
            hold = ?negotiated.hold,
            capabilities = negotiated.names().join(","),
            "BGP session established"
        );
        self.entry.update(|status| {
            status.remote_router_id = Some(negotiated.remote_id);
            status.hold_time = negotiated.hold;
            status.capabilities = negotiated.names();
            status.end_of_rib_sent = false;
            status.received_prefixes = 0;
            status.advertised.clear();
        });
    }

    pub(super) fn down(&mut self) {
        self.updates_before += std::mem::take(&mut self.updates);
        self.entry.update(|status| {
            status.flaps += 1;
            status.hold_time = None;
            status.capabilities.clear();
            status.end_of_rib_sent = false;
            status.advertised.clear();
        });
    }

    /// The kernel has taken these messages to the last byte.
    pub(super) fn written(&self, batch: &Batch, at: SystemTime) {
        self.entry.withdrawn(&batch.withdrawn, at);
        self.entry.update(|status| {
            for prefix in &batch.withdrawn {
                status.advertised.remove(prefix);
            }
            let sent = batch.announced.iter().map(|prefix| (*prefix, RouteStatus { sent_at: at }));
            status.advertised.extend(sent);
            status.end_of_rib_sent |= batch.completes_end_of_rib;
        });
    }

    pub(super) fn not_sendable(&self, batch: &Batch) {
        if let Some((prefix, why)) = batch.not_sendable.first() {
            let more = batch.not_sendable.len() - 1;
            tracing::warn!(peer = self.name, %prefix, more, reason = %why, "route not announced");
        }
    }

    pub(super) fn counters(&mut self, fsm: &Peer, session: &Option<Session>) {
        if let Some(session) = session {
            self.updates = session.updates_sent;
        }
        let (received, sent) = fsm.messages();
        let sent = sent + self.updates_before + self.updates;
        let prefixes = fsm.import().announced;
        self.malformed(fsm.import());
        self.entry.count(|status| {
            let old = (status.messages_received, status.messages_sent, status.received_prefixes);
            (status.messages_received, status.messages_sent, status.received_prefixes) =
                (received, sent, prefixes);
            old != (received, sent, prefixes)
        });
    }

    fn malformed(&mut self, import: &Import) {
        // A new session counts from zero.
        self.malformed = self.malformed.min(import.malformed);
        let quiet = self.malformed_at.is_some_and(|at| at.elapsed() < LOG_MALFORMED_EVERY);
        let Some(fault) = import.last_fault.filter(|_| import.malformed > self.malformed && !quiet) else {
            return;
        };
        tracing::warn!(
            peer = self.name,
            attribute = fault.attribute,
            reason = %fault.reason,
            handling = ?fault.handling,
            count = import.malformed - self.malformed,
            "malformed UPDATE (RFC 7606)"
        );
        self.malformed = import.malformed;
        self.malformed_at = Some(Instant::now());
    }
}
