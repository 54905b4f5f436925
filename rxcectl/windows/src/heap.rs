//! The allocator: the heap that every process has.

use core::{
    alloc::{GlobalAlloc, Layout},
    ptr,
};

use windows_sys::Win32::System::Memory::{GetProcessHeap, HeapAlloc, HeapFree, HeapReAlloc};

/// `HeapAlloc` aligns to this on 64-bit systems (MEMORY_ALLOCATION_ALIGNMENT).
const ALIGNMENT: usize = 16;

/// The process heap. It refuses alignments beyond its own; nothing here asks for one.
pub(crate) struct ProcessHeap;

// SAFETY: The heap hands out blocks that are its caller's alone, aligned to `ALIGNMENT`; it serialises its callers.
unsafe impl GlobalAlloc for ProcessHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGNMENT {
            return ptr::null_mut();
        }
        // SAFETY: No requirements.
        let heap = unsafe { GetProcessHeap() };
        // SAFETY: The process's own heap.
        unsafe { HeapAlloc(heap, 0, layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: No requirements.
        let heap = unsafe { GetProcessHeap() };
        // SAFETY: The block came from `alloc`, by the contract of this method.
        unsafe { HeapFree(heap, 0, block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, _layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: No requirements.
        let heap = unsafe { GetProcessHeap() };
        // SAFETY: The block came from `alloc`, by the contract of this method. The alignment stays what it was: that of
        // every block of this heap.
        unsafe { HeapReAlloc(heap, 0, block.cast(), size) }.cast()
    }
}
