//! The state machine of one peer (RFC 4271 8), without any I/O: [`Peer`] takes an [`Event`] and the time and returns
//! [`Action`]s; the driver owns the sockets.
//!
//! A peer may have several TCP connections at once: one established, one that it dialled, one that we dialled. Each
//! runs the states from OpenSent on in a [`connection`]; [`Peer`] is the arbiter above them, which resolves collisions
//! (RFC 4271 6.8, RFC 6286 2.3, RFC 4724 4.2) and owns the states before there is a connection: Idle, Connect, Active.
//! Randomness comes from a seed, so a recorded session can be replayed.

mod arbiter;
mod connection;
mod event;
mod import;
mod negotiate;
mod peer;
mod retry;

pub use event::{Action, ConnectionId, Direction, Event, Stop};
pub use import::Import;
pub use negotiate::{Negotiated, Settings};
pub use peer::Peer;
