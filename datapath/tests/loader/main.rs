//! The loader against the kernel: root, namespaces of the tests' own, veth pairs, real frames.

mod adopt;
mod decap;
mod forward;
mod node;
mod refuse;
mod wanted;
