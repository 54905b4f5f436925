//! Requests: look, log, check, then do what the script says.

use core::{ffi::c_void, ptr};

use rxce_client::{TDI_REQUEST_KERNEL_ASSOCIATE, TDI_REQUEST_KERNEL_SET_EVENT};
use wdk_sys::{IO_STACK_LOCATION, NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID, ntddk};

use super::{
    check::{self, Way},
    complete, create, fault,
    kinds::{Ends, Kind, Personality, Script},
    look::{look, parameters},
    query,
    state::{Handler, Pending, Record, TRANSPORT},
};
use crate::nt::{irp as irps, irql, status, time};

/// Dispatch routine of the transport's devices.
///
/// # Safety
///
/// Called by the I/O manager for `device`, which has `personality`.
pub(crate) unsafe fn dispatch(
    personality: Personality,
    device: PDEVICE_OBJECT,
    irp: PIRP,
) -> NTSTATUS {
    // SAFETY: The request is ours now.
    let stack = unsafe { irps::current(irp) };
    // SAFETY: As above.
    let location = unsafe { &*stack };
    let (major, object) = (location.MajorFunction, location.FileObject);
    // SAFETY: A file object on one of our devices: FsContext is null or was written by `create`.
    let file = unsafe { index_of(object.cast()) };
    let result = match major {
        // IRP_MJ_CREATE.
        // SAFETY: The create request and its location.
        0x00 => unsafe { create::create(personality, irp, stack) }
            .err()
            .unwrap_or(status::SUCCESS),
        // IRP_MJ_CLOSE.
        0x02 => close(file),
        // IRP_MJ_INTERNAL_DEVICE_CONTROL.
        // SAFETY: Forwarded; the request is not touched here any more.
        0x0F => return unsafe { request(device, irp, stack, file, Way::Sent) },
        // IRP_MJ_CLEANUP.
        0x12 => cleanup(file),
        _ => status::INVALID_DEVICE_REQUEST,
    };
    // SAFETY: Ours, completed once.
    unsafe { irps::complete(irp, result, 0) };
    result
}

/// # Safety
///
/// `object` is null or a file object on a device of this driver.
unsafe fn index_of(object: *mut c_void) -> usize {
    let object = object.cast::<wdk_sys::FILE_OBJECT>();
    if object.is_null() {
        return usize::MAX;
    }
    // SAFETY: By this function's contract.
    unsafe { (*object).FsContext }.addr().wrapping_sub(1)
}

/// IRP_MJ_CLEANUP: the last handle is gone; everything outstanding ends, handlers are disabled.
fn cleanup(file: usize) -> NTSTATUS {
    let mut record = Record::now(Kind::Other, file);
    TRANSPORT.update(|state| {
        let Some(entry) = state.file_mut(file) else {
            return;
        };
        let again = !entry.handle_open;
        entry.handle_open = false;
        record.kind = Kind::Cleanup(entry.kind);
        state.append(record);
        if again {
            state.violated("a handle was closed twice", file as u64);
        }
        if record.irql != irql::PASSIVE || record.apcs_disabled {
            state.violated(
                "a handle was closed above PASSIVE_LEVEL or with APCs disabled",
                record.irql.into(),
            );
        }
    });
    if let Some(gate) = TRANSPORT.update(|state| state.take_gate(file)) {
        // SAFETY: The vector keeps both events until this clean-up has gone on.
        unsafe { &*gate.entered }.set();
        // SAFETY: As above.
        unsafe { &*gate.go_on }.wait(time::PATIENCE);
    }
    complete::end_all(status::CONNECTION_ABORTED, |held| held.file == file);
    status::SUCCESS
}

/// IRP_MJ_CLOSE: the last reference is gone. The record stays for late calls.
fn close(file: usize) -> NTSTATUS {
    let mut record = Record::now(Kind::Other, file);
    TRANSPORT.update(|state| {
        let held = state.all_held().any(|held| held.file == file);
        let _ = state.claim(|held| held.file == file);
        let Some(entry) = state.file_mut(file) else {
            return;
        };
        entry.open = false;
        record.kind = Kind::Close(entry.kind);
        state.append(record);
        if held {
            state.violated(
                "a file object was closed with a request outstanding",
                file as u64,
            );
        }
    });
    status::SUCCESS
}

