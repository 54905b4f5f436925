//! The system's clock.

/// Time since start in units of 100 ns; nobody can set it.
///
/// # IRQL
///
/// any
#[cfg(feature = "legacy")]
pub(crate) use legacy_nt::now_100ns;

/// Time since start in units of 100 ns; nobody can set it.
///
/// # IRQL
///
/// any
#[cfg(not(feature = "legacy"))]
pub(crate) fn now_100ns() -> u64 {
    // The plain KeQueryInterruptTime is a macro over shared data in some headers, and no export.
    let mut counter = 0;
    // SAFETY: The routine reads the clock and writes the performance counter's value.
    unsafe { wdk_sys::ntddk::KeQueryInterruptTimePrecise(&raw mut counter) }
}
