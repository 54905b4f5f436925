//! Pool with the flags of Windows 10, version 2004. The blocks are Wine's.

use core::ptr;

use wdk_sys::{
    _POOL_TYPE::{NonPagedPoolNx, PagedPool},
    POOL_FLAG_NON_PAGED, POOL_FLAG_NON_PAGED_EXECUTE, POOL_FLAG_PAGED, POOL_FLAG_UNINITIALIZED,
    POOL_TYPE, PVOID, SIZE_T, ULONG, ntddk,
};

// Not in the bindings: Windows has replaced it by the routine below, which Wine lacks.
#[link(name = "ntoskrnl")]
unsafe extern "C" {
    fn ExAllocatePoolWithTag(kind: POOL_TYPE, bytes: SIZE_T, tag: ULONG) -> PVOID;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExAllocatePool2(flags: u64, bytes: SIZE_T, tag: ULONG) -> PVOID {
    let kind = match flags & (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED) {
        POOL_FLAG_PAGED => PagedPool,
        0 => return ptr::null_mut(),
        _ => NonPagedPoolNx,
    };
    let Ok(length) = usize::try_from(bytes) else {
        return ptr::null_mut();
    };
    // SAFETY: Forwarded.
    let block = unsafe { ExAllocatePoolWithTag(kind, bytes, tag) };
    if !block.is_null() && flags & POOL_FLAG_UNINITIALIZED == 0 {
        // SAFETY: The block is new and has this many bytes.
        unsafe { ptr::write_bytes(block.cast::<u8>(), 0, length) };
    }
    block
}

/// A nonpaged block; null without memory.
pub(crate) fn allocate(bytes: usize, tag: ULONG) -> PVOID {
    // SAFETY: The flags name one pool.
    unsafe { shim_ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes as u64, tag) }
}

/// A zeroed block with room for a `T`.
pub(crate) fn zeroed<T>(tag: ULONG) -> *mut T {
    allocate(size_of::<T>(), tag).cast()
}

/// Gives a block back.
///
/// # Safety
///
/// The block is one of [`zeroed`], and nobody uses it any more.
pub(crate) unsafe fn free<T>(block: *mut T) {
    // SAFETY: Forwarded.
    unsafe { ntddk::ExFreePoolWithTag(block.cast(), 0) };
}
