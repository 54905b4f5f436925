//! The exported routines: check, convert, call, convert back.
//!
//! Each follows the driver reference page of its name. All are documented for `IRQL <= APC_LEVEL`; what happens above is
//! the specification's 3.1.4: routines that neither wait nor touch handles work up to `DISPATCH_LEVEL`, all others answer
//! `STATUS_INVALID_PARAMETER` and touch nothing.

mod arguments;
mod builds;
mod extension;
mod routines;

pub(crate) use self::routines::answer_internal;
#[cfg(feature = "redirector")]
pub(crate) use self::routines::answers_internal;

use core::ffi::CStr;

use rxce_engine::{Error, mutant, send::SYNCHRONOUS};
use wdk_sys::{
    BOOLEAN, NTSTATUS, PIRP, PMDL, PVOID, STATUS_INVALID_PARAMETER, STATUS_NOT_IMPLEMENTED,
    STATUS_SUCCESS, UNICODE_STRING,
};

use self::arguments::{device_name, local_address, remote, table};
use crate::{
    abi::{self, Client},
    connection::{
        address, datagram, events, lifecycle, peer,
        query::{self, Buffer},
        send::{self, Delivery},
        transport,
    },
    nt::{
        irql::{self, Pageable},
        report, tracked_irp,
    },
    status,
    tdi::bindings::TDI_CONNECTION_INFORMATION,
};

/// Binds a TDI provider.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeBuildTransport(
    transport: *mut abi::Transport,
    name: *const UNICODE_STRING,
    quality_of_service: u32,
) -> NTSTATUS {
    waiting(c"RxCeBuildTransport", |at| {
        // SAFETY: Forwarded.
        let name = unsafe { device_name(name) }?;
        transport::build(at, Client::new(transport)?, name, quality_of_service)
    })
}

/// Unbinds a provider. One that is not bound is a success.
///
/// # Safety
///
/// `transport` is a kernel address or refused; it is not read unless it is bound.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeTearDownTransport(
    transport: *mut abi::Transport,
) -> NTSTATUS {
    waiting(c"RxCeTearDownTransport", |at| {
        transport::tear_down(at, Client::new(transport)?)
    })
}

/// Opens a local address.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeBuildAddress(
    address: *mut abi::Address,
    transport: *mut abi::Transport,
    local: *const u8,
    handler: *const abi::AddressEventHandler,
    context: PVOID,
) -> NTSTATUS {
    waiting(c"RxCeBuildAddress", |at| {
        // SAFETY: Forwarded.
        let local = unsafe { local_address(local) }?;
        // SAFETY: Forwarded.
        let handler = unsafe { table(handler) }?;
        address::build(
            at,
            Client::new(address)?,
            Client::new(transport)?,
            local,
            handler,
            context,
            &events::handlers(),
        )
    })
}

/// Closes a local address.
///
/// # Safety
///
/// None: the pointer is not read unless the address is built.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeTearDownAddress(address: *mut abi::Address) -> NTSTATUS {
    waiting(c"RxCeTearDownAddress", |at| {
        address::tear_down(at, Client::new(address)?)
    })
}

/// Builds a connection with its first circuit; waits for the transport's connect.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeBuildConnection(
    local: *mut abi::Address,
    information: *const TDI_CONNECTION_INFORMATION,
    handler: *const abi::ConnectionEventHandler,
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
        unsafe { table(handler) }
    };
    // SAFETY: Forwarded.
    unsafe { builds::connection(c"RxCeBuildConnection", &peer, handler, connection, vc) }
}

/// Lets several transports compete for a connection; in a system worker thread. `STATUS_PENDING` means that the
/// completion routine will be called.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says; the context stays so until the completion routine was called.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeBuildConnectionOverMultipleTransports(
    device: *mut u8,
    option: u32,
    count: u32,
    addresses: *const *mut abi::Address,
    _server: *const UNICODE_STRING,
    information: *const TDI_CONNECTION_INFORMATION,
    handler: *const abi::ConnectionEventHandler,
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
        unsafe { table(handler) }
    };
    // SAFETY: Forwarded.
    unsafe { builds::over_multiple(c"RxCeBuildConnectionOverMultipleTransports", &race, handler) }
}

