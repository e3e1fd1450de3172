//! The state machine on a virtual clock: two of them through byte pipes, and one against a script.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod chaos;
mod pairs;
mod restart;
mod script;
mod world;
