//! Waiting until no XDP program runs that began before now.
#![allow(unsafe_code)]

use std::time::Duration;

/// Longer than any softirq run: what a kernel without the system call gets.
const FALLBACK: Duration = Duration::from_millis(50);

/// Returns after an RCU grace period. XDP programs run inside RCU read sections, so every program that is running when
/// this is called has ended when it returns. `membarrier(MEMBARRIER_CMD_GLOBAL)` is `synchronize_rcu` (kernel/sched/membarrier.c).
pub(super) fn period() {
    // SAFETY: a system call without pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        std::thread::sleep(FALLBACK);
    }
}
