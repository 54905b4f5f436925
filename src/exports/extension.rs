//! The exported routines beyond the documented ones (`RxCex…`; docs/extensions.md).

use core::ptr::NonNull;

use rxce_engine::Error;
use wdk_sys::{NTSTATUS, PVOID, STATUS_BUFFER_OVERFLOW, UNICODE_STRING};

use super::{arguments::table, builds, quick, waiting};
use crate::{
    abi::{
        self, Client,
        extension::{ChainedReceive, Counters, SmallEventHandler},
    },
    connection::{address, events, lifecycle, query},
    tdi::bindings::TDI_CONNECTION_INFORMATION,
};

/// `RxCeBuildConnection` with the table of older headers, which lacks Send Submitted.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCexBuildConnectionSmallTable(
    local: *mut abi::Address,
    information: *const TDI_CONNECTION_INFORMATION,
    handler: *const SmallEventHandler,
    context: PVOID,
    connection: *mut abi::Connection,
    vc: *mut abi::Vc,
) -> NTSTATUS {
    let peer = builds::Peer {
        local,
        information,
        context,
    };
    let handler = || {
        // SAFETY: Forwarded.
        unsafe { table(handler) }.map(Into::into)
    };
    let routine = c"RxCexBuildConnectionSmallTable";
    // SAFETY: Forwarded.
    unsafe { builds::connection(routine, &peer, handler, connection, vc) }
}

/// `RxCeBuildConnectionOverMultipleTransports` with that table.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says; the context stays so until the completion routine was called.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCexBuildConnectionOverMultipleTransportsSmallTable(
    device: *mut u8,
    option: u32,
    count: u32,
    addresses: *const *mut abi::Address,
    _server: *const UNICODE_STRING,
    information: *const TDI_CONNECTION_INFORMATION,
    handler: *const SmallEventHandler,
    context: PVOID,
    routine: Option<abi::CompletionRoutine>,
    completion: *mut abi::CompletionContext,
) -> NTSTATUS {
    let race = builds::Race {
        device,
        option,
        count,
        addresses,
        information,
        context,
        routine,
        completion,
    };
    let handler = || {
        // SAFETY: Forwarded.
        unsafe { table(handler) }.map(Into::into)
    };
    let routine = c"RxCexBuildConnectionOverMultipleTransportsSmallTable";
    // SAFETY: Forwarded.
    unsafe { builds::over_multiple(routine, &race, handler) }
}

/// Asks the transport of an address to offer whole packets as chains of MDLs.
///
/// # Safety
///
/// `callback` is NULL or as `rxce.h` declares it; `address` is not read unless it is built.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCexAcceptChainedReceives(
    address: *mut abi::Address,
    callback: Option<ChainedReceive>,
) -> NTSTATUS {
    waiting(c"RxCexAcceptChainedReceives", |at| {
        let callback = callback.ok_or(Error::InvalidParameter)?;
        let handler = events::chained_handler();
        address::accept_chained(at, Client::new(address)?, callback, handler)
    })
}

/// Cancels the build, of whichever routine, that is to fill a circuit's structure.
///
/// # Safety
///
/// None: the pointer is not read unless the engine has shown a circuit there.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCexCancelConnect(vc: *mut abi::Vc) -> NTSTATUS {
    quick(c"RxCexCancelConnect", |_| {
        lifecycle::cancel_build(Client::new(vc)?)
    })
}

/// Tells what is counted for a structure of any of the four kinds.
///
/// # Safety
///
/// `counters` is NULL or valid for writes of as many bytes as its `Size` says; `structure` is not read unless the engine
/// built it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCexQueryCounters(
    structure: *mut u8,
    counters: *mut Counters,
) -> NTSTATUS {
    quick(c"RxCexQueryCounters", |_| {
        let to = NonNull::new(counters)
            .filter(|counters| counters.is_aligned())
            .ok_or(Error::InvalidParameter)?;
        let now = query::counters(structure)?;
        // SAFETY: Forwarded: the size comes first.
        if unsafe { to.cast::<u32>().read() } < now.Size {
            return Err(Error::Transport(STATUS_BUFFER_OVERFLOW));
        }
        // SAFETY: Forwarded: the client has room for all of it.
        unsafe { to.write(now) };
        Ok(())
    })
}
