//! The address space.

use wdk_sys::PVOID;

#[link(name = "ntoskrnl")]
unsafe extern "C" {
    /// Where system space begins.
    static MmSystemRangeStart: PVOID;
}

/// Whether an address lies in system space. It may be unmapped.
pub(crate) fn is_system_address(address: usize) -> bool {
    // SAFETY: The variable is initialised before any driver runs, and never changes.
    let start = unsafe { MmSystemRangeStart };
    address >= start.addr()
}
