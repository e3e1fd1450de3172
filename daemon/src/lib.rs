//! vipcastd as a library: what the binary is put together from, for its own tests.

pub mod conditions;
pub mod config;
pub mod control;
pub mod engine;
pub mod mechanism;
pub mod plan;
pub mod resource;
pub mod restart;
pub mod store;
