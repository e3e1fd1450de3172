//! Routes, next hops, neighbours, addresses and the sysctls that DSR needs. The difference between wanted and real is
//! pure (`diff`); netlink and procfs are thin (`netlink`, `sysctl`).
//!
//! Owns only routes with its protocol id; anything else that stands in the way is a [`Conflict`] that names it.

pub mod manager;
pub mod wanted;

pub use manager::{Error, Options, RouteManager};
pub use wanted::{
    Conflict, NextHop, Observed, Resolution, ResolutionError, Route, RouteKey, RouteKind, Sysctl, Wanted,
};

/// Kernel route protocol id (rtm_protocol) of everything that vipcast installs.
pub const ROUTE_PROTOCOL: u8 = 175;
