//! What the drivers' form for old kernels (the feature `legacy`) uses in the place of routines that came after Windows
//! Server 2003 x64. No image that ships has it.
//!
//! Pool is allocated with `ExAllocatePoolWithTag` and zeroed here, as `ExAllocatePool2` does; the time comes from the
//! performance counter; the stack is probed by a routine of our own, since no public source says when kernels began to export
//! `__chkstk`.

#![no_std]

mod probe;

use core::{
    alloc::{GlobalAlloc, Layout},
    ptr,
};

use wdk_sys::{_POOL_TYPE::NonPagedPool, LARGE_INTEGER, POOL_TYPE, PVOID, ntddk};

#[link(name = "ntoskrnl")]
unsafe extern "C" {
    // wdk-sys leaves it out, as deprecated.
    fn ExAllocatePoolWithTag(pool: POOL_TYPE, bytes: u64, tag: u32) -> PVOID;
}

// Those kernels have it in hal.dll, which every later Windows forwards.
#[link(name = "hal.dll", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    fn KeQueryPerformanceCounter(frequency: *mut LARGE_INTEGER) -> LARGE_INTEGER;
}

/// Allocates zeroed nonpaged memory; NULL without memory.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
#[must_use]
pub fn allocate(bytes: usize, tag: u32) -> PVOID {
    // SAFETY: Callable at this level for nonpaged pool. There is no pool without execution in those kernels.
    let block = unsafe { ExAllocatePoolWithTag(NonPagedPool, bytes as u64, tag) };
    if !block.is_null() {
        // SAFETY: The block is ours, and as long as was asked for.
        unsafe { ptr::write_bytes(block.cast::<u8>(), 0, bytes) };
    }
    block
}

/// The time since some moment before the driver was loaded, in units of 100 ns; nobody can set it.
///
/// # IRQL
///
/// any
#[must_use]
pub fn now_100ns() -> u64 {
    const SECOND: u64 = 10_000_000;
    let mut frequency = LARGE_INTEGER::default();
    // SAFETY: The routine reads the counter, and writes the frequency to the variable.
    let counter = unsafe { KeQueryPerformanceCounter(&raw mut frequency) };
    // SAFETY: Both are written as a whole.
    let counter = unsafe { counter.QuadPart }.unsigned_abs();
    // SAFETY: As above.
    let frequency = unsafe { frequency.QuadPart }.unsigned_abs().max(1);
    // Whole seconds first: the product of both does not fit.
    let seconds = counter.checked_div(frequency).unwrap_or(0);
    let rest = counter.checked_rem(frequency).unwrap_or(0);
    let fraction = rest.saturating_mul(SECOND).checked_div(frequency);
    seconds
        .saturating_mul(SECOND)
        .saturating_add(fraction.unwrap_or(0))
}

/// The global allocator, as `wdk_alloc::WdkAllocator` is one for newer kernels.
pub struct Allocator;

/// The tag that `wdk-alloc` uses.
const TAG: u32 = u32::from_le_bytes(*b"rust");

// SAFETY: Pool is aligned to 16 bytes, which is what is asked for at most, and a block stays ours until it is freed.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 16 {
            return ptr::null_mut();
        }
        allocate(layout.size(), TAG).cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: Forwarded: the block is one of `alloc`.
        unsafe { ntddk::ExFreePoolWithTag(block.cast(), TAG) };
    }
}
