//! Requests: look, log, check, then do what the script says.

use core::{ffi::c_void, ptr};

use rxce_client::{
    TDI_CONNECTION_INFORMATION, TDI_PROVIDER_INFO, TDI_REQUEST_KERNEL,
    TDI_REQUEST_KERNEL_ASSOCIATE, TDI_REQUEST_KERNEL_QUERY_INFORMATION, TDI_REQUEST_KERNEL_RECEIVE,
    TDI_REQUEST_KERNEL_SEND, TDI_REQUEST_KERNEL_SET_EVENT,
};
use wdk_sys::{IO_STACK_LOCATION, NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID, ntddk};

use super::{
    check::{self, Way},
    complete, create,
    state::{DATA, Ends, Handler, Kind, Pending, Personality, Record, Script, TRANSPORT},
};
use crate::nt::{irp as irps, irql, mdl, status};

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
    complete::end_all(status::CONNECTION_ABORTED, |held| held.file == file);
    status::SUCCESS
}

/// IRP_MJ_CLOSE: the last reference is gone. The record stays for late calls.
fn close(file: usize) -> NTSTATUS {
    let mut record = Record::now(Kind::Other, file);
    TRANSPORT.update(|state| {
        let held = state.claim(|held| held.file == file).is_some();
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
    // SAFETY: As above.
    let effect = unsafe { effect(irp, stack, &record) };

    let (script, closed, place) = TRANSPORT.update(|state| {
        let place = state.append(record);
        let closed = state.file(file).is_none_or(|file| !file.handle_open);
        (state.script_of(record.kind), closed, place)
    });
    if record.kind == Kind::Abort {
        complete::end_all(status::CONNECTION_ABORTED, |held| {
            held.file == file && held.ends.abort
        });
    }
    let script = match (effect, closed) {
        (Some((result, information)), _) => {
            let pending = Pending {
                irp,
                file,
                kind: record.kind,
                ends: NEVER,
                record: place,
            };
            complete::finish(&pending, result, information);
            return result;
        }
        // Whatever arrives at a closed endpoint ends at once.
        (None, true) => Script::Inline(status::CONNECTION_ABORTED),
        (None, false) => script,
    };
    match script {
        Script::Inline(result) => {
            let information = if record.kind == Kind::Send && result >= 0 {
                record.length.into()
            } else {
                0
            };
            let pending = Pending {
                irp,
                file,
                kind: record.kind,
                ends: NEVER,
                record: place,
            };
            // SAFETY: Marked before it is completed elsewhere; STATUS_PENDING is returned. Both ways are legal
            // (tdi.md §3.1): a client must look at neither the status nor the request.
            unsafe { irps::mark_pending(irp) };
            complete::finish(&pending, result, information);
            status::PENDING
        }
        Script::Pend(ends) => {
            // SAFETY: Ours.
            unsafe {
                keep(Pending {
                    irp,
                    file,
                    kind: record.kind,
                    ends,
                    record: place,
                })
            }
        }
        Script::Hook(ends, hook) => {
            // SAFETY: Ours.
            let result = unsafe {
                keep(Pending {
                    irp,
                    file,
                    kind: record.kind,
                    ends,
                    record: place,
                })
            };
            hook(file);
            result
        }
    }
}

const NEVER: Ends = Ends {
    abort: false,
    cancel: false,
};

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

/// The overlay of a request's parameters.
///
/// # Safety
///
/// `stack` is a valid location whose parameters are a `T`.
unsafe fn parameters<T: Copy>(stack: *mut IO_STACK_LOCATION) -> T {
    // SAFETY: By this function's contract.
    let at = unsafe { &raw const (*stack).Parameters };
    // SAFETY: 32 bytes, of which a `T` takes no more.
    unsafe { at.cast::<T>().read_unaligned() }
}

/// Makes the deep copy of a request.
///
/// # Safety
///
/// The transport owns `irp`, whose current location is `stack`.
unsafe fn look(irp: PIRP, stack: *mut IO_STACK_LOCATION, file: usize) -> Record {
    // SAFETY: Ours.
    let minor = unsafe { (*stack).MinorFunction };
    // SAFETY: As above.
    let chain = unsafe { (*irp).MdlAddress };
    let mut record = Record::now(Kind::Other, file);
    record.mdl = chain.cast();
    match minor {
        0x01 => record.kind = Kind::Associate,
        0x03 | 0x06 => {
            // SAFETY: The parameters of these two requests.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL>(stack) };
            // SAFETY: As above. The flags come first; their type differs between headers (tdi.md §3), not their low half.
            record.flags = unsafe { parameters::<u32>(stack) };
            record.kind = match (minor, record.flags) {
                (0x03, _) => Kind::Connect,
                (_, 2) => Kind::Abort,
                (_, 4) => Kind::Release,
                _ => Kind::Other,
            };
            record.timeout = request.RequestSpecific.cast::<i64>().cast_const();
            if !record.timeout.is_null() {
                // SAFETY: A time-out is valid until the request completes (tdi.md §4).
                record.timeout_value = Some(unsafe { record.timeout.read_unaligned() });
            }
            if record.kind == Kind::Connect {
                // SAFETY: The connection information of a connect is valid until it completes (tdi.md §2.4).
                unsafe { remote_address(&mut record, request.RequestConnectionInformation.cast()) };
            }
        }
        0x07 => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SEND>(stack) };
            record.kind = Kind::Send;
            record.length = request.SendLength;
            record.flags = request.SendFlags;
            // SAFETY: The chain of a request is valid while it is under way.
            unsafe { mdl::take(chain, &mut record.data) };
        }
        0x08 => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_RECEIVE>(stack) };
            record.kind = Kind::Receive;
            record.length = request.ReceiveLength;
            record.flags = request.ReceiveFlags;
        }
        0x09 => record.kind = Kind::SendDatagram,
        0x0B => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SET_EVENT>(stack) };
            record.kind = Kind::SetHandler;
            record.code = request.EventType;
        }
        0x0C => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_QUERY_INFORMATION>(stack) };
            record.kind = Kind::Query;
            record.code = request.QueryType;
        }
        _ => {}
    }
    record
}

