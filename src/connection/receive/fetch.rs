//! Receive requests: into the client's memory, continued until it has what it wants, or into the backlog; and the guard of
//! the stream that passes along with them.

use core::ptr::NonNull;

use rxce_engine::{
    Error, circuit as engine,
    ledger::{Handover, Kind},
    mutant,
    receive::{Channel, Next},
};
use wdk_sys::{
    MDL, NTSTATUS, PIRP, PMDL, STATUS_BUFFER_OVERFLOW, STATUS_CONNECTION_DISCONNECTED,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS,
};

use super::offer::{self, data_ready};
use crate::{
    connection::{
        circuit::Circuit,
        request::{Ending, Handle, Holders, Purpose, Request},
        transfer::{Destination, Wanted, receive_flags},
    },
    nt::mdl::{self, Mdl},
    tdi::{bindings::TDI_DISCONNECT_ABORT, request as call},
};

/// How a transfer into the client's memory began.
pub(super) enum Started {
    /// The transport gets this packet.
    Packet(PIRP),
    /// It did not, for want of memory; the client was told.
    NoMemory,
    /// It did not: the circuit is being torn down. The client was told, and the guard is gone.
    TornDown,
}

/// Makes a packet for what the client wants, to be returned from the event handler. The caller has the guard, which
/// passes to the request.
pub(super) fn hand_back(circuit: &Circuit, channel: Channel, wanted: Wanted) -> Started {
    match begin(circuit, channel, wanted, Holders::Completion) {
        Ok(request) => {
            // SAFETY: The request is listed, and the client's memory stays until DataReady.
            unsafe { prepare_client(circuit, channel, request, wanted) };
            // SAFETY: The packet was prepared; the handler returns it next.
            Started::Packet(unsafe { request.hand_back() })
        }
        Err(Error::InsufficientResources) => Started::NoMemory,
        Err(_) => Started::TornDown,
    }
}

/// Lists a request for what the client wants, or tells the client why there is none.
fn begin(
    circuit: &Circuit,
    channel: Channel,
    wanted: Wanted,
    holders: Holders,
) -> Result<Handle, Error> {
    // SAFETY: The client's chain is valid and describes the wanted bytes.
    let part = match unsafe { Mdl::for_parts_of(wanted.chain.as_ptr(), wanted.bytes) } {
        Ok(part) => part,
        Err(_) => return Err(refuse(circuit, wanted, Error::InsufficientResources)),
    };
    let destination = Destination {
        wanted: Some(wanted),
        mdl: Some(part),
    };
    list(circuit, channel, destination, holders).map_err(|error| {
        if error != Error::InsufficientResources {
            abandon(circuit, channel);
        }
        refuse(circuit, wanted, error)
    })
}

fn refuse(circuit: &Circuit, wanted: Wanted, error: Error) -> Error {
    let status = match error {
        Error::InsufficientResources => STATUS_INSUFFICIENT_RESOURCES,
        _ => STATUS_CONNECTION_DISCONNECTED,
    };
    if !mutant!(DataReadyForgotten) {
        data_ready(circuit, wanted, status);
    }
    error
}

/// Takes a request and lists it, unless the circuit is being torn down.
fn list(
    circuit: &Circuit,
    channel: Channel,
    destination: Destination,
    holders: Holders,
) -> Result<Handle, Error> {
    // A reference cannot be had once the run-down has begun: the circuit is in tear-down then.
    let reference = circuit.reference().ok_or(Error::Disconnected)?;
    let target = circuit.target();
    // SAFETY: The circuit keeps the request.
    let spare = circuit
        .spare_receive(channel)
        .filter(|request| unsafe { request.as_ref() }.fits(&target));
    let request: NonNull<Request> = match spare {
        Some(request) => {
            // SAFETY: The spare request is idle, and only whoever has the guard uses it.
            unsafe { request.as_ref() }.renew();
            request
        }
        None => {
            let purpose = Purpose::Receive(channel);
            Request::allocate(circuit.block(), purpose, target.device.stack_size())?.into_raw()
        }
    };
    let reference = reference.erase();
    // SAFETY: The request is idle and fits; whoever has the guard is the only one to arm it.
    let request = unsafe { Handle::arm(request, reference, &target, holders) };
    let chain = destination.wanted.map(|wanted| wanted.chain.as_ptr());
    let transfer = &circuit.stream(channel).transfer;
    // SAFETY: The guard is ours.
    unsafe { transfer.begin(destination, &target) };
    let handover = match holders {
        Holders::Completion => Handover::Returned,
        Holders::CompletionAndSubmitter => Handover::Submitted,
    };
    let admitted = engine::change(circuit, |ledger| {
        let admitted = ledger.life.admits_receive();
        if admitted {
            ledger.insert(&request, Kind::Receive, handover);
            ledger.streams.of(channel).requested();
            show(circuit, channel, chain);
        }
        admitted
    });
    if admitted {
        return Ok(request);
    }
    // SAFETY: The guard is ours.
    unsafe { transfer.end() };
    // SAFETY: The request was never listed.
    unsafe { request.disarm() };
    Err(Error::Disconnected)
}

