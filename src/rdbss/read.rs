//! File data: `MRxLowIOSubmit[LOWIO_OP_READ]`.

use core::ptr::NonNull;

use p9::Request;
use rxce_engine::Error;
use wdk_sys::{
    NTSTATUS, PVOID, STATUS_END_OF_FILE, STATUS_INVALID_DEVICE_REQUEST, STATUS_PENDING,
    STATUS_SUCCESS,
};

use super::{
    abi::{ReadWrite, RxContext},
    imports::RxLowIoCompletion,
    open::{self, Open},
    status, worker,
};
use crate::nt::{irql::Pageable, mdl};

/// `RX_CONTEXT_FLAG_ASYNC_OPERATION`.
const ASYNC_OPERATION: u32 = 0x1000;

/// Reads; a request that may be completed later goes to a worker, so that its thread can make the next one.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn submit(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: Forwarded.
    let request = unsafe { RxContext::of(context) };
    let may_pend = request.Flags & ASYNC_OPERATION != 0;
    // SAFETY: The routine takes such a request, which is RDBSS's until it is completed.
    if may_pend && unsafe { worker::post(serve, context.cast()) }.is_ok() {
        return STATUS_PENDING;
    }
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    unsafe { run(&at, request) }
}

unsafe extern "C" fn serve(context: PVOID) {
    let context: *mut RxContext = context.cast();
    // SAFETY: Worker routines run at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: The request is this routine's until it is completed.
    let request = unsafe { RxContext::of(context) };
    // SAFETY: As above.
    request.StoredStatus = unsafe { run(&at, request) };
    // SAFETY: As above; nobody touches it here afterwards.
    let _ = unsafe { RxLowIoCompletion(context) };
}

/// # Safety
///
/// As [`submit`].
unsafe fn run(at: &Pageable, context: &mut RxContext) -> NTSTATUS {
    context.InformationToReturn = 0;
    // SAFETY: The parameters of a read.
    let wanted = unsafe { context.read_write() };
    // SAFETY: Forwarded.
    let read = unsafe { open::of(context.pRelevantSrvOpen) }
        // SAFETY: Forwarded.
        .and_then(|open| unsafe { read(at, &open, &wanted) });
    match read {
        Ok(0) if wanted.ByteCount > 0 => STATUS_END_OF_FILE,
        Ok(count) => {
            context.InformationToReturn = count;
            STATUS_SUCCESS
        }
        Err(error) => status(error),
    }
}

/// Reads until the buffer is full or the file ends.
///
/// # Safety
///
/// The buffer is locked, describes as many bytes as are wanted, and is nobody else's.
unsafe fn read(at: &Pageable, open: &Open, wanted: &ReadWrite) -> Result<usize, Error> {
    if open.is_directory {
        return Err(Error::Transport(STATUS_INVALID_DEVICE_REQUEST));
    }
    let mut offset = u64::try_from(wanted.ByteOffset).map_err(|_| Error::InvalidParameter)?;
    if wanted.ByteCount == 0 {
        return Ok(0);
    }
    let buffer = NonNull::new(wanted.Buffer).ok_or(Error::InvalidParameter)?;
    // SAFETY: Forwarded.
    if unsafe { mdl::byte_count(buffer) } < wanted.ByteCount {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: Forwarded.
    let start = unsafe { mdl::system_address(buffer) }.ok_or(Error::InsufficientResources)?;
    let mut done = 0_u32;
    while let Some(count) = wanted
        .ByteCount
        .checked_sub(done)
        .filter(|missing| *missing > 0)
        .map(|missing| missing.min(open.session.most_data()))
    {
        let request = Request::Read {
            fid: open.fid,
            offset,
            count,
        };
        // SAFETY: Forwarded: `done + count` bytes are described.
        let place = unsafe { start.as_ptr().add(done as usize) };
        // SAFETY: As above; the pages are locked.
        let read = unsafe { open.session.fetch(at, &request, place, count as usize) };
        let came = match read {
            // What came before is there: the next read meets the error, if it stays.
            Err(_) if done > 0 => 0,
            other => u32::try_from(other?).map_err(|_| Error::InvalidParameter)?,
        };
        if came == 0 {
            break;
        }
        done = done.saturating_add(came);
        offset = offset.saturating_add(u64::from(came));
    }
    Ok(done as usize)
}
