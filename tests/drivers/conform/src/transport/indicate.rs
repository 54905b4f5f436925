//! Calling the client's event handlers, at a moment and with arguments of the vector's choice.

use core::{ffi::c_void, mem, ptr};

use wdk_sys::{NTSTATUS, PIRP, PMDL, ntddk};

use super::{check::Way, dispatch, state::TRANSPORT};
use crate::nt::{irp as irps, status};

/// TDI_EVENT_DISCONNECT, _ERROR, _RECEIVE, _RECEIVE_EXPEDITED (tdi.md §5).
pub(super) const DISCONNECT: usize = 1;
pub(super) const ERROR: usize = 2;
pub(super) const RECEIVE: usize = 3;
/// TDI_EVENT_RECEIVE_DATAGRAM, _RECEIVE_EXPEDITED, _SEND_POSSIBLE.
pub(super) const RECEIVE_DATAGRAM: usize = 4;
pub(super) const RECEIVE_EXPEDITED: usize = 5;
pub(super) const SEND_POSSIBLE: usize = 6;
/// TDI_EVENT_CHAINED_RECEIVE.
const CHAINED_RECEIVE: usize = 7;
/// TDI_RECEIVE_NORMAL and _EXPEDITED.
pub(super) const NORMAL: u32 = 0x20;
pub(super) const EXPEDITED: u32 = 0x40;

pub(super) type DisconnectHandler = unsafe extern "system" fn(
    *mut c_void,
    *mut c_void,
    i32,
    *mut c_void,
    i32,
    *mut c_void,
    u32,
) -> NTSTATUS;
pub(super) type ErrorHandler = unsafe extern "system" fn(*mut c_void, NTSTATUS) -> NTSTATUS;
pub(super) type ReceiveHandler = unsafe extern "system" fn(
    *mut c_void,
    *mut c_void,
    u32,
    u32,
    u32,
    *mut u32,
    *mut c_void,
    *mut PIRP,
) -> NTSTATUS;

pub(super) type SendPossibleHandler =
    unsafe extern "system" fn(*mut c_void, *mut c_void, u32) -> NTSTATUS;
pub(super) type DatagramHandler = unsafe extern "system" fn(
    *mut c_void,
    i32,
    *mut c_void,
    i32,
    *mut c_void,
    u32,
    u32,
    u32,
    *mut u32,
    *mut c_void,
    *mut PIRP,
) -> NTSTATUS;

type ChainedHandler = unsafe extern "system" fn(
    *mut c_void,
    *mut c_void,
    u32,
    u32,
    u32,
    PMDL,
    *mut c_void,
) -> NTSTATUS;

/// A packet as a chain of MDLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) length: u32,
    /// Where in the chain the bytes begin.
    pub(crate) offset: u32,
    pub(crate) mdl: PMDL,
    pub(crate) descriptor: *mut c_void,
}

/// What a receive handler answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Indication {
    /// What the handler returned.
    pub(crate) status: NTSTATUS,
    /// What it said it took.
    pub(crate) taken: u32,
    /// Whether it handed a request back.
    pub(crate) request: bool,
}

/// A handler with everything needed to call it; also of an address that is closed.
pub(super) struct Call {
    pub(super) routine: *mut c_void,
    pub(super) context: *mut c_void,
    pub(super) token: *mut c_void,
}

/// `file` is an endpoint, or an address (then there is no token).
pub(super) fn call_of(file: usize, event: usize) -> Option<Call> {
    TRANSPORT.read(|state| {
        let entry = state.file(file)?;
        let address = state.file(entry.address.unwrap_or(file))?;
        let handler = address.handlers.get(event)?;
        (!handler.routine.is_null()).then_some(Call {
            routine: handler.routine,
            context: handler.context,
            token: entry.token,
        })
    })
}

