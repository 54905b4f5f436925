//! The routines under test, callable with anything: that is what they are tested for. Every answer is noted, so that a
//! table can tell which vector produced which.

pub(crate) mod extension;

use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use conform_ioctl::{Answer, Answers, Routine};
use rxce_client as client;
use rxce_client::{
    PRXCE_CONNECTION_COMPLETION_ROUTINE, RXCE_ADDRESS, RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION,
    RXCE_CONNECTION_COMPLETION_CONTEXT, RXCE_CONNECTION_EVENT_HANDLER, RXCE_CONNECTION_INFORMATION,
    RXCE_TRANSPORT, RXCE_TRANSPORT_INFORMATION, RXCE_VC, TRANSPORT_ADDRESS,
};
use wdk_sys::{NTSTATUS, PIRP, PMDL, UNICODE_STRING};

use crate::nt::{irql, watch::Watch};

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

/// What the routines answered since the last [`forget_answers`].
static ANSWERS: Watch<Answers> = Watch::new(Answers::none());

/// What the routines answered since the last [`forget_answers`].
pub(crate) fn answers() -> Answers {
    ANSWERS.read(|answers| *answers)
}

/// Starts to note answers afresh.
pub(crate) fn forget_answers() {
    ANSWERS.update(|answers| *answers = Answers::none());
}

fn note(routine: Routine, answer: Answer) {
    // A spin lock is out of reach above that level, where vectors call too.
    if irql::current() <= irql::DISPATCH {
        ANSWERS.update(|answers| answers.note(routine, answer));
    }
}

fn noted(routine: Routine, answer: NTSTATUS) -> NTSTATUS {
    note(routine, Answer::of_status(answer));
    answer
}

/// RxCeBuildTransport.
pub(crate) fn build_transport(
    transport: *mut RXCE_TRANSPORT,
    name: *mut UNICODE_STRING,
    quality_of_service: u32,
) -> NTSTATUS {
    // SAFETY: Null, or valid for as long as the routine's contract asks; bad values are what is tested.
    let answer = unsafe { client::RxCeBuildTransport(transport, name, quality_of_service) };
    noted(Routine::BuildTransport, answer)
}

/// RxCeTearDownTransport.
pub(crate) fn tear_down_transport(transport: *mut RXCE_TRANSPORT) -> NTSTATUS {
    // SAFETY: A pointer that the engine did not build is never dereferenced (rxce.md §2.1).
    let answer = unsafe { client::RxCeTearDownTransport(transport) };
    noted(Routine::TearDownTransport, answer)
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
    let answer = unsafe {
        client::RxCeBuildAddress(address, transport, transport_address, handler, context)
    };
    noted(Routine::BuildAddress, answer)
}

/// RxCeTearDownAddress.
pub(crate) fn tear_down_address(address: *mut RXCE_ADDRESS) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    let answer = unsafe { client::RxCeTearDownAddress(address) };
    noted(Routine::TearDownAddress, answer)
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
    let answer = unsafe {
        client::RxCeBuildConnection(address, information, handler, context, connection, vc)
    };
    noted(Routine::BuildConnection, answer)
}

/// What RxCeBuildConnectionOverMultipleTransports is given.
#[derive(Clone, Copy)]
pub(crate) struct Multiple {
    /// The redirector's device.
    pub(crate) device: *mut c_void,
    /// First, best or all.
    pub(crate) option: u32,
    pub(crate) count: u32,
    pub(crate) addresses: *mut *mut RXCE_ADDRESS,
    pub(crate) information: *mut RXCE_CONNECTION_INFORMATION,
    pub(crate) handler: *mut RXCE_CONNECTION_EVENT_HANDLER,
    pub(crate) event_context: *mut c_void,
    pub(crate) routine: PRXCE_CONNECTION_COMPLETION_ROUTINE,
    pub(crate) context: *mut RXCE_CONNECTION_COMPLETION_CONTEXT,
}

/// RxCeBuildConnectionOverMultipleTransports.
pub(crate) fn build_over_multiple(with: Multiple) -> NTSTATUS {
    let option = client::enumeration(with.option);
    // SAFETY: As for `build_transport`; what must outlive the race is kept by the fixture.
    let answer = unsafe {
        client::RxCeBuildConnectionOverMultipleTransports(
            with.device.cast(),
            option,
            with.count,
            with.addresses,
            ptr::null_mut(),
            with.information,
            with.handler,
            with.event_context,
            with.routine,
            with.context,
        )
    };
    noted(Routine::BuildConnectionOverMultipleTransports, answer)
}

/// RxCeTearDownConnection.
pub(crate) fn tear_down_connection(connection: *mut RXCE_CONNECTION) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    let answer = unsafe { client::RxCeTearDownConnection(connection) };
    noted(Routine::TearDownConnection, answer)
}

