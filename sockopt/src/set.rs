//! `setsockopt` for one plain value.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Hands `value` to `setsockopt(fd, level, name)`. `T` must be what the kernel expects for that option.
pub(crate) fn set<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it and
    // refuses a length that it does not know.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
