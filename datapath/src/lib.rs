//! The XDP datapath seen from the host: rings and tables (pure), and the loader that keeps the pinned programs and
//! maps equal to what is wanted.
//!
//! The caller hands over the *whole* wanted set ([`Wanted`]); the loader reads the maps back and applies the difference.
//! Nothing here knows of health, BGP or the API.
//!
//! Without the default feature `loader` only the pure parts are built: no eBPF object, no system calls.

pub mod predict;
pub mod ring;
pub mod tables;
pub mod wanted;

pub use predict::{Flow, Model, Ring};
pub use tables::{Limits, PlanError};
pub use wanted::{
    Backend, BackendId, Egress, Forwarding, Ingress, PoolName, PoolSpec, Protocol, ServiceId, ServiceSpec,
    Undefined, VipSpec, Wanted,
};

#[cfg(feature = "loader")]
pub mod decap;
#[cfg(feature = "loader")]
pub mod loader;
#[cfg(feature = "loader")]
pub use decap::{Decap, DecapWanted};
#[cfg(feature = "loader")]
pub use loader::{AttachError, Datapath, Error, Found, Mode, Options, ReadBack, Stats};
