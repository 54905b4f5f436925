//! The two routines that take a connection's event table, whichever table the client's header has.

use core::{ffi::CStr, ptr::NonNull};

use rxce_engine::{Error, race::Choice};
use wdk_sys::{NTSTATUS, PVOID, STATUS_SUCCESS};

use super::{
    arguments::{address_array, remote},
    expect_system_thread, waiting,
};
use crate::{
    abi::{self, Client},
    connection::{lifecycle, multiple},
    tdi::bindings::TDI_CONNECTION_INFORMATION,
};

/// From where to whom.
pub(super) struct Peer {
    pub(super) local: *mut abi::Address,
    pub(super) information: *const TDI_CONNECTION_INFORMATION,
    pub(super) context: PVOID,
}

/// Builds a connection with its first circuit.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says.
pub(super) unsafe fn connection(
    routine: &CStr,
    peer: &Peer,
    handler: impl FnOnce() -> Result<abi::ConnectionEventHandler, Error>,
    connection: *mut abi::Connection,
    vc: *mut abi::Vc,
) -> NTSTATUS {
    waiting(routine, |at| {
        // SAFETY: Forwarded.
        let remote = unsafe { remote(peer.information) }?;
        let handler = handler()?;
        let (connection, vc) = (Client::new(connection)?, Client::new(vc)?);
        let local = Client::new(peer.local)?;
        lifecycle::build_connection(at, local, remote, handler, peer.context, connection, vc)
    })
}

/// What `RxCeBuildConnectionOverMultipleTransports` is given besides the table.
pub(super) struct Race {
    pub(super) device: *mut u8,
    pub(super) option: u32,
    pub(super) count: u32,
    pub(super) addresses: *const *mut abi::Address,
    pub(super) information: *const TDI_CONNECTION_INFORMATION,
    pub(super) context: PVOID,
    pub(super) routine: Option<abi::CompletionRoutine>,
    pub(super) completion: *mut abi::CompletionContext,
}

/// Lets several transports compete for a connection.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says; the context stays so until the completion routine was called.
pub(super) unsafe fn over_multiple(
    routine: &CStr,
    race: &Race,
    handler: impl FnOnce() -> Result<abi::ConnectionEventHandler, Error>,
) -> NTSTATUS {
    expect_system_thread(routine);
    let mut status = STATUS_SUCCESS;
    let failure = waiting(routine, |at| {
        let choice = Choice::new(race.option)?;
        let routine = race.routine.ok_or(Error::InvalidParameter)?;
        let completion = NonNull::new(race.completion).ok_or(Error::InvalidParameter)?;
        // SAFETY: Forwarded.
        let context_now = unsafe { completion.read() };
        let (connection, vc) = (context_now.pConnection, context_now.pVc);
        // SAFETY: Forwarded.
        let addresses = unsafe { address_array(race.addresses, race.count) }?;
        // SAFETY: Forwarded.
        let remote = unsafe { remote(race.information) }?;
        let handler = handler()?;
        let (connection, vc) = (Client::new(connection)?, Client::new(vc)?);
        let request = multiple::Request {
            device: race.device,
            choice,
            addresses,
            remote,
            handler,
            context: race.context,
            routine,
            completion,
            connection,
            vc,
        };
        status = multiple::build(at, &request)?;
        Ok(())
    });
    if failure == STATUS_SUCCESS {
        status
    } else {
        failure
    }
}
