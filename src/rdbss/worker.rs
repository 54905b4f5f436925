//! Work in RDBSS's process: whatever opens or closes transport handles.

use core::ptr;

use rxce_engine::Error;
use wdk_sys::{_WORK_QUEUE_TYPE::DelayedWorkQueue, NTSTATUS, PVOID, ntddk};

use super::{
    imports::{RxDispatchToWorkerThread, RxGetRDBSSProcess, WorkerRoutine},
    registration,
};
use crate::nt::{event::Event, irql::Pageable};

/// Whether this thread runs in RDBSS's process.
///
/// # IRQL
///
/// `<= APC_LEVEL`
fn is_here() -> bool {
    // SAFETY: The routine only reads the current thread.
    let current = unsafe { ntddk::IoGetCurrentProcess() };
    // SAFETY: The driver is registered.
    ptr::eq(current, unsafe { RxGetRDBSSProcess() })
}

/// Lets a worker that may wait for the network run `routine`.
///
/// # Errors
///
/// The status of the dispatch: `routine` will not run.
///
/// # Safety
///
/// `context` is what the routine takes.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(super) unsafe fn post(routine: WorkerRoutine, context: PVOID) -> Result<(), Error> {
    // SAFETY: Forwarded; the device is that of a registered driver.
    let status: NTSTATUS = unsafe {
        RxDispatchToWorkerThread(
            registration::device_object(),
            DelayedWorkQueue,
            Some(routine),
            context,
        )
    };
    if wdk::nt_success(status) {
        Ok(())
    } else {
        Err(Error::Transport(status))
    }
}

/// Runs `routine` in RDBSS's process: here, if this is it, else in a worker that may wait for the network.
///
/// # Errors
///
/// As [`post`].
///
/// # Safety
///
/// As [`post`]; a worker may run the routine after this returns.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(super) unsafe fn enter(routine: WorkerRoutine, context: PVOID) -> Result<(), Error> {
    if is_here() {
        // SAFETY: Forwarded.
        unsafe { routine(context) };
        return Ok(());
    }
    // SAFETY: Forwarded.
    unsafe { post(routine, context) }
}

/// Work on the stack of whoever waits for it.
struct Job<F, R> {
    work: Option<F>,
    result: Option<R>,
    done: Event,
}

/// Runs `work` in RDBSS's process and returns its result: here, if this is it, else in a worker.
///
/// # Errors
///
/// The status of the dispatch: nothing was run.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(super) fn run<R, F>(at: &Pageable, work: F) -> Result<R, Error>
where
    F: FnOnce(&Pageable) -> R + Send,
    R: Send,
{
    if is_here() {
        return Ok(work(at));
    }
    let mut job = Job {
        work: Some(work),
        result: None,
        done: Event::uninit(),
    };
    // SAFETY: The job stays where it is until it is done, and nobody else has it.
    unsafe { job.done.init_manual_reset() };
    let context: PVOID = (&raw mut job).cast();
    // SAFETY: The routine takes such a job, which stays until it is done: a kernel-mode wait keeps the stack resident.
    unsafe { post(serve::<F, R>, context) }?;
    job.done.wait(at);
    // The worker has set it, unless there was nothing to do.
    job.result.ok_or(Error::InsufficientResources)
}

unsafe extern "C" fn serve<F, R>(context: PVOID)
where
    F: FnOnce(&Pageable) -> R,
{
    // SAFETY: The poster waits for the job, and does not touch it meanwhile.
    let job: &mut Job<F, R> = unsafe { &mut *context.cast() };
    // SAFETY: Worker routines run at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    job.result = job.work.take().map(|work| work(&at));
    // The poster may leave from now on.
    job.done.set();
}
