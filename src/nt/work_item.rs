//! Work items that somebody else owns.

use wdk_sys::{_WORK_QUEUE_TYPE::DelayedWorkQueue, LIST_ENTRY, PVOID, WORK_QUEUE_ITEM, ntddk};

/// Runs `routine` with `context` in a system worker thread, for work that may take a while.
///
/// # Safety
///
/// The item is nonpaged, is not queued, and lives until the routine runs; the driver stays loaded until it has returned.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn queue(
    item: *mut WORK_QUEUE_ITEM,
    routine: unsafe extern "C" fn(PVOID),
    context: PVOID,
) {
    let value = WORK_QUEUE_ITEM {
        List: LIST_ENTRY::default(),
        WorkerRoutine: Some(routine),
        Parameter: context,
    };
    // SAFETY: Forwarded ("ExInitializeWorkItem macro").
    unsafe { item.write(value) };
    // SAFETY: Forwarded.
    unsafe { ntddk::ExQueueWorkItem(item, DelayedWorkQueue) };
}
