//! The traffic of the labs: a server that says its name and checks what it gets, and a client that keeps its source
//! ports, checks every byte and measures every stall.
//!
//! Both run inside nodes as hidden subcommands of `vipcast-lab`. A client gets its job as one JSON argument
//! ([`job::Job`]) and prints its results as JSON, so that a check never parses text.

pub mod client;
pub mod drive;
pub mod job;
mod pattern;
pub mod server;
mod stream;
mod wire;