/// Takes a request: logs it, checks it, and follows the script.
///
/// # Safety
///
/// The transport owns `irp`, whose current location is `stack`.
pub(super) unsafe fn request(
    device: PDEVICE_OBJECT,
    irp: PIRP,
    stack: *mut IO_STACK_LOCATION,
    file: usize,
    way: Way,
) -> NTSTATUS {
    // SAFETY: Ours by this function's contract.
    let record = unsafe { look(irp, stack, file) };
    // SAFETY: As above; the chain of a request is valid while the request is under way.
    unsafe { check::on_arrival(irp, stack, device, &record, way) };
    if let Some(fault) = TRANSPORT.update(|state| state.fault.count(record.kind, record.code)) {
        // SAFETY: As above.
        return unsafe { fail(irp, &record, fault) };
    }
    // SAFETY: As above.
    let effect = unsafe { effect(irp, stack, &record) };

    let (script, closed, place) = TRANSPORT.update(|state| {
        let place = state.append(record);
        let closed = state.file(file).is_none_or(|file| !file.handle_open);
        let personality = state.personality(file);
        (state.script_for(personality, record.kind), closed, place)
    });
    if record.kind == Kind::Abort {
        complete::end_all(status::CONNECTION_ABORTED, |held| {
            held.file == file && held.ends.abort
        });
    }
    let script = match (effect, closed) {
        (Some((result, information)), _) => {
            let pending = Pending::new(irp, (record.kind, file), NEVER, place);
            complete::finish(&pending, result, information);
            return result;
        }
        // Whatever arrives at a closed endpoint ends at once.
        (None, true) => Script::Inline(status::CONNECTION_ABORTED),
        (None, false) => script,
    };
    match script {
        Script::Inline(result) => {
            let sent = matches!(record.kind, Kind::Send | Kind::SendDatagram);
            let information = if sent && result >= 0 {
                record.length.into()
            } else {
                0
            };
            let pending = Pending::new(irp, (record.kind, file), NEVER, place);
            // SAFETY: Marked before it is completed elsewhere; STATUS_PENDING is returned. Both ways are legal
            // (tdi.md §3.1): a client must look at neither the status nor the request.
            unsafe { irps::mark_pending(irp) };
            complete::finish(&pending, result, information);
            status::PENDING
        }
        Script::Pend(ends) => {
            // SAFETY: Ours.
            unsafe { keep(Pending::new(irp, (record.kind, file), ends, place)) }
        }
        Script::Later(result) => {
            // SAFETY: Ours.
            unsafe {
                keep(Pending {
                    due: Some(result),
                    ..Pending::new(irp, (record.kind, file), ANY, place)
                })
            }
        }
        Script::Hook(ends, hook) => {
            // SAFETY: Ours.
            let result = unsafe { keep(Pending::new(irp, (record.kind, file), ends, place)) };
            hook(file);
            result
        }
    }
}

const NEVER: Ends = Ends {
    abort: false,
    cancel: false,
};
const ANY: Ends = Ends {
    abort: true,
    cancel: true,
};

/// Lets a request fail: it has no effect.
///
/// # Safety
///
/// The transport owns the request.
unsafe fn fail(irp: PIRP, record: &Record, (way, result): (fault::Way, NTSTATUS)) -> NTSTATUS {
    let place = TRANSPORT.update(|state| state.append(*record));
    let mut pending = Pending::new(irp, (record.kind, record.file), NEVER, place);
    match way {
        fault::Way::AtOnce => {
            complete::finish(&pending, result, 0);
            result
        }
        fault::Way::Later => {
            (pending.ends, pending.due) = (ANY, Some(result));
            // SAFETY: Ours.
            unsafe { keep(pending) }
        }
    }
}

