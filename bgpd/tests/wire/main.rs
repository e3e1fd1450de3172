//! The codec: hand-made vectors, round trips of generated messages, hostile input, and another implementation as
//! oracle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod differential;
mod hostile;
mod round_trip;
mod samples;
mod vectors;
mod verdicts;
