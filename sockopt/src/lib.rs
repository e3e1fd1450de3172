//! The few socket options that neither `std` nor `socket2` has: TCP MD5 keys (RFC 2385), the minimum TTL of received
//! packets (RFC 5082) and the number of sent bytes that the peer has not acknowledged.
//!
//! Every function is safe: it borrows the descriptor ([`AsFd`](std::os::fd::AsFd)) and hands the kernel a value that
//! lives for the length of the call. Linux only.

#![allow(unsafe_code)]

mod md5;
mod min_ttl;
mod outq;
mod set;

pub use md5::{MAX_KEY, remove_tcp_md5, set_tcp_md5};
pub use min_ttl::{Family, set_min_ttl};
pub use outq::unacknowledged_bytes;
