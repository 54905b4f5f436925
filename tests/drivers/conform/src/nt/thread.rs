//! System threads that a vector starts and joins.

use alloc::{boxed::Box, sync::Arc};
use core::{cell::UnsafeCell, ffi::c_void, marker::PhantomData, ptr};

use wdk_sys::{HANDLE, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, PVOID, THREAD_ALL_ACCESS, ntddk};

use super::{
    event::{Event, wait_for},
    status, time,
};
use crate::outcome::{Outcome, Trouble};

/// A running thread and the place where it leaves its result. Dropping it joins the thread.
pub(crate) struct Thread<'a, R> {
    object: PVOID,
    shared: Arc<Shared<R>>,
    _borrows: PhantomData<&'a ()>,
}

struct Shared<R> {
    done: Event,
    result: UnsafeCell<Option<R>>,
}

// SAFETY: `result` is written by the thread before `done` is set, and read by the owner after it.
unsafe impl<R: Send> Sync for Shared<R> {}
// SAFETY: As above.
unsafe impl<R: Send> Send for Shared<R> {}

type Body = Box<dyn FnOnce()>;

impl<'a, R: Send + 'a> Thread<'a, R> {
    /// Starts `body` in a system thread.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`.
    pub(crate) fn start(body: impl FnOnce() -> R + Send + 'a) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            done: Event::new(),
            result: UnsafeCell::new(None),
        });
        let theirs = Arc::clone(&shared);
        let body: Box<dyn FnOnce() + 'a> = Box::new(move || {
            let result = body();
            // SAFETY: Nobody else touches `result` before `done` is set.
            unsafe { *theirs.result.get() = Some(result) };
            theirs.done.set();
        });
        // SAFETY: Only the lifetime changes: `Drop` joins the thread before anything borrowed can go.
        let body = unsafe { core::mem::transmute::<Box<dyn FnOnce() + 'a>, Body>(body) };
        let context = Box::into_raw(Box::new(body));

        let mut handle: HANDLE = ptr::null_mut();
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: u32::try_from(size_of::<OBJECT_ATTRIBUTES>()).unwrap_or_default(),
            Attributes: OBJ_KERNEL_HANDLE,
            ..Default::default()
        };
        // SAFETY: All pointers are to locals; the context is handed to the thread.
        let created = unsafe {
            ntddk::PsCreateSystemThread(
                &raw mut handle,
                THREAD_ALL_ACCESS,
                &raw mut attributes,
                ptr::null_mut(),
                ptr::null_mut(),
                Some(enter),
                context.cast(),
            )
        };
        if created < 0 {
            // SAFETY: No thread took the context.
            drop(unsafe { Box::from_raw(context) });
            return Err(Trouble::failed("PsCreateSystemThread", created));
        }
        let mut object: PVOID = ptr::null_mut();
        // SAFETY: The handle is ours; a null type is allowed for kernel-mode callers, 0 = KernelMode.
        let referenced = unsafe {
            ntddk::ObReferenceObjectByHandle(
                handle,
                THREAD_ALL_ACCESS,
                ptr::null_mut(),
                0,
                &raw mut object,
                ptr::null_mut(),
            )
        };
        // SAFETY: Ours, closed once.
        let _ = unsafe { ntddk::ZwClose(handle) };
        if referenced < 0 {
            shared.done.wait(time::PATIENCE);
            return Err(Trouble::failed(
                "ObReferenceObjectByHandle for a thread",
                referenced,
            ));
        }
        Ok(Self {
            object,
            shared,
            _borrows: PhantomData,
        })
    }

    /// Whether the body ends within `limit`.
    pub(crate) fn ends_within(&self, limit: i64) -> bool {
        self.shared.done.wait(limit)
    }

    /// Waits for the body and takes its result; an error after [`time::PATIENCE`].
    pub(crate) fn join(self, what: &str) -> Outcome<R> {
        if !self.shared.done.wait(time::PATIENCE) {
            let text = alloc::format!("{what} did not return in two minutes");
            crate::runner::gave_up(text.clone());
            return Err(Trouble::Failed(text));
        }
        // SAFETY: `done` is set, so the thread is past its last use of `result`.
        let result = unsafe { (*self.shared.result.get()).take() };
        result.ok_or_else(|| Trouble::Failed(alloc::format!("{what} left no result")))
    }
}

impl<R> Drop for Thread<'_, R> {
    fn drop(&mut self) {
        // SAFETY: Referenced in `start`; the wait covers the thread's last instructions too.
        while !unsafe { wait_for(self.object, time::PATIENCE) } {
            crate::runner::let_go();
        }
        // SAFETY: Referenced once, in `start`.
        unsafe { ntddk::ObfDereferenceObject(self.object) };
    }
}

unsafe extern "C" fn enter(context: *mut c_void) {
    // SAFETY: `start` made the context of exactly this type and gave it away.
    let body = unsafe { Box::from_raw(context.cast::<Body>()) };
    body();
    // SAFETY: A system thread ends itself; nothing with a destructor is left in this frame.
    let _ = unsafe { ntddk::PsTerminateSystemThread(status::SUCCESS) };
}
