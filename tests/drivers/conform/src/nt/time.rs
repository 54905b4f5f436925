//! Intervals and the clock. Time may be virtual: nothing here assumes that it passes by itself.

use wdk_sys::LARGE_INTEGER;

use super::{irql, sim};

/// 100 ns units in one second.
pub(crate) const SECOND: i64 = 10_000_000;

/// Longest that a helper waits for something the engine must do: far past its own 10 s and 30 s deadlines.
pub(crate) const PATIENCE: i64 = 120 * SECOND;

/// No limit. What hangs then is reported where it hangs, by a kernel that can tell.
pub(crate) const FOREVER: i64 = i64::MAX;

/// A relative time-out in the form that waits take.
pub(crate) fn relative(interval: i64) -> LARGE_INTEGER {
    LARGE_INTEGER {
        QuadPart: interval.saturating_neg(),
    }
}

/// Interrupt time in 100 ns units, where the kernel exports it.
pub(crate) fn now() -> Option<i64> {
    type Query = extern "system" fn() -> u64;
    debug_assert!(irql::current() == irql::PASSIVE);
    let routine = sim::routine("KeQueryInterruptTime")?;
    // SAFETY: The documented prototype of KeQueryInterruptTime; exported by name.
    let query = unsafe { core::mem::transmute::<*mut core::ffi::c_void, Query>(routine) };
    i64::try_from(query()).ok()
}
