//! Detaching a pinned link now. Removing its pin would too, but the kernel does that work later, from a queue: a program
//! could still be attached when its pin is gone, and be in the way of the next.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// enum bpf_cmd (include/uapi/linux/bpf.h)
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The member of union bpf_attr for BPF_OBJ_GET.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The member of union bpf_attr for BPF_LINK_DETACH.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// Takes the link that is pinned at `path` off its interface; the pin stays, of a link to nothing.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    bpf(BPF_LINK_DETACH, &LinkDetach { link_fd: link.as_raw_fd() as u32 }).map(drop)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    let fd = bpf(BPF_OBJ_GET, &attr)?;
    // SAFETY: the call returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `attr` must be the member of union bpf_attr that the command reads.
fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes at `attr`, which lives through the call; the commands above write
    // nothing to memory, and the path that one of them names is a C string that its caller holds.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
