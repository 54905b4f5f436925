//! What a request asks for, and whether it is as it must be (tdi.md §12).

use alloc::{format, sync::Arc};
use core::{ffi::c_void, ptr};

use rxce_client::{
    TDI_PROVIDER_INFO, TDI_REQUEST_KERNEL, TDI_REQUEST_KERNEL_ASSOCIATE,
    TDI_REQUEST_KERNEL_QUERY_INFORMATION, TDI_REQUEST_KERNEL_RECEIVE, TDI_REQUEST_KERNEL_SEND,
    TDI_REQUEST_KERNEL_SET_EVENT,
};
use wdk_sys::{IO_STACK_LOCATION, NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID, ntddk};

use super::{
    endpoint::{Endpoint, Ends, Handler, Held},
    provider,
    report::must,
    requests::Way,
};
use crate::{
    engine,
    nt::{irql, mdl, status},
    transport::{FileKind, Kind},
};

/// SL_INVOKE_ON_CANCEL, _ON_SUCCESS, _ON_ERROR.
const INVOKE_ALWAYS: u8 = 0x20 | 0x40 | 0x80;
/// TDI_RECEIVE_EXPEDITED.
const EXPEDITED: u32 = 0x40;

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

/// What the request asks for.
///
/// # Safety
///
/// The transport owns `irp`, whose current location is `stack`.
pub(super) unsafe fn look(irp: PIRP, stack: *mut IO_STACK_LOCATION) -> Held {
    // SAFETY: Ours.
    let minor = unsafe { (*stack).MinorFunction };
    let mut held = Held {
        irp,
        id: 0,
        kind: Kind::Other,
        ends: Ends::default(),
        length: 0,
        lane: 0,
        timeout: ptr::null(),
        timeout_value: 0,
    };
    match minor {
        0x01 => held.kind = Kind::Associate,
        0x03 | 0x06 => {
            // SAFETY: The parameters of these requests.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL>(stack) };
            // SAFETY: As above: the flags come first.
            let flags = unsafe { parameters::<u32>(stack) };
            held.kind = match (minor, flags) {
                (0x03, _) => Kind::Connect,
                (_, 2) => Kind::Abort,
                (_, 4) => Kind::Release,
                _ => Kind::Other,
            };
            held.timeout = request.RequestSpecific.cast::<i64>().cast_const();
            if !held.timeout.is_null() {
                // SAFETY: A time-out is valid until the request completes (tdi.md §4).
                held.timeout_value = unsafe { held.timeout.read_unaligned() };
            }
        }
        0x07 => {
            held.kind = Kind::Send;
            // SAFETY: The parameters of this request.
            held.length = unsafe { parameters::<TDI_REQUEST_KERNEL_SEND>(stack) }.SendLength;
        }
        0x08 => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_RECEIVE>(stack) };
            held.kind = Kind::Receive;
            held.length = request.ReceiveLength;
            held.lane = usize::from(request.ReceiveFlags & EXPEDITED != 0);
        }
        0x09 | 0x0A => {
            held.kind = if minor == 0x09 {
                Kind::SendDatagram
            } else {
                Kind::ReceiveDatagram
            };
            // SAFETY: The parameters of these requests: the length comes first.
            held.length = unsafe { parameters::<u32>(stack) };
        }
        0x0B => held.kind = Kind::SetHandler,
        0x0C => held.kind = Kind::Query,
        _ => {}
    }
    held
}

/// Checks a request.
///
/// # Safety
///
/// The transport owns the request, whose current location is `stack`.
pub(super) unsafe fn check(
    device: PDEVICE_OBJECT,
    stack: *mut IO_STACK_LOCATION,
    endpoint: &Endpoint,
    held: &Held,
    way: Way,
) {
    // SAFETY: Ours.
    let packet = unsafe { &*held.irp };
    // SAFETY: Ours.
    let location = unsafe { &*stack };
    let kind = held.kind;
    must(
        (1..=packet.StackCount).contains(&packet.CurrentLocation)
            && location.MajorFunction == 0x0F
            && location.DeviceObject == device
            && location.CompletionRoutine.is_some()
            && location.Control & INVOKE_ALWAYS == INVOKE_ALWAYS,
        || format!("{kind:?}: the stack location is not what it must be"),
    );
    let level = irql::current();
    let from_handler = matches!(kind, Kind::Receive | Kind::ReceiveDatagram);
    must(from_handler || level <= irql::APC, || {
        format!("{kind:?} at level {level}")
    });
    let open = endpoint.state.read(|state| state.handle_open);
    must(open || way == Way::HandedBack, || {
        format!("{kind:?} after the handle was closed")
    });
    let expected = match kind {
        Kind::SetHandler | Kind::SendDatagram | Kind::ReceiveDatagram => FileKind::Address,
        Kind::Query if endpoint.kind == FileKind::Control => FileKind::Control,
        _ => FileKind::Endpoint,
    };
    must(kind != Kind::Other && endpoint.kind == expected, || {
        format!(
            "{kind:?} (minor {:#x}) for a file of kind {:?}",
            location.MinorFunction, endpoint.kind
        )
    });
    let has_data = matches!(kind, Kind::Send | Kind::Receive | Kind::Query)
        || matches!(kind, Kind::SendDatagram | Kind::ReceiveDatagram);
    if has_data {
        // SAFETY: The chain of a request is valid while the request is under way.
        let view = unsafe { mdl::view(packet.MdlAddress) };
        must(
            view.resident && view.length >= u64::from(held.length),
            || {
                format!(
                    "{kind:?} of {} bytes with a chain of {}",
                    held.length, view.length
                )
            },
        );
    }
    must(!from_handler || held.length > 0, || {
        "a receive of no bytes".into()
    });
}