/// Shows the client's chain in `pReceiveMdl`; called under the circuit's lock.
fn show(circuit: &Circuit, channel: Channel, chain: Option<PMDL>) {
    if channel == Channel::Normal {
        circuit.set_receive_mdl(chain.unwrap_or(core::ptr::null_mut()));
    }
}

/// Fetches bytes that were refused, into the backlog, until none are left or the transport takes its time. The caller has the
/// guard, which passes to the request, and a reference of its own. However much there is to fetch, the stack does not grow.
pub(super) fn redeliver(circuit: &Circuit, channel: Channel) {
    while let Some(request) = fetch_more(circuit, channel) {
        // SAFETY: The completion's part is ours.
        let Some(next) = (unsafe { go_on(circuit, channel, request) }) else {
            return;
        };
        // SAFETY: As above. A spare request is free for the next turn.
        unsafe { request.drop_part() };
        if next == Next::Idle {
            return;
        }
    }
}

/// Submits a request for bytes that were refused; it is returned if it is over already, with the completion's part.
fn fetch_more(circuit: &Circuit, channel: Channel) -> Option<Handle> {
    circuit.count(|totals| &totals.refetched);
    // SAFETY: The guard is ours.
    let backlog = unsafe { circuit.stream(channel).backlog.get() };
    let listed = backlog.free_part().and_then(|(free, bytes)| {
        let destination = Destination {
            wanted: None,
            mdl: Some(free),
        };
        list(
            circuit,
            channel,
            destination,
            Holders::CompletionAndSubmitter,
        )
        .map(|request| (request, bytes))
    });
    match listed {
        Ok((request, bytes)) => {
            // SAFETY: The request is listed; the backlog outlives it.
            unsafe { prepare_backlog(circuit, channel, request, bytes) };
            return submit(circuit, channel, request).then_some(request);
        }
        Err(Error::InsufficientResources) => abort(circuit, channel),
        Err(_) => abandon(circuit, channel),
    }
    None
}

/// Treats the circuit as aborted by the peer: a stream with a hole cannot go on, and a clean end beats a stall.
fn abort(circuit: &Circuit, channel: Channel) {
    let notice = engine::change(circuit, |ledger| {
        ledger.streams.of(channel).abandon();
        ledger.life.remote_disconnect(TDI_DISCONNECT_ABORT)
    });
    if let Some(notice) = notice {
        circuit.notify(notice);
    }
}

fn abandon(circuit: &Circuit, channel: Channel) {
    engine::change(circuit, |ledger| ledger.streams.of(channel).abandon());
}

/// The part of the client's memory that the next request, or the present one, is for.
struct Part {
    element: NonNull<MDL>,
    /// Offset in the element.
    inside: u32,
    bytes: u32,
}

/// The part that is missing: the whole rest of the chain if it begins with an element, else the rest of one element.
///
/// # Safety
///
/// The client's chain is valid.
unsafe fn missing_part(wanted: &Wanted) -> Option<Part> {
    let missing = wanted.bytes.saturating_sub(wanted.copied);
    // SAFETY: Forwarded; it describes more bytes than were copied.
    let (element, inside) = unsafe { mdl::locate(wanted.chain.as_ptr(), wanted.copied) }?;
    let bytes = if inside == 0 {
        missing
    } else {
        // SAFETY: The element is valid.
        let length = unsafe { mdl::byte_count(element) };
        length.saturating_sub(inside).min(missing)
    };
    Some(Part {
        element,
        inside,
        bytes,
    })
}

/// Fills the packet for the missing part of the client's memory.
///
/// # Safety
///
/// The request is listed and not handed over.
unsafe fn prepare_client(circuit: &Circuit, channel: Channel, request: Handle, wanted: Wanted) {
    // SAFETY: The client's chain is valid until DataReady.
    let Some(part) = (unsafe { missing_part(&wanted) }) else {
        return;
    };
    let Part {
        element,
        inside,
        bytes,
    } = part;
    let mdl = if inside == 0 {
        element.as_ptr()
    } else {
        // SAFETY: The guard is ours.
        let destination = unsafe { circuit.stream(channel).transfer.destination() };
        let Some(part) = &destination.mdl else {
            return;
        };
        // SAFETY: The element is one of the chain that the part was made for.
        unsafe { part.describe_part(element, inside, bytes) };
        part.as_ptr()
    };
    let call = call::receive(bytes, receive_flags(channel));
    // SAFETY: Forwarded; the client's memory stays until DataReady.
    unsafe { request.prepare::<Received>(&call, mdl) };
}

