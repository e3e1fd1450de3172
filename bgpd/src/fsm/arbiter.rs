//! Which of several connections to the same peer lives on, once a new one has shown its OPEN.
//!
//! - Nothing established: the connection dialled by the side with the larger BGP identifier stays (RFC 4271 6.8), the
//!   larger ASN where identifiers are equal (RFC 6286 2.3).
//! - One established: it stays, unless graceful restart was negotiated on it and the new connection was opened after it
//!   came up. Then the peer has lost the old one and is restarting (RFC 4724 4.2). A connection that is older
//!   than the session is the loser of a plain collision, not a restart.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::event::Direction;

/// One connection as the arbiter sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) direction: Direction,
    pub(super) opened: Instant,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    OpenSent,
    OpenConfirm,
    Established { since: Instant, graceful_restart: bool },
}

/// What happens to the pair of an old connection and the one whose OPEN has just arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// No decision yet.
    Both,
    /// The old one goes, with Cease/7.
    CloseOld,
    /// The new one goes, with Cease/7.
    CloseNew,
    /// The old one goes without a word: the peer does not know it any more.
    ReplaceOld,
}

/// The direction of the connection that survives a collision.
pub(super) fn preferred(local: (Ipv4Addr, u32), remote: (Ipv4Addr, u32)) -> Direction {
    if local > remote { Direction::Outgoing } else { Direction::Incoming }
}

pub(super) fn rule(old: &Candidate, new: &Candidate, preferred: Direction) -> Ruling {
    match old.phase {
        Phase::Established { since, graceful_restart } => {
            if graceful_restart && new.opened > since {
                Ruling::ReplaceOld
            } else {
                Ruling::CloseNew
            }
        }
        // The same side dialled twice: it has given the older one up.
        _ if old.direction == new.direction => {
            if old.opened <= new.opened {
                Ruling::CloseOld
            } else {
                Ruling::CloseNew
            }
        }
        _ if new.direction == preferred => Ruling::CloseOld,
        Phase::OpenConfirm => Ruling::CloseNew,
        // The old one may win, but only if its OPEN ever comes.
        Phase::OpenSent => Ruling::Both,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn candidate(direction: Direction, opened: Instant, phase: Phase) -> Candidate {
        Candidate { direction, opened, phase }
    }

    #[test]
    fn larger_identifier_dials() {
        let id = Ipv4Addr::new;
        assert_eq!(preferred((id(10, 0, 0, 2), 1), (id(10, 0, 0, 1), 9)), Direction::Outgoing);
        assert_eq!(preferred((id(9, 255, 0, 2), 9), (id(10, 0, 0, 1), 1)), Direction::Incoming);
        assert_eq!(preferred((id(10, 0, 0, 1), 65001), (id(10, 0, 0, 1), 65002)), Direction::Incoming);
        assert_eq!(preferred((id(10, 0, 0, 1), 65002), (id(10, 0, 0, 1), 65001)), Direction::Outgoing);
    }

    #[test]
    fn collision_in_open_confirm_is_resolved_by_direction() {
        use Direction::{Incoming, Outgoing};
        let now = Instant::now();
        let old = candidate(Outgoing, now, Phase::OpenConfirm);
        let new = candidate(Incoming, now, Phase::OpenConfirm);
        assert_eq!(rule(&old, &new, Incoming), Ruling::CloseOld);
        assert_eq!(rule(&old, &new, Outgoing), Ruling::CloseNew);
        let waiting = candidate(Outgoing, now, Phase::OpenSent);
        assert_eq!(rule(&waiting, &new, Incoming), Ruling::CloseOld);
        assert_eq!(rule(&waiting, &new, Outgoing), Ruling::Both);
    }

    #[test]
    fn only_a_later_connection_replaces_a_session_and_only_with_graceful_restart() {
        use Direction::{Incoming, Outgoing};
        let start = Instant::now();
        let up = start + Duration::from_secs(1);
        let later = candidate(Incoming, start + Duration::from_secs(2), Phase::OpenConfirm);
        let earlier = candidate(Incoming, start, Phase::OpenConfirm);
        let session =
            |graceful_restart| candidate(Outgoing, start, Phase::Established { since: up, graceful_restart });
        for preferred in [Incoming, Outgoing] {
            assert_eq!(rule(&session(true), &later, preferred), Ruling::ReplaceOld);
            assert_eq!(rule(&session(true), &earlier, preferred), Ruling::CloseNew);
            assert_eq!(rule(&session(false), &later, preferred), Ruling::CloseNew);
        }
    }
}
