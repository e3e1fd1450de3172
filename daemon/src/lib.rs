//! vipcastd as a library: what the binary is put together from, for its own tests.

pub mod config;
pub mod plan;
pub mod resource;
pub mod store;
