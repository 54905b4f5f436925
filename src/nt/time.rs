//! The system's clock.

use wdk_sys::ntddk;

/// Time since start in units of 100 ns; nobody can set it.
///
/// # IRQL
///
/// any
pub(crate) fn now_100ns() -> u64 {
    // SAFETY: KeQueryInterruptTime only reads a counter.
    unsafe { ntddk::KeQueryInterruptTime() }
}
