//! Ring words through shared memory: one atomic store a slot instead of a system call, and a whole ring read at once.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Elements of a BPF array lie 8 bytes apart at least (kernel/bpf/arraymap.c, `elem_size`).
const STRIDE: usize = 2;

/// An mmap-able array of u32, mapped.
#[derive(Debug)]
pub(super) struct Words {
    start: NonNull<AtomicU32>,
    /// Number of words of the map.
    len: u32,
}

// SAFETY: the mapping belongs to the value, stays until it is dropped, and is accessed by atomic operations only.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps an array of `len` u32 values that was made with BPF_F_MMAPABLE.
    pub(super) fn map(fd: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        // SAFETY: a new shared mapping of a map's memory at an address of the kernel's choice; nothing else is touched.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes(len),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len })
    }

    pub(super) fn load(&self, at: u32) -> Option<u32> {
        Some(self.word(at)?.load(Ordering::Relaxed))
    }

    /// Stores a word; the stores before it are seen first. False when it lies outside the map.
    pub(super) fn store(&self, at: u32, value: u32) -> bool {
        self.word(at).map(|word| word.store(value, Ordering::Release)).is_some()
    }

    fn word(&self, at: u32) -> Option<&AtomicU32> {
        if at >= self.len {
            return None;
        }
        // SAFETY: `at` is below the number of elements that were mapped; an element is aligned to 8 bytes.
        Some(unsafe { self.start.add(at as usize * STRIDE).as_ref() })
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `map` mapped; no reference to it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes(self.len)) };
    }
}

fn bytes(len: u32) -> usize {
    len as usize * STRIDE * size_of::<AtomicU32>()
}
