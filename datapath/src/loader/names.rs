//! Two maps that no program reads: whose the pools and backend records are. They are pinned beside the others, so that
//! names and indices live and die together.
#![allow(unsafe_code)]

use std::net::IpAddr;

use crate::tables::{POOL_NAME_MAX, PoolPlace};
use crate::{BackendId, PoolName};

/// Version of the layouts in this file: part of the name of the pin directory's `abi` record.
pub(crate) const HOST_LAYOUT: u32 = 1;
/// Hash pool id -> [`RawPool`].
pub(crate) const POOLS: &str = "POOLS";
/// Hash backend index -> [`RawIdentity`].
pub(crate) const IDENTITIES: &str = "IDENTITIES";

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawPool {
    ring_base: u32,
    backend_base: u32,
    ring_bits: u8,
    block_bits: u8,
    name_len: u16,
    name: [u8; POOL_NAME_MAX],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawIdentity {
    address: [u8; 16],
    /// 4 or 6.
    family: u8,
    pad: [u8; 7],
}

const _: () = assert!(size_of::<RawPool>() == 256 && size_of::<RawIdentity>() == 24);

// SAFETY: repr(C), Copy, without padding (sizes asserted), every bit pattern is valid.
unsafe impl aya::Pod for RawPool {}
// SAFETY: as above.
unsafe impl aya::Pod for RawIdentity {}

impl RawPool {
    /// The name must have at most [`POOL_NAME_MAX`] bytes; the rest of a longer one is cut off.
    pub(crate) fn from_place(place: &PoolPlace) -> Self {
        let bytes = place.name.0.as_bytes();
        let len = bytes.len().min(POOL_NAME_MAX);
        let mut name = [0; POOL_NAME_MAX];
        name[..len].copy_from_slice(&bytes[..len]);
        Self {
            ring_base: place.ring_base,
            backend_base: place.backend_base,
            ring_bits: place.ring_bits,
            block_bits: place.block_bits,
            name_len: len as u16,
            name,
        }
    }

    pub(crate) fn to_place(self) -> PoolPlace {
        let name = self.name.get(..self.name_len.into()).unwrap_or_default();
        PoolPlace {
            name: PoolName(String::from_utf8_lossy(name).into_owned()),
            ring_base: self.ring_base,
            ring_bits: self.ring_bits,
            backend_base: self.backend_base,
            block_bits: self.block_bits,
        }
    }
}

impl RawIdentity {
    pub(crate) fn from_id(id: BackendId) -> Self {
        let mut address = [0; 16];
        let family = match id.0 {
            IpAddr::V4(v4) => {
                address[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                address = v6.octets();
                6
            }
        };
        Self { address, family, pad: [0; 7] }
    }

    pub(crate) fn to_id(self) -> BackendId {
        let [a, b, c, d, ..] = self.address;
        BackendId(if self.family == 4 { IpAddr::from([a, b, c, d]) } else { IpAddr::from(self.address) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in ["web/ipip", "", &"x".repeat(POOL_NAME_MAX)] {
            let place = PoolPlace {
                name: PoolName(name.into()),
                ring_base: 16384,
                ring_bits: 14,
                backend_base: 256,
                block_bits: 8,
            };
            assert_eq!(RawPool::from_place(&place).to_place(), place);
        }
        for id in ["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            let id = BackendId(id.parse().expect("address"));
            assert_eq!(RawIdentity::from_id(id).to_id(), id);
        }
    }
}