/// Holds a request until something ends it.
///
/// # Safety
///
/// The transport owns the request.
unsafe fn keep(pending: Pending) -> NTSTATUS {
    // SAFETY: Ours.
    unsafe { irps::mark_pending(pending.irp) };
    let refused = if pending.ends.cancel {
        // Under the cancel lock no cancel can slip between the look and the entry.
        let mut level = 0;
        // SAFETY: Callable at or below DISPATCH_LEVEL.
        unsafe { ntddk::IoAcquireCancelSpinLock(&raw mut level) };
        // SAFETY: Ours.
        let cancelled = unsafe { (*pending.irp).Cancel } != 0;
        if !cancelled {
            // SAFETY: Ours until it is entered; the cancel lock is held, so the routine cannot run before that.
            unsafe { irps::set_cancel_routine(pending.irp, Some(complete::on_cancel)) };
        }
        let held = !cancelled && TRANSPORT.update(|state| state.hold(pending));
        if !held {
            // SAFETY: Ours still, and no cancel can have come.
            unsafe { irps::set_cancel_routine(pending.irp, None) };
        }
        // SAFETY: Acquired above.
        unsafe { ntddk::IoReleaseCancelSpinLock(level) };
        if cancelled {
            Some(status::CANCELLED)
        } else {
            (!held).then_some(status::CONNECTION_ABORTED)
        }
    } else {
        let held = TRANSPORT.update(|state| state.hold(pending));
        (!held).then_some(status::CONNECTION_ABORTED)
    };
    if let Some(result) = refused {
        complete::finish(&pending, result, 0);
    }
    status::PENDING
}

/// What a request does to the transport. `Some` is a result that the script has no say in.
///
/// # Safety
///
/// The transport owns `irp`, whose current location is `stack`.
unsafe fn effect(
    irp: PIRP,
    stack: *mut IO_STACK_LOCATION,
    record: &Record,
) -> Option<(NTSTATUS, u64)> {
    match record.kind {
        Kind::Associate => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_ASSOCIATE>(stack) };
            // SAFETY: PASSIVE_LEVEL was checked; below it nothing is done.
            unsafe { associate(request.AddressHandle, record) }
                .err()
                .map(|failure| (failure, 0))
        }
        Kind::SetHandler => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SET_EVENT>(stack) };
            let handler = Handler {
                routine: request.EventHandler.cast(),
                context: request.EventContext.cast(),
            };
            let event = usize::try_from(record.code).unwrap_or(usize::MAX);
            TRANSPORT.update(|state| {
                let Some(&result) = state.handler_status.get(event) else {
                    return Some((status::INVALID_PARAMETER, 0));
                };
                if result >= 0
                    && let Some(slot) = state
                        .file_mut(record.file)
                        .and_then(|file| file.handlers.get_mut(event))
                {
                    *slot = handler;
                }
                Some((result, 0))
            })
        }
        Kind::Query => {
            let script = TRANSPORT
                .read(|state| state.script_for(state.personality(record.file), Kind::Query));
            match script {
                Script::Inline(result) if result < 0 => Some((result, 0)),
                // What the provider is it always tells at once.
                Script::Pend(_) | Script::Later(_) | Script::Hook(..)
                    if record.code != query::PROVIDER_INFO =>
                {
                    None
                }
                // SAFETY: Ours.
                _ => Some(unsafe { query::answer(irp, record) }),
            }
        }
        _ => None,
    }
}

/// TDI_ASSOCIATE_ADDRESS: finds the address behind the handle.
///
/// # Safety
///
/// PASSIVE_LEVEL, or nothing happens.
unsafe fn associate(handle: wdk_sys::HANDLE, record: &Record) -> Result<(), NTSTATUS> {
    if record.irql != irql::PASSIVE {
        return Err(status::INVALID_DEVICE_REQUEST);
    }
    let mut object: PVOID = ptr::null_mut();
    // SAFETY: The handle is only looked up; 0 = KernelMode.
    let found = unsafe {
        ntddk::ObReferenceObjectByHandle(
            handle,
            0,
            ptr::null_mut(),
            0,
            &raw mut object,
            ptr::null_mut(),
        )
    };
    if found < 0 {
        return Err(found);
    }
    let result = TRANSPORT.update(|state| {
        let address = state.file_of(object).ok_or(status::INVALID_PARAMETER)?;
        let endpoint = state
            .file_mut(record.file)
            .ok_or(status::INVALID_CONNECTION)?;
        if endpoint.address.is_some() {
            return Err(status::ADDRESS_ALREADY_ASSOCIATED);
        }
        endpoint.address = Some(address);
        Ok(())
    });
    // SAFETY: Referenced above. Not the last reference: the client's handle is open.
    unsafe { ntddk::ObfDereferenceObject(object) };
    result
}
