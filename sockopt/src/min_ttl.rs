//! The generalised TTL security mechanism, RFC 5082: the kernel drops segments whose TTL (hop limit) is below a
//! minimum (`IP_MINTTL`, `IPV6_MINHOPCOUNT`; counter TCPMinTTLDrop). On a listening socket it would bind all peers
//! alike, so set it on the socket of one session.

use std::io;
use std::os::fd::AsFd;

use crate::set::set;

const IP_MINTTL: i32 = 21;
const IPV6_MINHOPCOUNT: i32 = 73;

/// Address family of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// Drops what arrives with a TTL below `ttl`; 0 accepts everything.
///
/// # Errors
/// The kernel's, `ENOPROTOOPT` when `family` is not the socket's.
pub fn set_min_ttl(fd: impl AsFd, family: Family, ttl: u8) -> io::Result<()> {
    let value = i32::from(ttl);
    match family {
        Family::V4 => set(fd.as_fd(), libc::IPPROTO_IP, IP_MINTTL, &value),
        Family::V6 => set(fd.as_fd(), libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, &value),
    }
}
