//! What arguments mean: details for the records of a few routines.
//!
//! Runs before a routine has checked its arguments: memory is read through the host's kernel, which refuses bad addresses.

use crate::arena;
use crate::gate::Call;
use crate::pool::tag_text;

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
            "{} -> {}",
            counted(call.addr(0))?,
            counted(call.addr(1))?
        )),
        "IoDeleteSymbolicLink" | "MmGetSystemRoutineAddress" | "IoGetDeviceObjectPointer" => {
            counted(call.addr(0))
        }
        "ZwClose" => Some(format!("handle 0x{:X}", call.arg(0))),
        _ => None,
    }
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

/// Whether a routine returns nothing.
pub(crate) fn returns_nothing(routine: &str) -> bool {
    const PREFIXES: [&str; 8] = [
        "ExFree",
        "IoFree",
        "KeInitialize",
        "KeRelease",
        "ObfDereference",
        "ObDereference",
        "IoDeleteDevice",
        "IofCompleteRequest",
    ];
    PREFIXES.iter().any(|prefix| routine.starts_with(prefix))
}
