//! System threads.

use core::ptr;

use wdk_sys::{HANDLE, PVOID, THREAD_ALL_ACCESS};

use crate::nt::{attributes, nt, wait};

/// What a thread runs.
pub(crate) type Body = unsafe extern "C" fn(PVOID);

/// Starts a thread; its object, referenced.
pub(crate) fn start<T>(body: Body, context: *mut T) -> PVOID {
    let mut handle: HANDLE = ptr::null_mut();
    let mut nameless = attributes(ptr::null_mut());
    nt!(PsCreateSystemThread(
        &raw mut handle,
        THREAD_ALL_ACCESS,
        &raw mut nameless,
        ptr::null_mut(),
        ptr::null_mut(),
        Some(body),
        context.cast()
    ));
    let mut object: PVOID = ptr::null_mut();
    nt!(ObReferenceObjectByHandle(
        handle,
        THREAD_ALL_ACCESS,
        ptr::null_mut(),
        0,
        &raw mut object,
        ptr::null_mut()
    ));
    nt!(ZwClose(handle));
    object
}

/// Waits for its end and drops the reference.
pub(crate) fn join(thread: PVOID) {
    wait(thread);
    nt!(ObfDereferenceObject(thread));
}

/// Runs something in a thread and waits for its end.
pub(crate) fn run<T>(body: Body, context: *mut T) {
    join(start(body, context));
}