/// Requests that are answered at once, whatever the storm.
///
/// # Safety
///
/// As for [`check`].
pub(super) unsafe fn effect(
    endpoint: &Arc<Endpoint>,
    stack: *mut IO_STACK_LOCATION,
    held: &Held,
) -> Option<(NTSTATUS, u64)> {
    match held.kind {
        Kind::Associate => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_ASSOCIATE>(stack) };
            // SAFETY: A handle of the client's.
            Some((unsafe { associate(endpoint, request.AddressHandle) }, 0))
        }
        Kind::SetHandler => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SET_EVENT>(stack) };
            let handler = Handler {
                routine: request.EventHandler.cast(),
                context: request.EventContext.cast(),
            };
            // Somewhere in the engine's image: what the balance is asked for.
            engine::set_address(handler.routine);
            endpoint.state.update(|state| {
                let slot = usize::try_from(request.EventType)
                    .ok()
                    .and_then(|event| state.handlers.get_mut(event));
                Some(match slot {
                    Some(slot) => {
                        *slot = handler;
                        (status::SUCCESS, 0)
                    }
                    None => (status::INVALID_PARAMETER, 0),
                })
            })
        }
        Kind::Query if endpoint.kind == FileKind::Control => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_QUERY_INFORMATION>(stack) };
            must(request.QueryType == 2, || {
                format!("a query of type {:#x}", request.QueryType)
            });
            // CONNECTION_MODE, CONNECTIONLESS_MODE, ERROR_FREE_DELIVERY, EXPEDITED_DATA, INTERNAL_BUFFERING, and
            // ORDERLY_RELEASE (tdi.md §6).
            let orderly = if endpoint.orderly { 0x2 } else { 0 };
            let info = TDI_PROVIDER_INFO {
                Version: 0x0200,
                MaxSendSize: 0x10000,
                ServiceFlags: 0x1 | 0x4 | 0x8 | 0x100 | 0x200 | orderly,
                MinimumLookaheadData: 1,
                MaximumLookaheadData: 0x10000,
                ..Default::default()
            };
            let start = (&raw const info).cast::<u8>();
            // SAFETY: The whole of a local without padding.
            let bytes =
                unsafe { core::slice::from_raw_parts(start, size_of::<TDI_PROVIDER_INFO>()) };
            // SAFETY: Ours.
            let chain = unsafe { (*held.irp).MdlAddress };
            // SAFETY: The chain was checked.
            let copied = unsafe { mdl::fill(chain, bytes) };
            Some((status::SUCCESS, copied as u64))
        }
        Kind::Other => Some((status::INVALID_DEVICE_REQUEST, 0)),
        _ => None,
    }
}

/// TDI_ASSOCIATE_ADDRESS.
///
/// # Safety
///
/// The handle is looked up only.
unsafe fn associate(endpoint: &Endpoint, handle: wdk_sys::HANDLE) -> NTSTATUS {
    must(
        irql::current() == irql::PASSIVE && !irql::all_apcs_disabled(),
        || "TDI_ASSOCIATE_ADDRESS above PASSIVE_LEVEL or with APCs disabled".into(),
    );
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
        return found;
    }
    // SAFETY: Referenced above; the client gives its address's handle.
    let address = unsafe { provider::endpoint_of(object.cast()) };
    // SAFETY: Referenced above.
    unsafe { ntddk::ObfDereferenceObject(object.cast::<c_void>()) };
    endpoint.state.update(|state| {
        let first = state.address.is_none();
        must(first, || "an endpoint was associated twice".into());
        state.address = address;
    });
    status::SUCCESS
}
