//! What arguments mean: details for the records of a few routines.
//!
//! Runs before a routine has checked its arguments: memory is read through the host's kernel, which refuses bad addresses.

use super::{Record, What};
use crate::arena;
use crate::gate::Call;
use crate::layout::io::MJ_INTERNAL_DEVICE_CONTROL;
use crate::pool::tag_text;
use crate::tdi;

/// Details of a call, if its routine is one of those with something to tell.
pub(crate) fn call(routine: &str, call: &Call) -> Option<String> {
    match routine {
        "ExAllocatePool2" | "ExAllocatePoolWithTag" => Some(format!(
            "{} bytes, tag '{}'",
            call.arg(1),
            tag_text(call.u32(2))
        )),
        "ZwCreateFile" | "ZwOpenFile" | "IoCreateFile" => object_name(call.addr(2)),
        "ZwOpenKey" | "ZwCreateKey" => object_name(call.addr(2)),
        "IoCreateDevice" => counted(call.addr(2)),
        "IoCreateSymbolicLink" => Some(format!(
            "{} to {}",
            counted(call.addr(0))?,
            counted(call.addr(1))?
        )),
        "IoDeleteSymbolicLink" | "MmGetSystemRoutineAddress" | "IoGetDeviceObjectPointer" => {
            counted(call.addr(0))
        }
        "ZwClose" => Some(format!("handle 0x{:X}", call.arg(0))),
        "IofCallDriver" => peer(call.addr(1)).map(|peer| format!("to {peer}")),
        _ => None,
    }
}

/// `IRP.Tail.Overlay.CurrentStackLocation`.
const IRP_STACK: usize = 0xB8;
/// Bytes of an `IO_STACK_LOCATION`.
const STACK_BYTES: usize = 0x48;
/// `TDI_CONNECTION_INFORMATION.RemoteAddressLength`; the pointer follows.
const REMOTE_LENGTH: usize = 0x20;
/// The longest TRANSPORT_ADDRESS worth reading.
const LONGEST_ADDRESS: usize = 256;

/// The remote address of a TDI_CONNECT or TDI_SEND_DATAGRAM that is about to be sent. Its parameters hold the
/// `TDI_CONNECTION_INFORMATION` at 8 (`TDI_REQUEST_KERNEL`, `TDI_REQUEST_KERNEL_SENDDG`).
fn peer(irp: usize) -> Option<std::net::SocketAddr> {
    let stack = pointer(irp.checked_add(IRP_STACK)?)?.checked_sub(STACK_BYTES)?;
    if ![
        [MJ_INTERNAL_DEVICE_CONTROL, 0x03],
        [MJ_INTERNAL_DEVICE_CONTROL, 0x09],
    ]
    .contains(&read(stack)?)
    {
        return None;
    }
    let information = pointer(stack + 0x10)?;
    let length = u32::from_le_bytes(read(information.checked_add(REMOTE_LENGTH)?)?) as usize;
    let mut address = vec![0; length.min(LONGEST_ADDRESS)];
    arena::read_checked(pointer(information + REMOTE_LENGTH + 8)?, &mut address).then_some(())?;
    tdi::address::parse(&address)
}

/// The handle that a successful call has just made.
pub(super) fn made_handle(record: &Record) -> Option<u64> {
    const MAKERS: [&str; 6] = [
        "IoCreateFile",
        "PsCreateSystemThread",
        "ZwCreateFile",
        "ZwCreateKey",
        "ZwOpenFile",
        "ZwOpenKey",
    ];
    let What::Call { routine, .. } = record.what else {
        return None;
    };
    let made = MAKERS.contains(&routine) && record.result? & 0x8000_0000 == 0;
    let place = usize::try_from(record.args[0]).ok()?;
    made.then(|| read(place).map(u64::from_le_bytes)).flatten()
}

/// A number in driver memory.
fn read<const N: usize>(address: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    arena::read_checked(address, &mut bytes).then_some(bytes)
}

fn pointer(address: usize) -> Option<usize> {
    read(address).map(usize::from_le_bytes)
}

/// `OBJECT_ATTRIBUTES.ObjectName`.
fn object_name(attributes: usize) -> Option<String> {
    counted(pointer(attributes + 0x10)?)
}

/// A `UNICODE_STRING`.
fn counted(string: usize) -> Option<String> {
    let length = usize::from(u16::from_le_bytes(read(string)?));
    let mut bytes = vec![0; length];
    if !arena::read_checked(pointer(string + 8)?, &mut bytes) {
        return None;
    }
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Some(String::from_utf16_lossy(&units))
}

/// Whether a routine returns an NTSTATUS.
pub(crate) fn returns_status(routine: &str) -> bool {
    const OTHERS: [&str; 14] = [
        "IofCallDriver",
        "IoCreateDevice",
        "IoCreateFile",
        "IoCreateSymbolicLink",
        "IoDeleteSymbolicLink",
        "IoGetDeviceObjectPointer",
        "IoSetCompletionRoutineEx",
        "KeDelayExecutionThread",
        "KeWaitForMultipleObjects",
        "KeWaitForSingleObject",
        "ObReferenceObjectByHandle",
        "ObReferenceObjectByPointer",
        "PsCreateSystemThread",
        "RtlAppendUnicodeToString",
    ];
    routine.starts_with("Zw") || OTHERS.contains(&routine)
}
