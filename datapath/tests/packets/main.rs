//! The loaded XDP programs, driven with real packet bytes through `BPF_PROG_TEST_RUN`: one file for each path of a
//! packet. What leaves is compared byte for byte with packets that an independent builder made, and every checksum is
//! summed from scratch. Needs root and the object that `cargo xtask ebpf` builds.
#![allow(unreachable_pub, clippy::unwrap_used)]

mod choice;
mod decap;
mod echo;
mod errors;
mod forward;
mod headers;
mod rig;
mod scene;
mod too_big;
mod truncated;
mod undefined;
mod wire;
