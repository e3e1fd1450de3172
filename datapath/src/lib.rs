//! The XDP datapath seen from the host: rings and tables (pure), and the loader that keeps the pinned programs and
//! maps equal to what is wanted.
//!
//! The caller hands over the *whole* wanted set ([`Wanted`]); the loader reads the maps back and applies the difference.
//! Nothing here knows of health, BGP or the API.

pub mod ring;
pub mod wanted;

pub use wanted::{
    Backend, BackendId, Egress, Forwarding, Ingress, PoolName, PoolSpec, Protocol, ServiceId, ServiceSpec,
    Undefined, VipSpec, Wanted,
};

pub mod decap;
pub mod loader;
pub use decap::{Decap, DecapWanted};
pub use loader::{Datapath, Error, Found, Limits, Mode, Options, ReadBack, Stats};
