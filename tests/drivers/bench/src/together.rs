//! Two threads at once.

use core::{
    hint, ptr,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
};

use client_nt::{
    event::KERNEL_MODE,
    status::{Result, check},
};
use wdk_sys::{
    _KWAIT_REASON::Executive,
    HANDLE, NTSTATUS, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, PVOID, STATUS_SUCCESS,
    THREAD_ALL_ACCESS,
    ntddk::{
        KeWaitForSingleObject, ObReferenceObjectByHandle, ObfDereferenceObject,
        PsCreateSystemThread, ZwClose,
    },
};

use crate::measure::now;

/// Another thread's share.
struct Share<W> {
    work: W,
    ready: AtomicBool,
    go: AtomicBool,
    ended: AtomicU64,
    status: AtomicI32,
}

/// Runs both works at once, the second in a thread of its own, and returns the ticks until both are done.
///
/// # Errors
///
/// No thread can be had, or a work has failed.
pub(crate) fn run(here: impl FnOnce() -> Result, there: impl Fn() -> Result + Sync) -> Result<u64> {
    let share = Share {
        work: there,
        ready: AtomicBool::new(false),
        go: AtomicBool::new(false),
        ended: AtomicU64::new(0),
        status: AtomicI32::new(STATUS_SUCCESS),
    };
    let thread = start(&share)?;
    while !share.ready.load(Ordering::Acquire) {
        hint::spin_loop();
    }
    let began = now();
    share.go.store(true, Ordering::Release);
    let result = here();
    let ended = now();
    join(thread);
    result?;
    check(share.status.load(Ordering::Acquire))?;
    let last = share.ended.load(Ordering::Acquire).max(ended);
    Ok(last.wrapping_sub(began))
}

unsafe extern "C" fn body<W: Fn() -> Result>(context: PVOID) {
    // SAFETY: The share lies on the starter's stack, which joins this thread.
    let share = unsafe { &*context.cast::<Share<W>>() };
    share.ready.store(true, Ordering::Release);
    while !share.go.load(Ordering::Acquire) {
        hint::spin_loop();
    }
    let status: NTSTATUS = (share.work)().err().unwrap_or(STATUS_SUCCESS);
    share.ended.store(now(), Ordering::Release);
    share.status.store(status, Ordering::Release);
}

/// Starts a thread; its object, referenced.
fn start<W: Fn() -> Result + Sync>(share: &Share<W>) -> Result<PVOID> {
    #[expect(clippy::cast_possible_truncation, reason = "48 bytes")]
    const LENGTH: u32 = size_of::<OBJECT_ATTRIBUTES>() as u32;
    let mut attributes = OBJECT_ATTRIBUTES {
        Length: LENGTH,
        Attributes: OBJ_KERNEL_HANDLE,
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: The share outlives the thread.
    check(unsafe {
        PsCreateSystemThread(
            &raw mut handle,
            THREAD_ALL_ACCESS,
            &raw mut attributes,
            ptr::null_mut(),
            ptr::null_mut(),
            Some(body::<W>),
            ptr::from_ref(share).cast_mut().cast(),
        )
    })?;
    let mut object: PVOID = ptr::null_mut();
    // SAFETY: The handle was made above. It is one of a thread, which a kernel-mode caller may always reference.
    let referenced = unsafe {
        ObReferenceObjectByHandle(
            handle,
            THREAD_ALL_ACCESS,
            ptr::null_mut(),
            KERNEL_MODE,
            &raw mut object,
            ptr::null_mut(),
        )
    };
    // SAFETY: Made above.
    let _ = unsafe { ZwClose(handle) };
    check(referenced)?;
    Ok(object)
}

/// Waits for the end of a thread and drops the reference.
fn join(thread: PVOID) {
    // SAFETY: A referenced thread object.
    let _ = unsafe { KeWaitForSingleObject(thread, Executive, KERNEL_MODE, 0, ptr::null_mut()) };
    // SAFETY: Referenced by `start`.
    unsafe { ObfDereferenceObject(thread) };
}
