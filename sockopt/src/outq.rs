//! What of the sent bytes is still on its way: `SIOCOUTQ` (tcp(7)), bytes in the send queue that the peer's TCP has
//! not acknowledged. 0 after a withdraw means that the router has it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Unacknowledged bytes of a TCP socket.
///
/// # Errors
/// The kernel's, `EINVAL` on a listening socket.
pub fn unacknowledged_bytes(fd: impl AsFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int to the given address, which is valid for it.
    let answer = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if answer == 0 { Ok(bytes.max(0) as u32) } else { Err(io::Error::last_os_error()) }
}
