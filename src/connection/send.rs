//! `RxCeSend` (specification 5.11).

use core::ptr::NonNull;

use rxce_engine::{
    Error, circuit as engine,
    circuit::Circuit as _,
    ledger::{Handover, Kind},
    send as rules,
};
use wdk_sys::{NTSTATUS, PMDL, PVOID, STATUS_SUCCESS};

use super::{
    circuit::{self, Circuit, WaitedFor},
    counters,
    request::{Ending, Handle, Purpose},
};
use crate::{
    abi::{self, Client},
    nt::{event::Event, irql::Pageable, mdl},
    tdi::request as call,
};

/// How the client wants to learn of the end.
#[derive(Clone, Copy)]
pub(crate) enum Delivery<'a> {
    /// By a callback with this context.
    Callback(PVOID),
    /// As the routine's result.
    Wait(&'a Pageable),
}

/// `RxCeSend`.
///
/// # Errors
///
/// [`Error::Disconnected`] for a circuit that takes no sends, [`Error::InvalidParameter`] for a length that does not
/// fit, [`Error::InsufficientResources`]; for a synchronous send also the transport's final status.
///
/// # Safety
///
/// `mdl` is NULL or a valid chain whose memory stays locked until the send is over.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`, `<= APC_LEVEL` for a synchronous send
pub(crate) unsafe fn send(
    public: Client<abi::Vc>,
    options: u32,
    mdl: PMDL,
    length: u32,
    delivery: Delivery<'_>,
) -> Result<NTSTATUS, Error> {
    let circuit = circuit::find(public).map_err(|_| Error::Disconnected)?;
    if !circuit.hold(|ledger| ledger.life.admits_send()) {
        return Err(Error::Disconnected);
    }
    // SAFETY: Forwarded; the iterator yields valid elements.
    let lengths = unsafe { mdl::elements(mdl) }.map(|element| unsafe { mdl::byte_count(element) });
    rules::check_length(
        options,
        length,
        lengths,
        circuit.connection().transport().zero_length(),
    )?;
    let done = Event::uninit();
    let purpose = match delivery {
        Delivery::Callback(context) => Purpose::Send(context),
        Delivery::Wait(_) => {
            // SAFETY: The event stays where it is until the send is over, and nobody uses it yet.
            unsafe { done.init_manual_reset() };
            Purpose::Waited(NonNull::from(&done))
        }
    };
    // A run-down that has begun means a tear-down.
    let request = circuit.submittable(purpose)?.ok_or(Error::Disconnected)?;
    let admitted = circuit.hold(|ledger| {
        let admitted = ledger.life.admits_send();
        if admitted {
            ledger.insert(&request, Kind::Other, Handover::Submitted);
        }
        admitted
    });
    if !admitted {
        // SAFETY: The request was never listed.
        unsafe { request.disarm() };
        return Err(Error::Disconnected);
    }
    counters::sent(&circuit, length);
    let call = call::send(length, rules::tdi_flags(options));
    match delivery {
        // SAFETY: The request is listed; the client keeps the chain until the end of the send.
        Delivery::Callback(_) => unsafe { request.prepare::<Sent>(&call, mdl) },
        // SAFETY: As above.
        Delivery::Wait(_) => unsafe { request.prepare::<WaitedFor>(&call, mdl) },
    }
    // SAFETY: The request was prepared, and the submitter's part is ours.
    unsafe { request.send() };
    engine::change(&*circuit, |ledger| ledger.submitted());
    let status = finish_submission(&circuit, request, delivery, &done);
    // SAFETY: The submitter's part is ours, and goes here.
    unsafe { request.drop_part() };
    Ok(status)
}

fn finish_submission(
    circuit: &Circuit,
    request: Handle,
    delivery: Delivery<'_>,
    done: &Event,
) -> NTSTATUS {
    match delivery {
        Delivery::Wait(at) => {
            done.wait(at);
            let (status, _) = request.get().outcome();
            if !wdk::nt_success(status) {
                counters::send_failed(circuit);
            }
            status
        }
        Delivery::Callback(context) => {
            let (callbacks, client) = circuit.connection().callbacks();
            if let Some(submitted) = callbacks.SendSubmitted {
                // SAFETY: The client's callback, as its table declares it; no lock is held.
                circuit.in_callback(|| unsafe {
                    submitted(client, circuit.vc(), context, STATUS_SUCCESS)
                });
            }
            STATUS_SUCCESS
        }
    }
}

/// The end of an asynchronous send.
enum Sent {}

impl Ending for Sent {
    unsafe fn run(request: Handle) {
        // SAFETY: The completion's part keeps the circuit until it is dropped.
        let circuit = unsafe { Circuit::of(&request) };
        engine::change(circuit, |ledger| ledger.remove(&request, Kind::Other));
        let (status, _) = request.get().outcome();
        if !wdk::nt_success(status) {
            counters::send_failed(circuit);
        }
        let (callbacks, client) = circuit.connection().callbacks();
        if let (Purpose::Send(context), Some(complete)) =
            (request.get().purpose(), callbacks.SendComplete)
        {
            // SAFETY: The client's callback, as its table declares it; no lock is held.
            circuit.in_callback(|| unsafe { complete(client, circuit.vc(), *context, status) });
        }
        // SAFETY: Forwarded.
        unsafe { request.drop_part() };
    }
}
