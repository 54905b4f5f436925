//! IRP_MJ_CREATE: what is being opened is told by the extended attribute (tdi.md §2.2).

use core::{ffi::c_void, ptr, slice};

use wdk_sys::{IO_STACK_LOCATION, NTSTATUS, PIRP};

use super::{
    kinds::{FileKind, Kind, Personality, Script},
    state::{DATA, EVENTS, File, Handler, Record, TRANSPORT},
};
use crate::nt::{irp as irps, irql, status};

/// The one entry of an EA list, split.
struct Attribute<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// `FILE_FULL_EA_INFORMATION`: a single, well-formed entry that fills the buffer.
fn parse(list: &[u8]) -> Option<Attribute<'_>> {
    let next = u32::from_le_bytes(*list.first_chunk()?);
    let name_length = usize::from(*list.get(5)?);
    let value_length = usize::from(u16::from_le_bytes(*list.get(6..)?.first_chunk()?));
    let name = list.get(8..)?.get(..name_length)?;
    let rest = list.get(8..)?.get(name_length..)?;
    let (&terminator, rest) = rest.split_first()?;
    let value = rest.get(..value_length)?;
    (next == 0 && terminator == 0 && rest.len() == value_length)
        .then_some(Attribute { name, value })
}

/// A well-formed TRANSPORT_ADDRESS that fills `bytes` (tdi.md §2.3).
fn is_transport_address(bytes: &[u8]) -> bool {
    let Some(count) = bytes.first_chunk().map(|chunk| i32::from_le_bytes(*chunk)) else {
        return false;
    };
    let mut rest = bytes.get(4..).unwrap_or_default();
    for _ in 0..count {
        let Some(length) = rest
            .first_chunk()
            .map(|chunk| usize::from(u16::from_le_bytes(*chunk)))
        else {
            return false;
        };
        let Some(next) = rest.get(length.saturating_add(4)..) else {
            return false;
        };
        rest = next;
    }
    count > 0 && rest.is_empty()
}

/// Opens a control channel, an address or an endpoint.
///
/// # Safety
///
/// `irp` is the create request, at `stack`.
pub(super) unsafe fn create(
    personality: Personality,
    irp: PIRP,
    stack: *mut IO_STACK_LOCATION,
) -> Result<(), NTSTATUS> {
    // SAFETY: The stack location of a create request.
    let location = unsafe { &*stack };
    // SAFETY: As above.
    let length = unsafe { location.Parameters.Create }.EaLength;
    // SAFETY: The request is ours.
    let list = unsafe { irps::system_buffer(irp) };
    let list = if length == 0 || list.is_null() {
        &[][..]
    } else {
        // SAFETY: The I/O manager's copy of the list, `EaLength` bytes, alive for this call.
        unsafe { slice::from_raw_parts(list, length as usize) }
    };
    let attribute = parse(list);
    let mut token: *mut c_void = ptr::null_mut();
    let mut data = [0; DATA];
    let kind = match &attribute {
        None if list.is_empty() => FileKind::Control,
        Some(Attribute {
            name: b"TransportAddress",
            value,
        }) if is_transport_address(value) => {
            for (to, from) in data.iter_mut().zip(*value) {
                *to = *from;
            }
            FileKind::Address
        }
        Some(Attribute {
            name: b"ConnectionContext",
            value,
        }) if value.len() == size_of::<usize>() => {
            let value = value
                .first_chunk()
                .copied()
                .map(usize::from_le_bytes)
                .unwrap_or_default();
            token = ptr::without_provenance_mut(value);
            FileKind::Endpoint
        }
        _ => {
            TRANSPORT
                .update(|state| state.violated("malformed extended attribute", u64::from(length)));
            return Err(status::INVALID_PARAMETER);
        }
    };
    // SAFETY: The stack location of a create request.
    let object = unsafe { (*stack).FileObject };
    let file = File {
        kind,
        personality,
        handle_open: true,
        open: true,
        object: object.cast(),
        token,
        address: None,
        handlers: [Handler {
            routine: ptr::null_mut(),
            context: ptr::null_mut(),
        }; EVENTS],
    };
    let mut record = Record::now(Kind::Open(kind), usize::MAX);
    record.data = data;
    record.length = length;
    let result = TRANSPORT.update(|state| {
        if record.irql != irql::PASSIVE || record.apcs_disabled {
            state.violated(
                "an object was opened above PASSIVE_LEVEL or with APCs disabled",
                u64::from(record.irql),
            );
        }
        let fault = state.fault.count(record.kind, 0).map(|(_, status)| status);
        let script = state.script_for(Some(personality), record.kind);
        let status = match fault.map_or(script, Script::Inline) {
            Script::Inline(status) => status,
            // An open that pends is not part of any script.
            Script::Pend(_) | Script::Later(_) | Script::Hook(..) => status::SUCCESS,
        };
        let place = state.append(record);
        state.completed(place, status);
        if status < 0 {
            return Err(status);
        }
        state.add_file(file).ok_or(status::INSUFFICIENT_RESOURCES)
    });
    let index = result?;
    // SAFETY: A file object being opened on our device: FsContext is ours.
    unsafe { (*object).FsContext = ptr::without_provenance_mut(index.saturating_add(1)) };
    Ok(())
}
