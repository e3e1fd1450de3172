//! TCP MD5 signatures, RFC 2385: `TCP_MD5SIG` for one address, `TCP_MD5SIG_EXT` for a prefix (linux/tcp.h).
//!
//! A key is set on the socket that dials *before* `connect`, and on every listening socket, whose children inherit
//! it. With a key in place the kernel drops segments that are not signed, or signed with another key
//! (counters TCPMD5NotFound, TCPMD5Unexpected, TCPMD5Failure).

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use crate::set::set;

/// Longest key, bytes (`TCP_MD5SIG_MAXKEYLEN`).
pub const MAX_KEY: usize = 80;

const TCP_MD5SIG: i32 = 14;
const TCP_MD5SIG_EXT: i32 = 32;
const FLAG_PREFIX: u8 = 1;

/// `struct tcp_md5sig` of linux/tcp.h; `address` is a `__kernel_sockaddr_storage` (128 bytes, aligned as a pointer).
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct TcpMd5Sig {
    address: [u8; 128],
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    interface: i32,
    key: [u8; MAX_KEY],
}

/// Signs segments to `address`, or to every address of `address/prefix_len`, with `key`, and demands the same of what
/// comes from there. The socket's family must be the address's.
///
/// # Errors
/// `InvalidInput` when the key is empty or longer than [`MAX_KEY`] or the prefix is too long; otherwise the kernel's
/// (`ENOPROTOOPT` without `CONFIG_TCP_MD5SIG`).
pub fn set_tcp_md5(fd: impl AsFd, address: IpAddr, prefix_len: Option<u8>, key: &[u8]) -> io::Result<()> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a TCP MD5 key has 1 to {MAX_KEY} bytes, this one {}", key.len()),
        ));
    }
    apply(fd, address, prefix_len, key)
}

/// Takes the key for `address` (or the prefix) away.
///
/// # Errors
/// `ENOENT` when there was none.
pub fn remove_tcp_md5(fd: impl AsFd, address: IpAddr, prefix_len: Option<u8>) -> io::Result<()> {
    apply(fd, address, prefix_len, &[])
}

fn apply(fd: impl AsFd, address: IpAddr, prefix_len: Option<u8>, key: &[u8]) -> io::Result<()> {
    let widest = if address.is_ipv4() { 32 } else { 128 };
    if prefix_len.is_some_and(|len| len > widest) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "prefix longer than the address"));
    }
    let mut request = TcpMd5Sig {
        address: sockaddr(address),
        flags: if prefix_len.is_some() { FLAG_PREFIX } else { 0 },
        prefix_len: prefix_len.unwrap_or(0),
        key_len: key.len() as u16,
        interface: 0,
        key: [0; MAX_KEY],
    };
    request.key[..key.len()].copy_from_slice(key);
    let option = if prefix_len.is_some() { TCP_MD5SIG_EXT } else { TCP_MD5SIG };
    set(fd.as_fd(), libc::IPPROTO_TCP, option, &request)
}

/// `sockaddr_in` or `sockaddr_in6` with port 0, in the bytes of a `sockaddr_storage`.
fn sockaddr(address: IpAddr) -> [u8; 128] {
    let mut bytes = [0; 128];
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u16;
    bytes[..2].copy_from_slice(&family.to_ne_bytes());
    match address {
        IpAddr::V4(v4) => bytes[4..8].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes[8..24].copy_from_slice(&v6.octets()),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_the_kernels() {
        assert_eq!(size_of::<TcpMd5Sig>(), 216);
        assert_eq!(std::mem::offset_of!(TcpMd5Sig, flags), 128);
        assert_eq!(std::mem::offset_of!(TcpMd5Sig, interface), 132);
        assert_eq!(std::mem::offset_of!(TcpMd5Sig, key), 136);
    }
}
