//! Blocks of nonpaged pool: where the engine's public structures and the data of a test live.

use alloc::vec::Vec;
use core::{mem::size_of, ptr::NonNull};

use wdk_sys::ntddk;

const TAG: u32 = u32::from_le_bytes(*b"Cnfm");

/// One nonpaged block that holds a `T`, plain old data. It is a block of its own, so that a bench with guard pages
/// sees every access past its end.
pub(crate) struct Block<T: Copy>(NonNull<T>);

// SAFETY: The block is plain memory; what is shared between threads is accessed volatile or while nobody else runs.
unsafe impl<T: Copy> Send for Block<T> {}
// SAFETY: As above.
unsafe impl<T: Copy> Sync for Block<T> {}

impl<T: Copy> Block<T> {
    /// A block of zeros.
    pub(crate) fn zeroed() -> Option<Self> {
        #[cfg(feature = "legacy")]
        let raw = legacy_nt::allocate(size_of::<T>(), TAG);
        // SAFETY: Callable at or below DISPATCH_LEVEL; the size is not zero.
        #[cfg(not(feature = "legacy"))]
        let raw = unsafe {
            ntddk::ExAllocatePool2(wdk_sys::POOL_FLAG_NON_PAGED, size_of::<T>() as u64, TAG)
        };
        NonNull::new(raw.cast()).map(Self)
    }

    /// A block whose bytes are all `byte`.
    pub(crate) fn filled(byte: u8) -> Option<Self> {
        let block = Self::zeroed()?;
        // SAFETY: The block has room for one `T` and is ours.
        unsafe { block.0.as_ptr().write_bytes(byte, 1) };
        Some(block)
    }

    /// A block that holds `value`.
    pub(crate) fn new(value: T) -> Option<Self> {
        let block = Self::zeroed()?;
        block.write(value);
        Some(block)
    }

    /// Its address.
    pub(crate) const fn ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// A copy of what it holds now.
    pub(crate) fn read(&self) -> T {
        // SAFETY: Ours, initialised; `T` is plain data which the engine may be changing: hence volatile.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// Overwrites it.
    pub(crate) fn write(&self, value: T) {
        // SAFETY: As for `read`.
        unsafe { self.0.as_ptr().write_volatile(value) };
    }

    /// Changes it.
    pub(crate) fn change(&self, body: impl FnOnce(&mut T)) {
        let mut value = self.read();
        body(&mut value);
        self.write(value);
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let start = self.0.as_ptr().cast::<u8>();
        (0..size_of::<T>())
            // SAFETY: Inside the block, which is initialised as a whole (padding included) by the zeroing allocation.
            .map(|offset| unsafe { start.wrapping_add(offset).read_volatile() })
            .collect()
    }

    /// Whether every byte is zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.bytes().iter().all(|&byte| byte == 0)
    }
}

impl<T: Copy> Drop for Block<T> {
    fn drop(&mut self) {
        // SAFETY: Allocated by `zeroed`, freed once.
        unsafe { ntddk::ExFreePoolWithTag(self.0.as_ptr().cast(), TAG) };
    }
}
