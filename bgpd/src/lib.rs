//! A BGP speaker as a library. The pure core (`wire`, `fsm`, `rib`, `export`) takes events and a clock and returns
//! actions; the `driver` (feature of the same name) owns sockets, timers and its own thread.
//!
//! The caller hands over the *whole* wanted state ([`Wanted`]); the speaker works out what to send to whom.

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
