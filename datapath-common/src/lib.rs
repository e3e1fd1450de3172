//! The ABI between the XDP programs and their loader: map keys and values, the flow hash, verdict and counter ids.
//!
//! `no_std`, no I/O, compiled for the host and for BPF. Everything that decides where a packet goes is here as plain
//! functions, so that the host can predict what the kernel does. Multi-byte fields of packets are kept in network
//! order in byte arrays; integers are the machine's.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod checksum;
pub mod counters;
pub mod ecn;
pub mod hash;
pub mod limit;
pub mod outer;
pub mod wire;
