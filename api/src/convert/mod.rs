//! `vipcast.v1` to the model. Every violation of a document is found in one pass and carries the path of its field in
//! that document: `pools[2].spec.backends[0].address`. The daemon stores the proto as the user wrote it, so nothing is
//! converted back.

mod document;
mod fields;
mod peer;
mod pool;
mod route;
mod service;
mod vip;

pub use document::{Applied, apply_document, apply_one, desired, desired_update, normalized, users_of};
pub(crate) use document::{Stored, name_of};
