//! The gRPC services of vipcast: conversion between `vipcast.v1` and the model, error details, paging, watch streams,
//! reflection and health. What a call *does* is behind [`Control`]; the daemon implements it.
//!
//! Three things for that implementation are pure functions here: [`desired`] (a document becomes the model),
//! [`apply_one`] and [`apply_document`] (a change becomes the next whole configuration, checked), [`changes`] (what
//! differs, for people).

mod change;
pub mod control;
mod convert;
pub mod redact;
pub mod server;
mod status;

pub use change::changes;
pub use control::{Control, ControlError, Document, Kind, Resource, WatchEvent};
pub use convert::{Applied, apply_document, apply_one, desired, desired_update, normalized, users_of};
pub use server::{BindError, Listener, ServeError, serve_unix};
