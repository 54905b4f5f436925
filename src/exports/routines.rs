//! The table of routines, for clients without an import of this image.

use core::{ffi::c_void, mem::offset_of, ptr::NonNull};

use rxce_engine::Error;
use wdk_sys::{
    NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
};

use super::{
    RxCeAllocateIrpWithMDL, RxCeBuildAddress, RxCeBuildConnection,
    RxCeBuildConnectionOverMultipleTransports, RxCeBuildTransport, RxCeBuildVC,
    RxCeCancelConnectRequest, RxCeFreeIrp, RxCeInitiateVCDisconnect, RxCeQueryAdapterStatus,
    RxCeQueryInformation, RxCeQueryTransportInformation, RxCeSend, RxCeSendDatagram,
    RxCeTearDownAddress, RxCeTearDownConnection, RxCeTearDownTransport, RxCeTearDownVC,
    extension::{
        RxCexAcceptChainedReceives, RxCexBuildConnectionOverMultipleTransportsSmallTable,
        RxCexBuildConnectionSmallTable, RxCexCancelConnect, RxCexQueryCounters,
    },
    quick,
};
use crate::abi::extension::{FIRST_ROUTINES, Routines, VERSION};

/// In the order of `RXCEX_ROUTINES`.
static ROUTINES: Routines = Routines {
    Size: SIZE,
    Version: VERSION,
    routines: [
        RxCeAllocateIrpWithMDL as *const c_void,
        RxCeBuildAddress as *const c_void,
        RxCeBuildConnection as *const c_void,
        RxCeBuildConnectionOverMultipleTransports as *const c_void,
        RxCeBuildTransport as *const c_void,
        RxCeBuildVC as *const c_void,
        RxCeCancelConnectRequest as *const c_void,
        RxCeFreeIrp as *const c_void,
        RxCeInitiateVCDisconnect as *const c_void,
        RxCeQueryAdapterStatus as *const c_void,
        RxCeQueryInformation as *const c_void,
        RxCeQueryTransportInformation as *const c_void,
        RxCeSend as *const c_void,
        RxCeSendDatagram as *const c_void,
        RxCeTearDownAddress as *const c_void,
        RxCeTearDownConnection as *const c_void,
        RxCeTearDownTransport as *const c_void,
        RxCeTearDownVC as *const c_void,
        RxCexBuildConnectionSmallTable as *const c_void,
        RxCexBuildConnectionOverMultipleTransportsSmallTable as *const c_void,
        RxCexCancelConnect as *const c_void,
        RxCexQueryCounters as *const c_void,
        RxCexAcceptChainedReceives as *const c_void,
    ],
};

/// The table's size, in the type of its member.
const SIZE: u32 = {
    assert!(size_of::<Routines>() < 0x1000);
    let [low, high, ..] = size_of::<Routines>().to_le_bytes();
    u32::from_le_bytes([low, high, 0, 0])
};

/// The size of the first version's table: a client cannot have less.
const FIRST_SIZE: u32 = {
    let [low, high, ..] = (8 + 8 * FIRST_ROUTINES).to_le_bytes();
    u32::from_le_bytes([low, high, 0, 0])
};

/// Fills a client's table, as far as the client knows it, and at most `limit` bytes.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for a pointer that cannot be a table, `STATUS_BUFFER_OVERFLOW` for one that is too small.
///
/// # Safety
///
/// `table` is NULL or valid for writes of as many bytes as its `Size` says.
unsafe fn fill(table: *mut Routines, limit: u32) -> Result<(), Error> {
    let table = NonNull::new(table)
        .filter(|table| table.is_aligned())
        .ok_or(Error::InvalidParameter)?;
    const { assert!(offset_of!(Routines, Size) == 0) };
    // SAFETY: Forwarded: the size comes first.
    let room = unsafe { table.cast::<u32>().read() }.min(limit);
    if room < FIRST_SIZE {
        return Err(Error::Transport(STATUS_BUFFER_OVERFLOW));
    }
    // Whole members only.
    let filled = room.min(SIZE) & !7;
    let from = NonNull::from_ref(&ROUTINES).cast::<u8>();
    // SAFETY: Forwarded: the client has room for that much, and so many bytes are there.
    unsafe {
        table
            .cast::<u8>()
            .copy_from_nonoverlapping(from, filled as usize);
    }
    // SAFETY: As above.
    unsafe { table.cast::<u32>().write(filled) };
    Ok(())
}

/// Hands out the table of routines.
///
/// # Safety
///
/// `table` is NULL or valid for writes of as many bytes as its `Size` says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCexGetRoutines(table: *mut Routines) -> NTSTATUS {
    quick(c"RxCexGetRoutines", |_| {
        // SAFETY: Forwarded.
        unsafe { fill(table, u32::MAX) }
    })
}

/// `IOCTL_INTERNAL_RXCEX_GET_ROUTINES`.
const GET_ROUTINES: u32 = 0x0022_2403;

/// Whether [`answer_internal`] knows a code.
#[cfg(feature = "redirector")]
pub(crate) const fn answers_internal(code: u32) -> bool {
    code == GET_ROUTINES
}

/// Answers a request of another driver to the device.
///
/// # Safety
///
/// `output` is NULL or valid for writes of `length` bytes.
pub(crate) unsafe fn answer_internal(code: u32, output: *mut c_void, length: u32) -> NTSTATUS {
    if code != GET_ROUTINES {
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    if length < FIRST_SIZE {
        return STATUS_BUFFER_OVERFLOW;
    }
    if output.is_null() {
        return STATUS_INVALID_PARAMETER;
    }
    quick(c"IOCTL_INTERNAL_RXCEX_GET_ROUTINES", |_| {
        // SAFETY: Forwarded; the table's own size is checked too.
        unsafe { fill(output.cast(), length) }
    })
}