/// # Safety
///
/// `information` is null or valid, its remote address included.
unsafe fn remote_address(record: &mut Record, information: *const TDI_CONNECTION_INFORMATION) {
    // SAFETY: By this function's contract.
    let Some(information) = (unsafe { information.as_ref() }) else {
        return;
    };
    record.length = u32::try_from(information.RemoteAddressLength).unwrap_or_default();
    let bytes = information.RemoteAddress.cast::<u8>();
    for (offset, to) in record
        .data
        .iter_mut()
        .enumerate()
        .take((record.length as usize).min(DATA))
    {
        // SAFETY: Within the stated length.
        *to = unsafe { bytes.wrapping_add(offset).read() };
    }
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
            // SAFETY: Ours.
            Some(unsafe { query(irp, record) })
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

/// TDI_QUERY_PROVIDER_INFO; the other queries are not supported.
///
/// # Safety
///
/// The transport owns `irp`.
unsafe fn query(irp: PIRP, record: &Record) -> (NTSTATUS, u64) {
    let Some(personality) =
        TRANSPORT.read(|state| state.file(record.file).map(|file| file.personality))
    else {
        return (status::INVALID_PARAMETER, 0);
    };
    if let Script::Inline(result) = TRANSPORT.read(|state| state.script_of(Kind::Query))
        && result < 0
    {
        return (result, 0);
    }
    if record.code != 2 {
        return (status::INVALID_DEVICE_REQUEST, 0);
    }
    let info = TDI_PROVIDER_INFO {
        Version: 0x0200,
        MaxSendSize: 0x10000,
        MaxDatagramSize: 1400,
        ServiceFlags: personality.service_flags(),
        MinimumLookaheadData: 1,
        MaximumLookaheadData: 0x10000,
        ..Default::default()
    };
    let start = (&raw const info).cast::<u8>();
    // SAFETY: The whole of a local, which has no padding (its members fill its 40 bytes).
    let bytes = unsafe { core::slice::from_raw_parts(start, size_of::<TDI_PROVIDER_INFO>()) };
    // SAFETY: Ours; the chain is valid.
    let chain = unsafe { (*irp).MdlAddress };
    // SAFETY: As above.
    let copied = unsafe { mdl::fill(chain, bytes) };
    let result = if copied < bytes.len() {
        status::BUFFER_OVERFLOW
    } else {
        status::SUCCESS
    };
    (result, copied as u64)
}
