//! A visit to every processor.

use wdk_sys::ntddk;

/// Runs this thread once on every active processor of its group, so that whatever was running there at
/// `DISPATCH_LEVEL` when this was called is over when it returns.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub(crate) fn visit_all() {
    // SAFETY: KeQueryActiveProcessors only reads the mask.
    let active = unsafe { ntddk::KeQueryActiveProcessors() };
    for number in 0..u64::BITS {
        let processor = active & 1_u64.unbounded_shl(number);
        if processor != 0 {
            visit(processor);
        }
    }
}

#[cfg(not(feature = "legacy"))]
fn visit(processor: u64) {
    // SAFETY: The mask names one active processor; the thread is the caller's for the whole call.
    let previous = unsafe { ntddk::KeSetSystemAffinityThreadEx(processor) };
    // SAFETY: `previous` is what the call above replaced.
    unsafe { ntddk::KeRevertToUserAffinityThreadEx(previous) };
}

/// The routines above came with Windows Vista.
#[cfg(feature = "legacy")]
fn visit(processor: u64) {
    // SAFETY: The mask names one active processor; the thread has no affinity of its own here.
    unsafe { ntddk::KeSetSystemAffinityThread(processor) };
    // SAFETY: The affinity was set above.
    unsafe { ntddk::KeRevertToUserAffinityThread() };
}
