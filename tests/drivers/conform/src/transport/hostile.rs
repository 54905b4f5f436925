//! What no vector's transport does: handlers called with any arguments that TDI lets through, requests completed with
//! results that do not fit them.

use core::{ffi::c_void, mem, ptr};

use wdk_sys::{NTSTATUS, PIRP};

use super::{
    complete, indicate,
    indicate::{
        DISCONNECT, DatagramHandler, DisconnectHandler, ERROR, EXPEDITED, ErrorHandler, Indication,
        NORMAL, RECEIVE, RECEIVE_DATAGRAM, RECEIVE_EXPEDITED, ReceiveHandler, SEND_POSSIBLE,
        SendPossibleHandler,
    },
    kinds::{FileKind, Kind},
    state::TRANSPORT,
};
use crate::nt::mdl;

/// More bytes than any request of a program asks for.
const LONGEST_ANSWER: u64 = 0x2_0000;

/// Whom an event is for: a file, and what stands in for its two tokens.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) file: usize,
    /// In place of the address's EventContext.
    pub(crate) context: Option<usize>,
    /// In place of the endpoint's ConnectionContext.
    pub(crate) token: Option<usize>,
}

/// One event with all its arguments.
pub(crate) enum Event<'a> {
    /// Data on a stream.
    Receive {
        expedited: bool,
        flags: u32,
        bytes: &'a mut [u8],
        available: u32,
    },
    /// A datagram: lengths are signed there.
    Datagram {
        source: (i32, *mut c_void),
        options: (i32, *mut c_void),
        flags: u32,
        bytes: &'a mut [u8],
        available: u32,
    },
    /// A disconnect.
    Disconnect {
        data: (i32, *mut c_void),
        information: (i32, *mut c_void),
        flags: u32,
    },
    /// An error of an address.
    Error(NTSTATUS),
    /// Room for a send.
    SendPossible(u32),
}

/// Calls the handler that the engine registered for the event; `None` if there is none.
pub(crate) fn call(target: Target, event: Event<'_>) -> Option<Indication> {
    let number = match &event {
        Event::Receive {
            expedited: false, ..
        } => RECEIVE,
        Event::Receive { .. } => RECEIVE_EXPEDITED,
        Event::Datagram { .. } => RECEIVE_DATAGRAM,
        Event::Disconnect { .. } => DISCONNECT,
        Event::Error(_) => ERROR,
        Event::SendPossible(_) => SEND_POSSIBLE,
    };
    let registered = indicate::call_of(target.file, number)?;
    let context = target
        .context
        .map_or(registered.context, ptr::without_provenance_mut);
    let token = target
        .token
        .map_or(registered.token, ptr::without_provenance_mut);
    let (mut taken, mut irp): (u32, PIRP) = (0, ptr::null_mut());
    let mut indicated = 0;
    let status = match event {
        Event::Receive {
            expedited,
            flags,
            bytes,
            available,
        } => {
            // SAFETY: Registered for this event, so of this type.
            let handler =
                unsafe { mem::transmute::<*mut c_void, ReceiveHandler>(registered.routine) };
            let kind = if expedited { EXPEDITED } else { NORMAL };
            indicated = u32::try_from(bytes.len()).unwrap_or_default();
            // SAFETY: The data and both results are valid for the call (tdi.md §5).
            unsafe {
                handler(
                    context,
                    token,
                    flags | kind,
                    indicated,
                    available,
                    &raw mut taken,
                    start_of(bytes),
                    &raw mut irp,
                )
            }
        }
        Event::Datagram {
            source,
            options,
            flags,
            bytes,
            available,
        } => {
            // SAFETY: As above.
            let handler =
                unsafe { mem::transmute::<*mut c_void, DatagramHandler>(registered.routine) };
            indicated = u32::try_from(bytes.len()).unwrap_or_default();
            // SAFETY: As above; an address or options with a length are valid for it.
            unsafe {
                handler(
                    context,
                    source.0,
                    source.1,
                    options.0,
                    options.1,
                    flags,
                    indicated,
                    available,
                    &raw mut taken,
                    start_of(bytes),
                    &raw mut irp,
                )
            }
        }
        Event::Disconnect {
            data,
            information,
            flags,
        } => {
            // SAFETY: As above.
            let handler =
                unsafe { mem::transmute::<*mut c_void, DisconnectHandler>(registered.routine) };
            // SAFETY: As above.
            unsafe {
                handler(
                    context,
                    token,
                    data.0,
                    data.1,
                    information.0,
                    information.1,
                    flags,
                )
            }
        }
        Event::Error(code) => {
            // SAFETY: As above.
            let handler =
                unsafe { mem::transmute::<*mut c_void, ErrorHandler>(registered.routine) };
            // SAFETY: As above.
            unsafe { handler(context, code) }
        }
        Event::SendPossible(room) => {
            // SAFETY: As above.
            let handler =
                unsafe { mem::transmute::<*mut c_void, SendPossibleHandler>(registered.routine) };
            // SAFETY: As above.
            unsafe { handler(context, token, room) }
        }
    };
    Some(indicate::answered(
        target.file,
        status,
        indicated,
        taken,
        irp,
    ))
}

/// No bytes come with a pointer to nothing.
fn start_of(bytes: &mut [u8]) -> *mut c_void {
    if bytes.is_empty() {
        ptr::null_mut()
    } else {
        bytes.as_mut_ptr().cast()
    }
}

/// The `back`-th file of a kind, counted from the latest; closed ones too.
pub(crate) fn file_of_kind(kind: FileKind, back: usize) -> Option<usize> {
    TRANSPORT.read(|state| {
        let mut latest_first = (0..super::state::FILES)
            .rev()
            .filter(|&index| state.file(index).is_some_and(|file| file.kind == kind));
        let count = latest_first.clone().count();
        latest_first.nth(back.checked_rem(count)?)
    })
}

/// Completes the oldest held request (of a kind, if it is given) with a result that need not fit it; tells whether there
/// was one.
pub(crate) fn complete_with(kind: Option<Kind>, result: NTSTATUS, information: u64) -> bool {
    let wanted = |of: Kind| kind.is_none_or(|kind| kind == of);
    let Some(pending) = TRANSPORT.update(|state| state.claim(|held| wanted(held.kind))) else {
        return false;
    };
    if matches!(
        pending.kind,
        Kind::Receive | Kind::ReceiveDatagram | Kind::Query
    ) {
        let count = information.min(LONGEST_ANSWER);
        let bytes = alloc::vec![0x77; usize::try_from(count).unwrap_or_default()];
        // SAFETY: Claimed, so ours until it is completed; its chain was checked to be resident.
        let chain = unsafe { (*pending.irp).MdlAddress };
        // SAFETY: As above.
        unsafe { mdl::fill(chain, &bytes) };
    }
    complete::finish(&pending, result, information);
    true
}