/// Tears a connection down that has no circuits.
///
/// # Safety
///
/// None: the pointer is not read unless the connection is built.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeTearDownConnection(
    connection: *mut abi::Connection,
) -> NTSTATUS {
    waiting(c"RxCeTearDownConnection", |at| {
        peer::tear_down(at, Client::new(connection)?)
    })
}

/// Adds a circuit to a connection; waits for the transport's connect.
///
/// # Safety
///
/// `vc` is NULL or valid for writes of an `RXCE_VC`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeBuildVC(
    vc: *mut abi::Vc,
    connection: *mut abi::Connection,
) -> NTSTATUS {
    waiting(c"RxCeBuildVC", |at| {
        lifecycle::build_circuit(at, Client::new(vc)?, Client::new(connection)?)
    })
}

/// Starts to disconnect a circuit. To be called in a system worker thread.
///
/// # Safety
///
/// None: the pointer is not read unless the circuit is built.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeInitiateVCDisconnect(vc: *mut abi::Vc) -> NTSTATUS {
    expect_system_thread(c"RxCeInitiateVCDisconnect");
    quick(c"RxCeInitiateVCDisconnect", |_| {
        lifecycle::initiate_disconnect(Client::new(vc)?)
    })
}

/// Tears a circuit down.
///
/// # Safety
///
/// None: the pointer is not read unless the circuit is built.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeTearDownVC(vc: *mut abi::Vc) -> NTSTATUS {
    waiting(c"RxCeTearDownVC", |at| {
        lifecycle::tear_down(at, Client::new(vc)?)
    })
}

/// Sends an MDL chain.
///
/// # Safety
///
/// `mdl` is NULL or a valid chain of nonpaged or locked memory, the client's again at the end of the send.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeSend(
    vc: *mut abi::Vc,
    options: u32,
    mdl: PMDL,
    length: u32,
    context: PVOID,
) -> NTSTATUS {
    let mut status = STATUS_SUCCESS;
    let failure = quick(c"RxCeSend", |at| {
        let delivery = match (options & SYNCHRONOUS != 0, at) {
            (false, _) => Delivery::Callback(context),
            (true, Some(at)) => Delivery::Wait(at),
            (true, None) => return Err(Error::InvalidParameter),
        };
        let vc = Client::new(vc).map_err(|_| Error::Disconnected)?;
        // SAFETY: Forwarded.
        status = unsafe { send::send(vc, options, mdl, length, delivery) }?;
        Ok(())
    });
    if failure == STATUS_SUCCESS {
        status
    } else {
        failure
    }
}

/// Sends a datagram; the result comes with the address's Send Complete.
///
/// # Safety
///
/// The pointers are NULL or valid as `rxce.h` says; the chain is the client's again at the end of the send.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeSendDatagram(
    address: *mut abi::Address,
    information: *const TDI_CONNECTION_INFORMATION,
    options: u32,
    mdl: PMDL,
    length: u32,
    context: PVOID,
) -> NTSTATUS {
    quick(c"RxCeSendDatagram", |_| {
        // SAFETY: Forwarded.
        let remote = unsafe { remote(information) }?;
        // SAFETY: Forwarded.
        unsafe { datagram::send(Client::new(address)?, remote, options, mdl, length, context) }
    })
}

/// Asks about a circuit.
///
/// # Safety
///
/// `buffer` is NULL or valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeQueryInformation(
    vc: *mut abi::Vc,
    class: u32,
    buffer: *mut u8,
    length: u32,
) -> NTSTATUS {
    quick(c"RxCeQueryInformation", |at| {
        // SAFETY: Forwarded.
        unsafe { query::information(at, Client::new(vc)?, class, Buffer::new(buffer, length)) }
    })
}

