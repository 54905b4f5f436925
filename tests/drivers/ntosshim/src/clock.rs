//! The clock, which is faster than the real one: deadlines of 10 and 30 seconds are waited for in reasonable time. What drivers read
//! and what they wait for is one clock, as it is in Windows.

use wdk_sys::{
    BOOLEAN, KPROCESSOR_MODE, KWAIT_REASON, LARGE_INTEGER, NTSTATUS, PLARGE_INTEGER, PVOID, ntddk,
};

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "C" {
    fn QueryPerformanceCounter(counter: *mut i64) -> i32;
    fn QueryPerformanceFrequency(frequency: *mut i64) -> i32;
}

/// Seconds of this clock in a real one.
const SPEED: i64 = 10;
/// Units of 100 ns in a second.
const UNITS: i128 = 10_000_000;

/// Interrupt time, and the performance counter.
fn now() -> (u64, u64) {
    let (mut now, mut frequency) = (0, 0);
    // SAFETY: A local.
    unsafe { QueryPerformanceCounter(&raw mut now) };
    // SAFETY: A local.
    unsafe { QueryPerformanceFrequency(&raw mut frequency) };
    let units = i128::from(now)
        .saturating_mul(UNITS)
        .saturating_mul(i128::from(SPEED))
        .checked_div(i128::from(frequency));
    let units = u64::try_from(units.unwrap_or_default()).unwrap_or(u64::MAX);
    (units, now.cast_unsigned())
}

/// A relative time-out in Wine's time; absolute ones stay as they are. Rounded up: no wait ends early.
///
/// # Safety
///
/// `timeout` is null or valid.
unsafe fn real(timeout: PLARGE_INTEGER) -> Option<LARGE_INTEGER> {
    if timeout.is_null() {
        return None;
    }
    // SAFETY: Forwarded.
    let given = unsafe { *timeout };
    // SAFETY: The whole of the number.
    let units = unsafe { given.QuadPart };
    if units >= 0 {
        return Some(given);
    }
    // Division rounds towards zero: one unit more.
    let shorter = units.wrapping_div(SPEED).wrapping_sub(1);
    Some(LARGE_INTEGER { QuadPart: shorter })
}

#[unsafe(no_mangle)]
extern "C" fn shim_KeQueryInterruptTime() -> u64 {
    now().0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeQueryInterruptTimePrecise(counter: *mut u64) -> u64 {
    let (units, ticks) = now();
    // SAFETY: The caller's variable.
    unsafe { counter.write(ticks) };
    units
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeWaitForSingleObject(
    object: PVOID,
    reason: KWAIT_REASON,
    mode: KPROCESSOR_MODE,
    alertable: BOOLEAN,
    timeout: PLARGE_INTEGER,
) -> NTSTATUS {
    // SAFETY: Forwarded.
    let mut real = unsafe { real(timeout) };
    let timeout = real
        .as_mut()
        .map_or(core::ptr::null_mut(), core::ptr::from_mut);
    // SAFETY: Forwarded.
    unsafe { ntddk::KeWaitForSingleObject(object, reason, mode, alertable, timeout) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeDelayExecutionThread(
    mode: KPROCESSOR_MODE,
    alertable: BOOLEAN,
    interval: PLARGE_INTEGER,
) -> NTSTATUS {
    // SAFETY: Forwarded.
    let mut real = unsafe { real(interval) };
    let interval = real
        .as_mut()
        .map_or(core::ptr::null_mut(), core::ptr::from_mut);
    // SAFETY: Forwarded.
    unsafe { ntddk::KeDelayExecutionThread(mode, alertable, interval) }
}
