//! The routines under test, callable with anything: that is what they are tested for.

use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use rxce_client as client;
use rxce_client::{
    RXCE_ADDRESS, RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION, RXCE_CONNECTION_EVENT_HANDLER,
    RXCE_CONNECTION_INFORMATION, RXCE_TRANSPORT, RXCE_VC, TRANSPORT_ADDRESS,
};
use wdk_sys::{NTSTATUS, PMDL, UNICODE_STRING};

/// Engine bits of the send options (rxce.h).
pub(crate) const SEND_SYNCHRONOUS: u32 = 0x1000_0000;
/// Only part of the chain is to be sent.
pub(crate) const SEND_PARTIAL: u32 = 0x2000_0000;

/// Where the engine is; null before [`set_address`].
static ADDRESS: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// An address inside the engine's image. An imported function's would not do: it may be that of a jump, in this image or
/// of the loader's making.
pub(crate) fn address() -> *mut c_void {
    ADDRESS.load(Ordering::Relaxed)
}

/// Notes an address inside the engine's image: that of a handler which it registered.
pub(crate) fn set_address(address: *mut c_void) {
    ADDRESS.store(address, Ordering::Relaxed);
}

/// RxCeBuildTransport.
pub(crate) fn build_transport(
    transport: *mut RXCE_TRANSPORT,
    name: *mut UNICODE_STRING,
    quality_of_service: u32,
) -> NTSTATUS {
    // SAFETY: Null, or valid for as long as the routine's contract asks; bad values are what is tested.
    unsafe { client::RxCeBuildTransport(transport, name, quality_of_service) }
}

/// RxCeTearDownTransport.
pub(crate) fn tear_down_transport(transport: *mut RXCE_TRANSPORT) -> NTSTATUS {
    // SAFETY: A pointer that the engine did not build is never dereferenced (rxce.md §2.1).
    unsafe { client::RxCeTearDownTransport(transport) }
}

/// RxCeBuildAddress.
pub(crate) fn build_address(
    address: *mut RXCE_ADDRESS,
    transport: *mut RXCE_TRANSPORT,
    transport_address: *mut TRANSPORT_ADDRESS,
    handler: *mut RXCE_ADDRESS_EVENT_HANDLER,
    context: *mut c_void,
) -> NTSTATUS {
    // SAFETY: As for `build_transport`.
    unsafe { client::RxCeBuildAddress(address, transport, transport_address, handler, context) }
}

/// RxCeTearDownAddress.
pub(crate) fn tear_down_address(address: *mut RXCE_ADDRESS) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    unsafe { client::RxCeTearDownAddress(address) }
}

/// RxCeBuildConnection.
pub(crate) fn build_connection(
    address: *mut RXCE_ADDRESS,
    information: *mut RXCE_CONNECTION_INFORMATION,
    handler: *mut RXCE_CONNECTION_EVENT_HANDLER,
    context: *mut c_void,
    connection: *mut RXCE_CONNECTION,
    vc: *mut RXCE_VC,
) -> NTSTATUS {
    // SAFETY: As for `build_transport`.
    unsafe { client::RxCeBuildConnection(address, information, handler, context, connection, vc) }
}

/// RxCeTearDownConnection.
pub(crate) fn tear_down_connection(connection: *mut RXCE_CONNECTION) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    unsafe { client::RxCeTearDownConnection(connection) }
}

/// RxCeBuildVC.
pub(crate) fn build_vc(vc: *mut RXCE_VC, connection: *mut RXCE_CONNECTION) -> NTSTATUS {
    // SAFETY: As for `build_transport`.
    unsafe { client::RxCeBuildVC(vc, connection) }
}

/// RxCeInitiateVCDisconnect.
pub(crate) fn initiate(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    unsafe { client::RxCeInitiateVCDisconnect(vc) }
}

/// RxCeTearDownVC.
pub(crate) fn tear_down_vc(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    unsafe { client::RxCeTearDownVC(vc) }
}

/// RxCeSend.
pub(crate) fn send(
    vc: *mut RXCE_VC,
    options: u32,
    mdl: PMDL,
    length: u32,
    context: *mut c_void,
) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`; the chain stays valid until the send has completed.
    unsafe { client::RxCeSend(vc, options, mdl, length, context) }
}
