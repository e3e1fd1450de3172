//! vipcastd as a library: what the binary is put together from, for its own tests.

pub mod conditions;
pub mod config;
pub mod control;
pub mod detach;
pub mod engine;
pub mod lock;
pub mod mechanism;
pub mod plan;
pub mod realserver;
pub mod resource;
pub mod restart;
pub mod run;
pub mod store;
pub mod watchdog;

#[cfg(test)]
pub(crate) mod testing;