/// RxCeBuildVC.
pub(crate) fn build_vc(vc: *mut RXCE_VC, connection: *mut RXCE_CONNECTION) -> NTSTATUS {
    // SAFETY: As for `build_transport`.
    let answer = unsafe { client::RxCeBuildVC(vc, connection) };
    noted(Routine::BuildVC, answer)
}

/// RxCeBuildVC where several answers are right and chance decides: as for [`initiate_by_chance`].
pub(crate) fn build_vc_by_chance(vc: *mut RXCE_VC, connection: *mut RXCE_CONNECTION) -> NTSTATUS {
    // SAFETY: As for `build_transport`.
    unsafe { client::RxCeBuildVC(vc, connection) }
}

/// RxCeInitiateVCDisconnect.
pub(crate) fn initiate(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    let answer = unsafe { client::RxCeInitiateVCDisconnect(vc) };
    noted(Routine::InitiateVCDisconnect, answer)
}

/// RxCeInitiateVCDisconnect where two answers are right and chance decides: neither is noted, so that the table of answers
/// does not depend on chance.
pub(crate) fn initiate_by_chance(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    unsafe { client::RxCeInitiateVCDisconnect(vc) }
}

/// RxCeTearDownVC.
pub(crate) fn tear_down_vc(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    let answer = unsafe { client::RxCeTearDownVC(vc) };
    noted(Routine::TearDownVC, answer)
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
    let answer = unsafe { client::RxCeSend(vc, options, mdl, length, context) };
    noted(Routine::Send, answer)
}

/// RxCeSendDatagram.
pub(crate) fn send_datagram(
    address: *mut RXCE_ADDRESS,
    information: *mut RXCE_CONNECTION_INFORMATION,
    options: u32,
    mdl: PMDL,
    length: u32,
    context: *mut c_void,
) -> NTSTATUS {
    // SAFETY: As for `send`.
    let answer =
        unsafe { client::RxCeSendDatagram(address, information, options, mdl, length, context) };
    noted(Routine::SendDatagram, answer)
}

/// RxCeQueryInformation.
pub(crate) fn query_information(
    vc: *mut RXCE_VC,
    class: u32,
    buffer: *mut c_void,
    length: u32,
) -> NTSTATUS {
    let class = client::enumeration(class);
    // SAFETY: As for `tear_down_transport`; the buffer is NULL or as long as stated, except where it must not be looked at.
    let answer = unsafe { client::RxCeQueryInformation(vc, class, buffer, length) };
    noted(Routine::QueryInformation, answer)
}

/// RxCeQueryAdapterStatus; `status` has room for 60 bytes.
pub(crate) fn query_adapter_status(transport: *mut RXCE_TRANSPORT, status: *mut u8) -> NTSTATUS {
    // SAFETY: As for `query_information`.
    let answer = unsafe { client::RxCeQueryAdapterStatus(transport, status.cast()) };
    noted(Routine::QueryAdapterStatus, answer)
}

/// RxCeQueryTransportInformation.
pub(crate) fn query_transport_information(
    transport: *mut RXCE_TRANSPORT,
    information: *mut RXCE_TRANSPORT_INFORMATION,
) -> NTSTATUS {
    // SAFETY: As for `query_information`.
    let answer = unsafe { client::RxCeQueryTransportInformation(transport, information) };
    noted(Routine::QueryTransportInformation, answer)
}

/// RxCeCancelConnectRequest.
pub(crate) fn cancel_connect_request(
    address: *mut RXCE_ADDRESS,
    server: *mut UNICODE_STRING,
    information: *mut RXCE_CONNECTION_INFORMATION,
) -> NTSTATUS {
    // SAFETY: Nothing is looked at (rxce.md §5.16).
    let answer = unsafe { client::RxCeCancelConnectRequest(address, server, information) };
    noted(Routine::CancelConnectRequest, answer)
}

/// RxCeAllocateIrpWithMDL.
pub(crate) fn allocate_irp(stack_size: i8, charge_quota: bool, mdl: PMDL) -> PIRP {
    // SAFETY: The chain is not looked at.
    let irp = unsafe { client::RxCeAllocateIrpWithMDL(stack_size, charge_quota.into(), mdl) };
    let answer = if irp.is_null() {
        Answer::Null
    } else {
        Answer::Pointer
    };
    note(Routine::AllocateIrpWithMDL, answer);
    irp
}

/// RxCeFreeIrp.
///
/// # Safety
///
/// `irp` is NULL, or a packet that is not in flight and that nobody uses any more.
pub(crate) unsafe fn free_irp(irp: PIRP) {
    // SAFETY: By this function's contract.
    unsafe { client::RxCeFreeIrp(irp) };
    note(Routine::FreeIrp, Answer::Returned);
}
