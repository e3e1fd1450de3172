//! The driver over loopback, sockets and threads included: two speakers, and speakers against a peer made by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod exchange;
mod puppet;
mod restart;
mod trouble;
