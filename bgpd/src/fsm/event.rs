//! What goes into the state machine of a peer, and what comes out.

use std::sync::Arc;

use super::negotiate::{Negotiated, Settings};
use crate::status::PeerState;
use crate::wire::{Family, Notification};

/// Names a connection between driver and state machine; the driver chooses it, never twice the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer dialled.
    Incoming,
    /// We dialled.
    Outgoing,
}

/// What happens to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// Let the session come up.
    Start,
    /// Take it down and keep it down.
    Stop(Stop),
    /// The peer's or our own configuration changed. A change of what an OPEN says resets the session.
    Configure(Settings),
    /// A TCP connection is there.
    Connected(ConnectionId, Direction),
    /// The attempt that [`Action::Dial`] asked for came to nothing.
    DialFailed(String),
    Received(ConnectionId, &'a [u8]),
    /// The connection is gone: the peer closed it, or an error did.
    Closed(ConnectionId, String),
    /// End-of-RIB was sent for every family of the session.
    EndOfRibSent,
    /// [`Peer::next_timeout`] has come.
    Timeout,
}

/// How a session is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Without a word, so that a peer with graceful restart keeps our routes.
    Silent,
    Notify(Notification),
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Dial,
    /// Forget the attempt under way; no event follows.
    CancelDial,
    Send(ConnectionId, Vec<u8>),
    /// Close once what was sent has left. No `Closed` event follows.
    Close(ConnectionId),
    /// The session is established: send the routes.
    Up(ConnectionId, Arc<Negotiated>),
    /// The session is over.
    Down(String),
    /// The peer wants a family again.
    Refresh(Family),
    /// The state changed, for the log and the status.
    State {
        old: PeerState,
        new: PeerState,
        reason: String,
    },
    /// An attempt or a session ended for this reason, in an operator's words.
    Failed(String),
}
