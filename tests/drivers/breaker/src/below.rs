//! The device below, of the second copy of the driver: what it does with a request is the request's minor function.

use core::{
    hint, ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use client_nt::access;
use wdk_sys::{
    IRP, IRP_MJ_CREATE, IRP_MJ_INTERNAL_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE, NTSTATUS,
    PDEVICE_OBJECT, PIRP, PVOID, STATUS_ACCESS_DENIED, STATUS_CANCELLED, STATUS_PENDING,
    STATUS_SUCCESS, STATUS_UNSUCCESSFUL,
};

use crate::{
    nt::{DEVICE, DISPATCH, at, nt, peek, settle},
    request::{Below, complete, current, finish, mark_pending, next, set_cancel_routine},
    thread,
    unicode::unicode,
};

/// Completes at once.
pub(crate) const COMPLETE: u8 = 0;
/// Pends until a request of [`RELEASE`] comes.
pub(crate) const PEND: u8 = 1;
/// Completes the request that pends, then itself.
pub(crate) const RELEASE: u8 = 2;
/// Pends, completes, returns `STATUS_PENDING`.
pub(crate) const PEND_AND_COMPLETE: u8 = 3;
/// The same without marking it.
pub(crate) const PENDING_UNMARKED: u8 = 4;
/// Marks it pending, completes, returns `STATUS_SUCCESS`.
pub(crate) const MARKED_NOT_PENDING: u8 = 5;
/// Completes with success, returns a failure.
pub(crate) const ANOTHER_STATUS: u8 = 6;
/// TDI_SEND: as [`PEND`].
pub(crate) const SEND: u8 = 7;
/// Completes, returns -1.
pub(crate) const MINUS_ONE: u8 = 22;
/// Does nothing.
pub(crate) const FORGET: u8 = 8;
/// Completes, returns at a raised IRQL.
pub(crate) const RAISE: u8 = 9;
/// Completes, returns in a critical region.
pub(crate) const ENTER_REGION: u8 = 10;
/// Completes with `STATUS_PENDING`.
pub(crate) const COMPLETE_AS_PENDING: u8 = 11;
/// Completes twice.
pub(crate) const TWICE: u8 = 12;
/// Completes with a cancel routine set.
pub(crate) const WITH_CANCEL_ROUTINE: u8 = 13;
/// Completes above `DISPATCH_LEVEL`.
pub(crate) const ABOVE_DISPATCH: u8 = 14;
/// Completes at `DISPATCH_LEVEL`.
pub(crate) const AT_DISPATCH: u8 = 15;

/// Completes, and reads the request afterwards.
pub(crate) const TOUCH_AFTERWARDS: u8 = 16;

/// Passes it on to the control device, which completes it.
pub(crate) const PASS_ON: u8 = 17;
/// The same with its own control bits, ...
pub(crate) const PASS_ON_CONTROL: u8 = 18;
/// ... with its own completion routine, ...
pub(crate) const PASS_ON_ROUTINE: u8 = 19;
/// ... with a completion routine that does not mark the request pending, though it pended, ...
pub(crate) const PASS_ON_UNPROPAGATED: u8 = 20;
/// ... and with one that does.
pub(crate) const PASS_ON_PROPAGATED: u8 = 21;

/// Gives the request to the kernel's routine for what a driver does not support, ...
pub(crate) const DEFAULT: u8 = 23;
/// ... above `DISPATCH_LEVEL`.
pub(crate) const DEFAULT_ABOVE_DISPATCH: u8 = 24;

/// IRP_MJ_PNP, for which this driver has no routine of its own.
pub(crate) const UNSUPPORTED: usize = wdk_sys::IRP_MJ_PNP as usize;

/// Calls the kernel's routine for what a driver does not support.
fn pass_to_default(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The device that the request was sent to.
    let driver = unsafe { (*device).DriverObject };
    // SAFETY: Its driver, which does not change.
    let routine = unsafe { (*driver).MajorFunction }
        .get(UNSUPPORTED)
        .copied()
        .flatten();
    routine.map_or(STATUS_UNSUCCESSFUL, |routine| {
        // SAFETY: A dispatch routine, with a request of ours that nobody has completed.
        unsafe { routine(device, irp) }
    })
}

/// Pends, and is completed by a thread of its own.
pub(crate) const COMPLETE_ELSEWHERE: u8 = 25;

/// Pends; a thread of its own wants to complete it as soon as its cancel routine has been called, and leaves it to that, ...
pub(crate) const END_IF_NOT_CANCELLED: u8 = 26;
/// ... or does not.
pub(crate) const END_ANYWAY: u8 = 27;

/// The cancel routine was called and has the cancel lock.
static CANCELLING: AtomicBool = AtomicBool::new(false);
/// The other thread has had its turn.
static HAD_ITS_TURN: AtomicBool = AtomicBool::new(false);

fn await_flag(flag: &AtomicBool) {
    while !flag.swap(false, Ordering::SeqCst) {
        hint::spin_loop();
    }
}

/// Lets the other thread have its turn before it releases the cancel lock.
unsafe extern "C" fn cancel_late(_device: PDEVICE_OBJECT, irp: PIRP) {
    CANCELLING.store(true, Ordering::SeqCst);
    await_flag(&HAD_ITS_TURN);
    // SAFETY: The request is its cancel routine's.
    let level = unsafe { (*irp).CancelIrql };
    nt!(IoReleaseCancelSpinLock(level));
    complete(irp, STATUS_CANCELLED);
}

unsafe extern "C" fn end_if_not_cancelled(irp: PVOID) {
    await_flag(&CANCELLING);
    if set_cancel_routine(irp.cast(), None) {
        complete(irp.cast(), STATUS_SUCCESS);
    }
    HAD_ITS_TURN.store(true, Ordering::SeqCst);
}

unsafe extern "C" fn end_anyway(irp: PVOID) {
    await_flag(&CANCELLING);
    set_cancel_routine(irp.cast(), None);
    complete(irp.cast(), STATUS_SUCCESS);
    HAD_ITS_TURN.store(true, Ordering::SeqCst);
}

unsafe extern "C" fn complete_it(irp: PVOID) {
    complete(irp.cast(), STATUS_SUCCESS);
}

/// SL_PENDING_RETURNED; SL_INVOKE_ON_SUCCESS, _ERROR and _CANCEL.
const PENDING_RETURNED: u8 = 0x01;
const INVOKE_ALWAYS: u8 = 0xE0;

/// Passes a request on to the control device.
fn pass_on(irp: PIRP, how: u8) -> NTSTATUS {
    let above = Below::open_named(unicode!(breaker_ioctl::DEVICE_NAME));
    let own = *current(irp);
    let stack = next(irp);
    *stack = own;
    stack.MinorFunction = COMPLETE;
    match how {
        PASS_ON_CONTROL => {
            stack.Control = PENDING_RETURNED;
            stack.CompletionRoutine = None;
        }
        PASS_ON_ROUTINE => {}
        PASS_ON_UNPROPAGATED | PASS_ON_PROPAGATED => {
            stack.MinorFunction = PEND_AND_COMPLETE;
            stack.Control = INVOKE_ALWAYS;
            stack.CompletionRoutine = Some(if how == PASS_ON_PROPAGATED {
                propagate
            } else {
                forget
            });
        }
        _ => {
            stack.Control = 0;
            stack.CompletionRoutine = None;
        }
    }
    nt!(IofCallDriver(above.device, irp))
}

unsafe extern "C" fn forget(_: PDEVICE_OBJECT, _: PIRP, _: PVOID) -> NTSTATUS {
    STATUS_SUCCESS
}

unsafe extern "C" fn propagate(_: PDEVICE_OBJECT, irp: PIRP, _: PVOID) -> NTSTATUS {
    // SAFETY: The request is ours in its completion routine.
    if unsafe { (*irp).PendingReturned } != 0 {
        mark_pending(irp);
    }
    STATUS_SUCCESS
}

static PENDING: AtomicPtr<IRP> = AtomicPtr::new(ptr::null_mut());

/// A cancel routine that is never called.
pub(crate) unsafe extern "C" fn cancel(_device: PDEVICE_OBJECT, _irp: PIRP) {}

/// Dispatch routine of all major functions.
pub(crate) unsafe extern "C" fn dispatch(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    let stack = current(irp);
    let major = u32::from(stack.MajorFunction);
    // SAFETY: A create request, in the thread that opens. What this driver is for stops the machine.
    if major == IRP_MJ_CREATE && unsafe { access::is_refused(irp) } {
        return complete(irp, STATUS_ACCESS_DENIED);
    }
    if !matches!(
        major,
        IRP_MJ_INTERNAL_DEVICE_CONTROL | IRP_MJ_READ | IRP_MJ_WRITE
    ) {
        return complete(irp, STATUS_SUCCESS);
    }
    match stack.MinorFunction {
        PEND | SEND => {
            mark_pending(irp);
            PENDING.store(irp, Ordering::SeqCst);
            STATUS_PENDING
        }
        how @ (END_IF_NOT_CANCELLED | END_ANYWAY) => {
            mark_pending(irp);
            set_cancel_routine(irp, Some(cancel_late));
            let body: thread::Body = if how == END_ANYWAY {
                end_anyway
            } else {
                end_if_not_cancelled
            };
            nt!(ObfDereferenceObject(thread::start(body, irp)));
            STATUS_PENDING
        }
        RELEASE => {
            let pending = PENDING.swap(ptr::null_mut(), Ordering::SeqCst);
            if !pending.is_null() {
                complete(pending, STATUS_SUCCESS);
            }
            complete(irp, STATUS_SUCCESS)
        }
        PEND_AND_COMPLETE => {
            mark_pending(irp);
            complete(irp, STATUS_SUCCESS);
            STATUS_PENDING
        }
        PENDING_UNMARKED => {
            complete(irp, STATUS_SUCCESS);
            STATUS_PENDING
        }
        MARKED_NOT_PENDING => {
            mark_pending(irp);
            complete(irp, STATUS_SUCCESS)
        }
        ANOTHER_STATUS => {
            complete(irp, STATUS_SUCCESS);
            STATUS_UNSUCCESSFUL
        }
        MINUS_ONE => {
            complete(irp, STATUS_SUCCESS);
            -1
        }
        FORGET => STATUS_SUCCESS,
        RAISE => {
            let status = complete(irp, STATUS_SUCCESS);
            nt!(KfRaiseIrql(DISPATCH));
            status
        }
        ENTER_REGION => {
            let status = complete(irp, STATUS_SUCCESS);
            nt!(KeEnterCriticalRegion());
            status
        }
        COMPLETE_AS_PENDING => {
            mark_pending(irp);
            complete(irp, STATUS_PENDING)
        }
        TWICE => {
            complete(irp, STATUS_SUCCESS);
            finish(irp);
            STATUS_SUCCESS
        }
        WITH_CANCEL_ROUTINE => {
            set_cancel_routine(irp, Some(cancel));
            complete(irp, STATUS_SUCCESS)
        }
        COMPLETE_ELSEWHERE => {
            mark_pending(irp);
            let thread = thread::start(complete_it, irp);
            nt!(ObfDereferenceObject(thread));
            STATUS_PENDING
        }
        DEFAULT => pass_to_default(device, irp),
        DEFAULT_ABOVE_DISPATCH => at(DEVICE, || pass_to_default(device, irp)),
        how @ PASS_ON..=PASS_ON_PROPAGATED => pass_on(irp, how),
        TOUCH_AFTERWARDS => {
            let status = complete(irp, STATUS_SUCCESS);
            // The other thread has it back by then.
            settle();
            peek(irp.cast::<u8>());
            status
        }
        level @ (ABOVE_DISPATCH | AT_DISPATCH) => {
            let old = nt!(KfRaiseIrql(if level == AT_DISPATCH { 2 } else { 3 }));
            let status = complete(irp, STATUS_SUCCESS);
            nt!(KeLowerIrql(old));
            status
        }
        _ => complete(irp, STATUS_SUCCESS),
    }
}
