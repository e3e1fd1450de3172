//! Routes, next hops, neighbours, addresses and the sysctls that DSR needs. The difference between wanted and real is
//! pure (`diff`, `resolve`, `probe`, `sysctl`); netlink and procfs are thin (`netlink`, `settings`); `worker` joins them.
//!
//! Owns only routes with its protocol id; anything else that stands in the way is a [`Conflict`] that names it. Works in
//! the network namespace of the calling process. Knows nothing of VIPs, services or backends.

mod diff;
pub mod manager;
mod mirror;
mod netlink;
mod probe;
mod resolve;
mod settings;
mod sysctl;
pub mod wanted;
mod worker;

pub use manager::{Error, Options, RouteManager};
pub use sysctl::Sysctls;
pub use wanted::{
    Conflict, NextHop, Observed, Resolution, ResolutionError, Route, RouteKey, RouteKind, Sysctl, Wanted,
};

/// Kernel route protocol id (rtm_protocol) of everything that vipcast installs.
pub const ROUTE_PROTOCOL: u8 = 175;