/// Asks a provider about its adapter.
///
/// # Safety
///
/// `status` is NULL or valid for writes of an `ADAPTER_STATUS`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeQueryAdapterStatus(
    transport: *mut abi::Transport,
    status: *mut u8,
) -> NTSTATUS {
    waiting(c"RxCeQueryAdapterStatus", |at| {
        // SAFETY: Forwarded.
        unsafe { query::adapter_status(at, Client::new(transport)?, status) }
    })
}

/// Tells what is known of a transport.
///
/// # Safety
///
/// `information` is NULL or valid for writes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeQueryTransportInformation(
    transport: *mut abi::Transport,
    information: *mut abi::TransportInformation,
) -> NTSTATUS {
    quick(c"RxCeQueryTransportInformation", |_| {
        // SAFETY: Forwarded.
        unsafe { query::transport_information(Client::new(transport)?, information) }
    })
}

/// Documented to be not implemented, whatever it is given.
///
/// # Safety
///
/// None: nothing is read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeCancelConnectRequest(
    _local: *mut abi::Address,
    _server: *const UNICODE_STRING,
    _information: *const TDI_CONNECTION_INFORMATION,
) -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// Allocates a packet with an MDL and lists it for the debugger; NULL without memory.
///
/// # Safety
///
/// `mdl` is NULL or stays valid as long as the packet has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeAllocateIrpWithMDL(
    stack_size: i8,
    charge_quota: BOOLEAN,
    mdl: PMDL,
) -> PIRP {
    let mut irp = core::ptr::null_mut();
    let _ = quick(c"RxCeAllocateIrpWithMDL", |_| {
        irp = tracked_irp::allocate(stack_size, charge_quota, mdl);
        Ok(())
    });
    irp
}

/// Frees such a packet; its MDL stays the client's.
///
/// # Safety
///
/// `irp` is NULL or a packet that is not in flight.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxCeFreeIrp(irp: PIRP) {
    let _ = quick(c"RxCeFreeIrp", |_| {
        // SAFETY: Forwarded.
        if !unsafe { tracked_irp::free(irp) } {
            report::misuse(
                c"RxCeFreeIrp",
                c"a packet that RxCeAllocateIrpWithMDL did not allocate",
            );
        }
        Ok(())
    });
}

/// Runs a routine that may wait.
fn waiting(routine: &CStr, run: impl FnOnce(&Pageable) -> Result<(), Error>) -> NTSTATUS {
    match Pageable::at_entry() {
        // SAFETY: None: that is what is wrong.
        None if mutant!(LevelUnchecked) => status(run(&unsafe { Pageable::assume() })),
        Some(at) => status(run(&at)),
        None => {
            report::irql_too_high(routine, irql::current());
            STATUS_INVALID_PARAMETER
        }
    }
}

/// Runs a routine that also works at `DISPATCH_LEVEL`, though callers should not count on it.
fn quick(routine: &CStr, run: impl FnOnce(Option<&Pageable>) -> Result<(), Error>) -> NTSTATUS {
    let at = Pageable::at_entry();
    if at.is_none() {
        report::irql_too_high(routine, irql::current());
        if !irql::at_most_dispatch() {
            return STATUS_INVALID_PARAMETER;
        }
    }
    status(run(at.as_ref()))
}

/// Reports a caller that is not a system thread; debug builds only.
#[cfg(debug_assertions)]
fn expect_system_thread(routine: &CStr) {
    if irql::at_most_dispatch() && !crate::nt::thread::is_system() {
        report::misuse(routine, c"not called in a system thread");
    }
}

/// Release builds do not look: with kernel handles and packets of no thread the routine works in any thread.
#[cfg(not(debug_assertions))]
const fn expect_system_thread(_: &CStr) {}

/// The documented status of each outcome.
const fn status(result: Result<(), Error>) -> NTSTATUS {
    match result {
        Ok(()) => STATUS_SUCCESS,
        Err(error) => status::of(error),
    }
}
