//! The life of a connection and its circuits as clients drive it: built, disconnected, torn down (specification 5.7, 5.10,
//! 5.12, 5.13). The order of a circuit's steps is the engine crate's.

use core::mem::ManuallyDrop;

use rxce_engine::{
    Error,
    circuit::{self as engine, Made},
    life::CancelBuild,
};
use wdk_sys::{PVOID, STATUS_CONNECTION_ACTIVE};

use super::{
    address,
    circuit::{self, Circuit, Disconnects, Opening},
    information::Remote,
    layer, multiple,
    peer::{self, Connection},
    pins::Child,
    registry::{Ref, pointers},
};
use crate::{
    abi::{self, Client},
    nt::{irql::Pageable, report},
    status, trace,
};

/// `RxCeBuildConnection`: a connection with its first circuit.
///
/// # Errors
///
/// The documented ones, and the statuses of the circuit's steps.
pub(crate) fn build_connection(
    at: &Pageable,
    local: Client<abi::Address>,
    remote: Remote<'_>,
    handler: abi::ConnectionEventHandler,
    context: PVOID,
    public: Client<abi::Connection>,
    vc: Client<abi::Vc>,
) -> Result<(), Error> {
    if layer::overlap(public, vc) {
        return Err(Error::InvalidParameter);
    }
    layer::require_free(public)?;
    layer::require_free(vc)?;
    let local = address::find(local)?;
    if !local.transport().has_connections() {
        return Err(Error::InvalidParameter);
    }
    local.pin(Child::Connection)?;
    let block = Connection::new(public, local.as_ptr(), remote, handler, context);
    let connection = match layer::reserve(public, block) {
        Ok(connection) => connection,
        Err(error) => {
            local.unpin(Child::Connection);
            if error == Error::InsufficientResources {
                layer::clear_unbuilt(vc)?;
            }
            return Err(error);
        }
    };
    // Neither structure is written to before both are reserved.
    let built = reserve_on(at, &connection, vc).and_then(|circuit| {
        connection.publish();
        connect(at, circuit)
    });
    match built {
        Ok(()) => {
            pointers::set_usable(&connection);
            Ok(())
        }
        Err(error) => {
            if error != Error::InvalidParameter {
                // SAFETY: The structure is reserved by this build.
                unsafe { public.clear() };
            }
            layer::dismantle(at, connection);
            Err(error)
        }
    }
}

/// `RxCeBuildVC`.
///
/// # Errors
///
/// The documented ones, and the statuses of open, associate and connect.
pub(crate) fn build_circuit(
    at: &Pageable,
    public: Client<abi::Vc>,
    connection: Client<abi::Connection>,
) -> Result<(), Error> {
    let connection = peer::find(connection)?;
    connect(at, reserve_on(at, &connection, public)?)
}

/// A circuit that is reserved and not opened.
struct Reserved {
    circuit: Ref<Circuit>,
    opening: Opening,
}

/// Allocates a circuit, reserves the client's structure, and counts the circuit in at its parents. Nothing is written to the
/// structure unless memory is short: then it is zeroed.
///
/// # Errors
///
/// [`Error::InvalidParameter`], [`Error::InsufficientResources`].
fn reserve_on(
    at: &Pageable,
    connection: &Ref<Connection>,
    public: Client<abi::Vc>,
) -> Result<Reserved, Error> {
    let made = Circuit::new(public, connection, None);
    let (block, opening) = made.map_err(|error| layer::unbuilt(public, error))?;
    let circuit = layer::reserve(public, Ok(block))?;
    match connection.pin() {
        Ok(()) => Ok(Reserved { circuit, opening }),
        Err(error) => {
            layer::withdraw(at, circuit);
            Err(error)
        }
    }
}

/// Opens, associates and connects a reserved circuit. The connection's count keeps it, and the caller's reference outlives
/// the last touch of it.
///
/// # Errors
///
/// The statuses of the steps.
fn connect(at: &Pageable, reserved: Reserved) -> Result<(), Error> {
    let Reserved { circuit, opening } = reserved;
    let disconnects = Disconnects::new();
    let built = match Circuit::open(&circuit, at, opening) {
        Ok(connect) => {
            // SAFETY: This is the circuit's build. If it fails, it runs the circuit down before it returns.
            unsafe { circuit.lend(&disconnects) };
            circuit.publish(&circuit);
            engine::connect(&*circuit, at, connect)
        }
        Err(error) => Err(
            if engine::change(&*circuit, |ledger| ledger.life.fail_build()) {
                Error::Cancelled
            } else {
                error
            },
        ),
    };
    match built {
        Ok(owed) => {
            circuit.tell_built();
            if let Some(notice) = owed {
                circuit.notify(notice);
            }
            Ok(())
        }
        Err(error) => {
            trace::circuit_failed(circuit.vc().addr(), status::of(error));
            layer::dismantle(at, circuit);
            Err(error)
        }
    }
}

/// `RxCeInitiateVCDisconnect`.
///
/// # Errors
///
/// The documented ones.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn initiate_disconnect(public: Client<abi::Vc>) -> Result<(), Error> {
    // A request that is made has the reference.
    let circuit = ManuallyDrop::new(circuit::find_to_decide(public)?);
    let (result, made) = engine::initiate_disconnect(&**circuit);
    match made {
        Made::Nothing => drop(ManuallyDrop::into_inner(circuit)),
        // SAFETY: The submitter's part is ours.
        Made::Sent(request) => unsafe { request.drop_part() },
        // SAFETY: The request was never listed.
        Made::Unused(request) => unsafe { request.disarm() },
    }
    result
}

/// `RxCexCancelConnect`: for the structure of a circuit, whoever builds it.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if nothing is being built there, `STATUS_CONNECTION_ACTIVE` if it was built before.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn cancel_build(public: Client<abi::Vc>) -> Result<(), Error> {
    let answer = match multiple::cancel(public) {
        Some(answer) => answer,
        None => engine::cancel_build(&*circuit::find_build(public)?),
    };
    match answer {
        CancelBuild::Cancelled => Ok(()),
        CancelBuild::Built => Err(Error::Transport(STATUS_CONNECTION_ACTIVE)),
        CancelBuild::Refuse => Err(Error::InvalidParameter),
    }
}

/// `RxCeTearDownVC`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] with nothing changed, or the status of the last disconnect; the circuit is gone then.
pub(crate) fn tear_down(at: &Pageable, public: Client<abi::Vc>) -> Result<(), Error> {
    let circuit = circuit::find_to_decide(public)?;
    if circuit.is_in_callback_here() {
        report::misuse(
            c"RxCeTearDownVC",
            c"called from a callback of the same circuit",
        );
        return Err(Error::InvalidParameter);
    }
    let disconnects = Disconnects::new();
    let result = engine::tear_down(&*circuit, at, || {
        // SAFETY: The circuit was claimed just now, and is run down before this routine returns.
        unsafe { circuit.lend(&disconnects) };
        circuit.wait_for_clean_up(at);
    })?;
    layer::dismantle(at, circuit);
    result
}