/// # Safety
///
/// The request is listed and not handed over.
unsafe fn prepare_backlog(circuit: &Circuit, channel: Channel, request: Handle, bytes: u32) {
    // SAFETY: The guard is ours.
    let destination = unsafe { circuit.stream(channel).transfer.destination() };
    let Some(free) = &destination.mdl else {
        return;
    };
    let call = call::receive(bytes, receive_flags(channel));
    // SAFETY: Forwarded.
    unsafe { request.prepare::<Received>(&call, free.as_ptr()) };
}

/// The end of a receive.
enum Received {}

impl Ending for Received {
    unsafe fn run(request: Handle) {
        // SAFETY: The completion's part keeps the circuit until it is dropped.
        let circuit = unsafe { Circuit::of(&request) };
        let Purpose::Receive(channel) = *request.get().purpose() else {
            return;
        };
        if circuit.stream(channel).transfer.leave_to_submitter() {
            return;
        }
        // SAFETY: Forwarded.
        let Some(next) = (unsafe { go_on(circuit, channel, request) }) else {
            return;
        };
        // The request's own reference goes with it.
        let again = match next {
            Next::Idle => None,
            Next::Redeliver => circuit.reference(),
        };
        if next == Next::Redeliver && again.is_none() {
            abandon(circuit, channel);
        }
        // SAFETY: Forwarded; the circuit may be gone after this.
        unsafe { request.drop_part() };
        if let Some(circuit) = again {
            redeliver(&circuit, channel);
        }
    }
}

/// Hands a listed request over; `true` if this thread has completed it before the transport returned, and the completion's
/// part is the caller's. So a transport that completes inline does not nest our completions on the stack. The submitter's
/// part goes.
fn submit(circuit: &Circuit, channel: Channel, request: Handle) -> bool {
    let transfer = &circuit.stream(channel).transfer;
    transfer.begin_submission();
    // SAFETY: The request is listed and prepared, and the submitter's part is ours.
    unsafe { request.send() };
    engine::change(circuit, |ledger| ledger.receive_returned());
    let completed = transfer.end_submission();
    // SAFETY: The submitter's part is ours.
    unsafe { request.drop_part() };
    completed
}

/// Goes on with a receive that is over. If it is over for good, tells what follows. Otherwise it was submitted again, and the
/// completion's part belongs to the next completion.
///
/// # Safety
///
/// The completion's part of the request is the caller's; it keeps the circuit.
unsafe fn go_on(circuit: &Circuit, channel: Channel, request: Handle) -> Option<Next> {
    let transfer = &circuit.stream(channel).transfer;
    loop {
        let (status, bytes) = request.get().outcome();
        // SAFETY: The guard came with the completion.
        let destination = unsafe { transfer.destination() };
        let Some(wanted) = destination.wanted.as_mut() else {
            return Some(fetched(circuit, request, channel, status, bytes));
        };
        // SAFETY: The client's chain is valid until DataReady.
        let wanted = unsafe { advance(wanted, bytes) };
        let useful = wdk::nt_success(status) && bytes > 0;
        if !useful || wanted.copied >= wanted.bytes || mutant!(NoContinuation) {
            return Some(filled(circuit, request, channel, wanted, status));
        }
        if !relist(circuit, request, channel) {
            let status = STATUS_CONNECTION_DISCONNECTED;
            return Some(filled(circuit, request, channel, wanted, status));
        }
        // SAFETY: The guard is still ours.
        let target = circuit.target_at(unsafe { transfer.device() });
        // SAFETY: The packet is ours until it is handed over, and was sent to this device before.
        unsafe { request.aim_again(&target) };
        // SAFETY: The request is listed.
        let place = Wanted {
            copied: if mutant!(ContinuationFromStart) {
                0
            } else {
                wanted.copied
            },
            ..wanted
        };
        // SAFETY: The request is listed.
        unsafe { prepare_client(circuit, channel, request, place) };
        if !submit(circuit, channel, request) {
            return None;
        }
    }
}

/// Counts bytes that arrived in the client's memory: no more than the request asked for, whatever the transport counts.
///
/// # Safety
///
/// The client's chain is valid, and the receive of its missing part is over.
unsafe fn advance(wanted: &mut Wanted, bytes: usize) -> Wanted {
    // SAFETY: Forwarded.
    let asked = unsafe { missing_part(wanted) }.map_or(0, |part| part.bytes);
    let arrived = u32::try_from(bytes).map_or(asked, |bytes| bytes.min(asked));
    wanted.copied = wanted.copied.saturating_add(arrived);
    *wanted
}

