//! Counters. All are per-CPU, so a plain addition does: XDP programs are not preempted by each other on a CPU.

use datapath_common::abi::Traffic;
use datapath_common::counters::{
    DECAP_COUNTERS, DecapCounter, DropReason, IFACE_COUNTERS, IfaceCounter, VIP_COUNTERS,
};

use crate::maps::{BACKEND_STATS, DECAP_STATS, IFACE_STATS, SERVICE_STATS, VIP_STATS};

/// This CPU's counters of the ingress interface.
#[derive(Clone, Copy)]
pub(crate) struct IfaceStats(*mut [u64; IFACE_COUNTERS]);

impl IfaceStats {
    #[inline(always)]
    pub(crate) fn of(slot: u32) -> Option<Self> {
        IFACE_STATS.get_ptr_mut(slot).map(Self)
    }

    #[inline(always)]
    pub(crate) fn count(self, counter: IfaceCounter) {
        self.add(counter as usize);
    }

    #[inline(always)]
    pub(crate) fn count_drop(self, reason: DropReason) {
        self.add(IfaceCounter::FirstDrop as usize + opaque(reason));
    }

    #[inline(always)]
    fn add(self, at: usize) {
        if at < IFACE_COUNTERS {
            // SAFETY: in bounds; the value lives as long as the map, and only this CPU writes it.
            unsafe { *self.0.cast::<u64>().add(at) += 1 };
        }
    }
}

/// Adds one to a drop counter of a VIP.
#[inline(always)]
pub(crate) fn count_vip_drop(vip: u32, reason: DropReason) {
    count_vip(vip, opaque(reason));
}

/// Adds one to counter `at` of a VIP.
#[inline(always)]
pub(crate) fn count_vip(vip: u32, at: usize) {
    if at < VIP_COUNTERS
        && let Some(stats) = VIP_STATS.get_ptr_mut(vip)
    {
        // SAFETY: in bounds; see `IfaceStats::add`.
        unsafe { *stats.cast::<u64>().add(at) += 1 };
    }
}

/// Adds one to a counter of the decapsulation program.
#[inline(always)]
pub(crate) fn count_decap(counter: DecapCounter) {
    let at = core::hint::black_box(counter as usize);
    if at < DECAP_COUNTERS
        && let Some(stats) = DECAP_STATS.get_ptr_mut(0)
    {
        // SAFETY: in bounds; see `IfaceStats::add`.
        unsafe { *stats.cast::<u64>().add(at) += 1 };
    }
}

/// The number of a reason, without the compiler's knowledge of its range: it would drop the bounds check, and the
/// verifier, which does not know the enum, would refuse the program.
#[inline(always)]
fn opaque(reason: DropReason) -> usize {
    core::hint::black_box(reason as usize)
}

/// Counts a packet of `bytes` for a service and the backend that it goes to.
#[inline(always)]
pub(crate) fn count_traffic(service: u32, backend: u32, bytes: u64) {
    add(SERVICE_STATS.get_ptr_mut(service), bytes);
    add(BACKEND_STATS.get_ptr_mut(backend), bytes);
}

#[inline(always)]
fn add(traffic: Option<*mut Traffic>, bytes: u64) {
    if let Some(traffic) = traffic {
        // SAFETY: a map value of this CPU; see `IfaceStats::add`.
        unsafe {
            (*traffic).packets += 1;
            (*traffic).bytes += bytes;
        }
    }
}
