//! Bounds-checked access to the bytes of a frame.
//!
//! A [`Window`] is a checked range of constant length: reads and writes inside it are checked at compile time, and it
//! borrows the frame, so that none survives a move of the frame's head or tail (the kernel's verifier would refuse
//! such a use; here it does not compile).

use core::arch::asm;
use core::marker::PhantomData;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};

/// The frame that the program was called for.
pub(crate) struct Frame {
    ctx: *mut xdp_md,
}

/// The kernel refused to move the head or tail of the frame.
pub(crate) struct Refused;

impl Frame {
    #[inline(always)]
    pub(crate) fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    fn data(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context for the whole run.
        unsafe { (*self.ctx).data as usize }
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        // SAFETY: as in `data`.
        unsafe { (*self.ctx).data_end as usize }
    }

    /// Length of the frame in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.data_end() - self.data()
    }

    #[inline(always)]
    pub(crate) fn ingress_ifindex(&self) -> u32 {
        // SAFETY: as in `data`.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    /// `N` bytes from `offset` on, if the frame has them. `offset` must be small: the verifier follows it to 64 KiB.
    #[inline(always)]
    pub(crate) fn window<const N: usize>(&self, offset: usize) -> Option<Window<'_, N>> {
        let start = advance(self.data(), offset);
        if start + N > self.data_end() {
            return None;
        }
        Some(Window { start: start as *mut u8, frame: PhantomData })
    }

    /// Moves the start of the frame: negative values make room in front.
    #[inline(always)]
    pub(crate) fn move_head(&mut self, delta: i32) -> Result<(), Refused> {
        // SAFETY: the context is valid; no window is alive, since this borrows the frame exclusively.
        if unsafe { bpf_xdp_adjust_head(self.ctx, delta) } == 0 { Ok(()) } else { Err(Refused) }
    }

    /// Moves the end of the frame: negative values cut bytes off.
    #[inline(always)]
    pub(crate) fn move_tail(&mut self, delta: i32) -> Result<(), Refused> {
        // SAFETY: as in `move_head`.
        if unsafe { bpf_xdp_adjust_tail(self.ctx, delta) } == 0 { Ok(()) } else { Err(Refused) }
    }
}

/// `base + offset`, as an address that the compiler cannot compute a second time: the verifier knows the checked range
/// of one register, not that another sum of the same terms is the same address.
#[inline(always)]
fn advance(base: usize, offset: usize) -> usize {
    let mut address = base;
    // SAFETY: one addition.
    unsafe {
        asm!("{address} += {offset}", address = inout(reg) address, offset = in(reg) offset,
            options(pure, nomem, nostack))
    };
    address
}

/// `N` bytes of a frame that are known to be there.
#[derive(Clone, Copy)]
pub(crate) struct Window<'f, const N: usize> {
    start: *mut u8,
    frame: PhantomData<&'f Frame>,
}

/// What packets are read and written in, as it lies in memory.
pub(crate) trait Raw: Copy {}
impl Raw for u8 {}
impl Raw for u16 {}
impl Raw for u32 {}
impl Raw for u64 {}
impl Raw for [u8; 4] {}
impl Raw for [u8; 16] {}

impl<const N: usize> Window<'_, N> {
    /// The integer at `AT`, in memory (network) order.
    #[inline(always)]
    pub(crate) fn get<T: Raw, const AT: usize>(self) -> T {
        const { assert!(AT + size_of::<T>() <= N) };
        // SAFETY: in bounds by the assertion and the window's own check. BPF loads have no alignment requirement
        // where the kernel has efficient unaligned access; elsewhere the verifier refuses the program.
        unsafe { self.start.add(AT).cast::<T>().read() }
    }

    /// Writes an integer that is in memory (network) order.
    #[inline(always)]
    pub(crate) fn put<T: Raw, const AT: usize>(self, value: T) {
        const { assert!(AT + size_of::<T>() <= N) };
        // SAFETY: as in `get`; the program is the only one that touches the frame while it runs.
        unsafe { self.start.add(AT).cast::<T>().write(value) }
    }

    #[inline(always)]
    pub(crate) fn u8<const AT: usize>(self) -> u8 {
        self.get::<u8, AT>()
    }

    /// The big-endian 16-bit value at `AT`.
    #[inline(always)]
    pub(crate) fn be16<const AT: usize>(self) -> u16 {
        u16::from_be(self.get::<u16, AT>())
    }

    #[inline(always)]
    pub(crate) fn put_be16<const AT: usize>(self, value: u16) {
        self.put::<u16, AT>(value.to_be())
    }

    /// The 16 bytes of an IPv6 address at `AT`, as two halves in memory order.
    #[inline(always)]
    pub(crate) fn addr6<const AT: usize, const LOW: usize>(self) -> [u64; 2] {
        const { assert!(LOW == AT + 8) };
        [self.get::<u64, AT>(), self.get::<u64, LOW>()]
    }

    #[inline(always)]
    pub(crate) fn put_addr6<const AT: usize, const LOW: usize>(self, value: [u64; 2]) {
        const { assert!(LOW == AT + 8) };
        self.put::<u64, AT>(value[0]);
        self.put::<u64, LOW>(value[1]);
    }
}