/// Lists the request once more for a continuation, in the hold that unlists it; not in a tear-down.
fn relist(circuit: &Circuit, request: Handle, channel: Channel) -> bool {
    engine::change(circuit, |ledger| {
        let admitted = ledger.life.admits_receive();
        if admitted {
            ledger.remove(&request, Kind::Receive);
            request.add_part();
            ledger.insert(&request, Kind::Receive, Handover::Submitted);
            // The continuation fetches what was refused meanwhile.
            ledger.streams.of(channel).requested();
        }
        admitted
    })
}

/// The client's memory is full, or will not be: unlists the request, tells the client, and lets the guard go. It goes after
/// DataReady, since not every transport keeps its next indication back until then.
fn filled(
    circuit: &Circuit,
    request: Handle,
    channel: Channel,
    wanted: Wanted,
    status: NTSTATUS,
) -> Next {
    // SAFETY: The guard is still ours.
    unsafe { circuit.stream(channel).transfer.end() };
    engine::change(circuit, |ledger| {
        ledger.remove(&request, Kind::Receive);
        if !mutant!(StaleReceiveMdl) {
            show(circuit, channel, None);
        }
    });
    if mutant!(DataReadyTwice) {
        data_ready(circuit, wanted, status);
    }
    data_ready(
        circuit,
        wanted,
        if wdk::nt_success(status) {
            STATUS_SUCCESS
        } else {
            status
        },
    );
    let_go(circuit, channel)
}

/// A redelivery is over: unlists the request, offers what came, and lets the guard go.
fn fetched(
    circuit: &Circuit,
    request: Handle,
    channel: Channel,
    status: NTSTATUS,
    bytes: usize,
) -> Next {
    // SAFETY: The guard is still ours.
    unsafe { circuit.stream(channel).transfer.end() };
    let alive = engine::change(circuit, |ledger| {
        ledger.remove(&request, Kind::Receive);
        ledger.life.admits_receive()
    });
    if alive && status == STATUS_INSUFFICIENT_RESOURCES {
        abort(circuit, channel);
        return Next::Idle;
    }
    let useful = wdk::nt_success(status) || status == STATUS_BUFFER_OVERFLOW;
    if !alive || !useful {
        // In a tear-down nobody hears of the bytes; otherwise the disconnect event tells.
        abandon(circuit, channel);
        return Next::Idle;
    }
    // SAFETY: The guard is ours.
    let backlog = unsafe { circuit.stream(channel).backlog.get() };
    backlog.arrived(bytes);
    let Some(wanted) = offer::offer_backlog(circuit, channel, receive_flags(channel), backlog)
    else {
        return let_go(circuit, channel);
    };
    fetch_wanted(circuit, channel, wanted)
}

/// Fetches what the client wants, and goes on from there. The caller has the guard, which passes to the request.
pub(super) fn fetch_for_client(circuit: &Circuit, channel: Channel, wanted: Wanted) {
    if fetch_wanted(circuit, channel, wanted) == Next::Redeliver {
        redeliver(circuit, channel);
    }
}

/// Submits a request for what the client wants; tells what follows if it is over already.
fn fetch_wanted(circuit: &Circuit, channel: Channel, wanted: Wanted) -> Next {
    let request = match begin(circuit, channel, wanted, Holders::CompletionAndSubmitter) {
        Ok(request) => request,
        Err(Error::InsufficientResources) => return let_go(circuit, channel),
        Err(_) => return Next::Idle,
    };
    // SAFETY: The request is listed.
    unsafe { prepare_client(circuit, channel, request, wanted) };
    if !submit(circuit, channel, request) {
        return Next::Idle;
    }
    // SAFETY: The completion's part is ours.
    let Some(next) = (unsafe { go_on(circuit, channel, request) }) else {
        return Next::Idle;
    };
    // SAFETY: As above.
    unsafe { request.drop_part() };
    next
}

/// Fetches what was refused before the client knew of the circuit.
pub(in crate::connection) fn catch_up(circuit: &Circuit, channel: Channel) {
    let held = engine::change(circuit, |ledger| {
        ledger.life.admits_receive() && ledger.streams.of(channel).claim_held()
    });
    if held {
        release(circuit, channel);
    }
}

/// Lets the guard of a stream go, or fetches what was refused meanwhile.
pub(super) fn release(circuit: &Circuit, channel: Channel) {
    if let_go(circuit, channel) == Next::Redeliver {
        redeliver(circuit, channel);
    }
}

/// Lets the guard of a stream go, unless something was refused meanwhile: that has to be fetched with it.
fn let_go(circuit: &Circuit, channel: Channel) -> Next {
    // SAFETY: The guard is ours.
    let room = unsafe { circuit.stream(channel).backlog.get() }.room();
    engine::change(circuit, |ledger| {
        let life = ledger.life;
        ledger.streams.of(channel).release(&life, room)
    })
}
