//! Requests for the device: start, stop, and what rule to break.

use core::{
    ffi::c_void,
    sync::atomic::{AtomicU8, Ordering},
};

use memrdr_ioctl::{BREAK, COLLAPSE, COUNT, START, STOP};
use wdk_sys::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_PENDING, STATUS_SUCCESS,
};

use crate::{
    driver::{self, device},
    rdbss::{
        DELAYED, RxDispatchToWorkerThread, RxLowIoCompletion, RxPostToWorkerThread, RxStartMinirdr,
        RxStopMinirdr, RxpUnregisterMinirdr, become_guilty, breaks, context, counts, peek, poke,
        rx, write,
    },
};

/// Whether opens are to be collapsed.
static COLLAPSES: AtomicU8 = AtomicU8::new(0);

/// Whether opens are to be collapsed.
pub(crate) fn collapses() -> bool {
    COLLAPSES.load(Ordering::SeqCst) != 0
}

pub(crate) unsafe extern "C" fn start(_context: usize, _device: usize) -> NTSTATUS {
    STATUS_SUCCESS
}

pub(crate) unsafe extern "C" fn stop(_context: usize, _device: usize) -> NTSTATUS {
    STATUS_SUCCESS
}

/// MRxDevFcbXXXControlFile.
pub(crate) unsafe extern "C" fn device_control(at: usize) -> NTSTATUS {
    let post = at.wrapping_add(context::POST_REQUEST);
    poke(at.wrapping_add(context::INFORMATION), 0_usize);
    match peek::<u32>(at.wrapping_add(context::CODE)) {
        START => start_code(at, post),
        STOP => rx!(RxStopMinirdr, at, post),
        BREAK => break_code(at, post),
        COUNT => {
            let length: u32 = peek(at.wrapping_add(context::OUTPUT_LENGTH));
            let output: usize = peek(at.wrapping_add(context::OUTPUT));
            let counts = counts();
            if (length as usize) < size_of_val(&counts) {
                return STATUS_BUFFER_TOO_SMALL;
            }
            poke(output, counts);
            poke(at.wrapping_add(context::INFORMATION), size_of_val(&counts));
            STATUS_SUCCESS
        }
        COLLAPSE => {
            let length: u32 = peek(at.wrapping_add(context::INPUT_LENGTH));
            if length != 1 {
                return STATUS_INVALID_PARAMETER;
            }
            let input: usize = peek(at.wrapping_add(context::INPUT));
            COLLAPSES.store(peek(input), Ordering::SeqCst);
            STATUS_SUCCESS
        }
        _ => STATUS_INVALID_DEVICE_REQUEST,
    }
}

fn start_code(at: usize, post: usize) -> NTSTATUS {
    if breaks("start_with_another_flag") {
        let mut flag = 0_u8;
        return rx!(RxStartMinirdr, at, &raw mut flag as usize);
    }
    let status = rx!(RxStartMinirdr, at, post);
    if status == STATUS_PENDING && breaks("pending_not_returned") {
        return STATUS_SUCCESS;
    }
    if status == STATUS_SUCCESS && breaks("posted_by_the_worker") {
        poke(post, 1_u8);
        return STATUS_PENDING;
    }
    status
}

/// An RX_WORK_QUEUE_ITEM that is posted twice.
static ITEM: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];

/// From now on a rule is broken: at once, if nothing else has to happen.
fn break_code(at: usize, _post: usize) -> NTSTATUS {
    let length: u32 = peek(at.wrapping_add(context::INPUT_LENGTH));
    let input: usize = peek(at.wrapping_add(context::INPUT));
    // SAFETY: The system's copy of the input.
    let name = unsafe { core::slice::from_raw_parts(input as *const u8, length as usize) };
    if !become_guilty(name) {
        return STATUS_INVALID_PARAMETER;
    }
    let registers = [
        "table_of_another_size",
        "table_with_an_unused_callback",
        "device_that_is_not_remote",
    ];
    if registers.iter().any(|name| breaks(name)) {
        driver::register_badly();
    }
    if breaks("work_for_another_device") {
        let other = device().wrapping_add(8);
        rx!(RxDispatchToWorkerThread, other, DELAYED, nothing, 0);
    }
    if breaks("unregister_while_started") {
        rx!(RxpUnregisterMinirdr, device());
    }
    if breaks("completion_of_no_context") {
        rx!(RxLowIoCompletion, at.wrapping_add(8));
    }
    if breaks("callback_at_raised_irql") {
        rx!(wdk_sys::ntddk::KfRaiseIrql, 1);
    }
    if breaks("worker_at_raised_irql") {
        rx!(RxDispatchToWorkerThread, device(), DELAYED, raise, 0);
    }
    if breaks("item_posted_twice") {
        let item = (&raw const ITEM).cast_mut().cast::<c_void>();
        // Many more than there are workers: the second call finds the item in the queue.
        rx!(RxDispatchToWorkerThread, device(), DELAYED, sleep, 0);
        write(item as usize, &[0; 64]);
        for _ in 0..1000 {
            rx!(RxPostToWorkerThread, device(), DELAYED, item, nothing, 0);
        }
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn nothing(_context: usize) {}

unsafe extern "C" fn raise(_context: usize) {
    rx!(wdk_sys::ntddk::KfRaiseIrql, 1);
}

unsafe extern "C" fn sleep(_context: usize) {
    pause();
}

/// Sleeps for a tenth of a second.
pub(crate) fn pause() {
    let mut limit = wdk_sys::LARGE_INTEGER {
        QuadPart: -1_000_000,
    };
    let _ = rx!(wdk_sys::ntddk::KeDelayExecutionThread, 0, 0, &raw mut limit);
}
