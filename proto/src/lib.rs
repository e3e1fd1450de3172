//! `vipcast.v1`: types, clients and servers generated from the .proto sources beside this file. No logic.

/// Package `vipcast.v1`.
pub mod v1 {
    #![allow(clippy::all, unreachable_pub, unused_qualifications, missing_docs)]
    tonic::include_proto!("vipcast.v1");
}

/// Encoded `FileDescriptorSet` of everything above with its imports, for reflection and for JSON / YAML documents.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vipcast.v1.bin"));
