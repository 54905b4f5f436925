//! The system's clock.

use wdk_sys::ntddk;

/// Time since start in units of 100 ns; nobody can set it.
///
/// # IRQL
///
/// any
pub(crate) fn now_100ns() -> u64 {
    // The plain KeQueryInterruptTime is a macro over shared data in some headers, and no export.
    let mut counter = 0;
    // SAFETY: The routine reads the clock and writes the performance counter's value.
    unsafe { ntddk::KeQueryInterruptTimePrecise(&raw mut counter) }
}