/// Indicates a disconnect on an endpoint. Without a handler: `None`.
pub(crate) fn disconnect(file: usize, flags: u32) -> Option<NTSTATUS> {
    let call = call_of(file, DISCONNECT)?;
    // SAFETY: Registered for this event, so of this type.
    let handler = unsafe { mem::transmute::<*mut c_void, DisconnectHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them.
    Some(unsafe {
        handler(
            call.context,
            call.token,
            0,
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            flags,
        )
    })
}

/// Indicates an error on an address.
pub(crate) fn error(file: usize, code: NTSTATUS) -> Option<NTSTATUS> {
    let call = call_of(file, ERROR)?;
    // SAFETY: Registered for this event, so of this type.
    let handler = unsafe { mem::transmute::<*mut c_void, ErrorHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them.
    Some(unsafe { handler(call.context, code) })
}

/// Indicates `data` on an endpoint, of `available` bytes in all, and takes the request that comes back.
pub(crate) fn receive(file: usize, data: &mut [u8], available: u32) -> Option<Indication> {
    let token = TRANSPORT.read(|state| state.file(file).map(|entry| entry.token))?;
    receive_from(file, token, data, available)
}

/// As [`receive`], with a token of the vector's choice.
pub(crate) fn receive_from(
    file: usize,
    token: *mut c_void,
    data: &mut [u8],
    available: u32,
) -> Option<Indication> {
    // TDI_RECEIVE_ENTIRE_MESSAGE has no meaning on a stream: NORMAL alone.
    on_stream(file, RECEIVE, NORMAL, token, data, available)
}

/// Indicates expedited `data` on an endpoint, as [`receive`] does.
pub(crate) fn expedited(file: usize, data: &mut [u8], available: u32) -> Option<Indication> {
    let token = TRANSPORT.read(|state| state.file(file).map(|entry| entry.token))?;
    on_stream(file, RECEIVE_EXPEDITED, EXPEDITED, token, data, available)
}

/// Tells an endpoint (by its token) or an address (NULL) that a send of `bytes` would be taken.
pub(crate) fn send_possible(file: usize, token: *mut c_void, bytes: u32) -> Option<NTSTATUS> {
    let call = call_of(file, SEND_POSSIBLE)?;
    // SAFETY: Registered for this event, so of this type.
    let handler = unsafe { mem::transmute::<*mut c_void, SendPossibleHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them.
    Some(unsafe { handler(call.context, token, bytes) })
}

/// Indicates a chain on an endpoint, with its own token or another.
pub(crate) fn chained(file: usize, token: Option<*mut c_void>, chain: Chain) -> Option<NTSTATUS> {
    let call = call_of(file, CHAINED_RECEIVE)?;
    // SAFETY: Registered for this event, so of this type.
    let handler = unsafe { mem::transmute::<*mut c_void, ChainedHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them; the chain is valid for the call.
    Some(unsafe {
        handler(
            call.context,
            token.unwrap_or(call.token),
            NORMAL,
            chain.length,
            chain.offset,
            chain.mdl,
            chain.descriptor,
        )
    })
}

fn on_stream(
    file: usize,
    event: usize,
    flags: u32,
    token: *mut c_void,
    data: &mut [u8],
    available: u32,
) -> Option<Indication> {
    let call = call_of(file, event)?;
    // SAFETY: Registered for this event, so of this type.
    let handler = unsafe { mem::transmute::<*mut c_void, ReceiveHandler>(call.routine) };
    let mut taken = 0;
    let mut irp: PIRP = ptr::null_mut();
    let indicated = u32::try_from(data.len()).unwrap_or(u32::MAX);
    // SAFETY: Arguments as tdi.md §5 describes them; the data is valid for the call.
    let result = unsafe {
        handler(
            call.context,
            token,
            flags,
            indicated,
            available.max(indicated),
            &raw mut taken,
            data.as_mut_ptr().cast(),
            &raw mut irp,
        )
    };
    Some(answered(file, result, indicated, taken, irp))
}

/// Indicates a datagram from `source` on an address, and takes the request that comes back.
pub(crate) fn datagram(
    file: usize,
    source: &mut [u8],
    data: &mut [u8],
    available: u32,
) -> Option<Indication> {
    let call = call_of(file, RECEIVE_DATAGRAM)?;
    // SAFETY: Registered for this event, so of this type.
    let handler = unsafe { mem::transmute::<*mut c_void, DatagramHandler>(call.routine) };
    let mut taken = 0;
    let mut irp: PIRP = ptr::null_mut();
    let indicated = u32::try_from(data.len()).unwrap_or(u32::MAX);
    // SAFETY: Arguments as tdi.md §5 describes them; address and data are valid for the call.
    let result = unsafe {
        handler(
            call.context,
            i32::try_from(source.len()).unwrap_or_default(),
            source.as_mut_ptr().cast(),
            0,
            ptr::null_mut(),
            NORMAL,
            indicated,
            available.max(indicated),
            &raw mut taken,
            data.as_mut_ptr().cast(),
            &raw mut irp,
        )
    };
    Some(answered(file, result, indicated, taken, irp))
}

/// Checks an answer, and takes the request that came with it.
pub(super) fn answered(
    file: usize,
    result: NTSTATUS,
    indicated: u32,
    taken: u32,
    irp: PIRP,
) -> Indication {
    let request = !irp.is_null();
    TRANSPORT.update(|state| {
        if request != (result == status::MORE_PROCESSING_REQUIRED) {
            state.violated(
                "MORE_PROCESSING_REQUIRED and the request handed back do not agree",
                request.into(),
            );
        }
        if taken > indicated {
            state.violated("more bytes taken than indicated", taken.into());
        }
    });
    if request {
        // SAFETY: The handler gave the request to the transport, advanced to the transport's location.
        let stack = unsafe { irps::current(irp) };
        // SAFETY: As above: the client filled it in as for IoCallDriver.
        let object = unsafe { (*stack).FileObject };
        // SAFETY: As above.
        let device = unsafe { ntddk::IoGetRelatedDeviceObject(object) };
        // SAFETY: As above.
        unsafe { dispatch::request(device, irp, stack, file, Way::HandedBack) };
    }
    Indication {
        status: result,
        taken,
        request,
    }
}
