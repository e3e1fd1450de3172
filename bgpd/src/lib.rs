//! A BGP speaker as a library. The pure core (`wire`, `fsm`, `rib`, `export`) takes events and a clock and returns
//! actions; the `driver` (feature of the same name) owns sockets, timers and its own thread.
//!
//! The caller hands over the *whole* wanted state ([`Wanted`]); the speaker works out what to send to whom. The way of a
//! change: [`export::Table`] (one, shared) says which prefixes differ; each established session's [`rib::AdjRibOut`]
//! turns that into what this peer has yet to hear, and writes it into UPDATEs ([`wire::Packer`]) when its socket takes
//! them. The way of a received byte: [`wire::Framer`], [`wire::Message`], [`fsm::Peer`]; received routes are counted
//! and forgotten (RFC 8212). Cardinalities: one [`fsm::Peer`] for each neighbour, at most three connections in it, at
//! most one session, one adj-RIB-out for each session.

pub mod config;
pub mod export;
pub mod fsm;
pub mod rib;
pub mod status;
pub mod wire;

pub use config::{
    Community, LargeCommunity, PeerConfig, RouteAttributes, SpeakerConfig, Timers, Wanted, WantedRoute,
};
pub use status::{PeerState, PeerStatus, RouteStatus, SpeakerStatus};

#[cfg(feature = "driver")]
pub mod driver;
