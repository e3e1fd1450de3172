//! Realising a topology on this machine: one network, mount, PID and UTS namespace per node, veth pairs created straight
//! into them, and everything written down so that it can be taken away again.
//!
//! A node is held by a process of its own, the PID 1 of its PID namespace ([`holder`]). It lives as long as the runner
//! holds a pipe to it, so that even a killed runner leaves no process behind; [`teardown`] removes the rest by the
//! [`journal`]. Nothing is ever looked up by process name.

pub mod holder;
pub mod interrupt;
pub mod journal;
pub mod lab;
mod layer;
mod links;
pub mod lock;
pub mod mounts;
pub mod node;
pub mod place;
pub mod process;
mod stage;
pub mod teardown;

pub use lab::{Lab, Options};
pub use node::Node;
pub use place::Place;
pub use stage::Edit;
