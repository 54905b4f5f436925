//! Queries of a circuit and of a transport (specification 5.3, 5.4, 5.14).

use core::ptr::{self, NonNull};

use rxce_engine::{
    Error,
    circuit::{self as engine, Circuit as _},
    ledger::{Handover, Kind},
    life::State,
    mutant,
};
use wdk_sys::{STATUS_BUFFER_OVERFLOW, STATUS_INVALID_PARAMETER};

use super::{
    address,
    circuit::{self, Circuit, WaitedFor},
    peer,
    registry::Ref,
    request::{Handle, Purpose},
    transport,
};
use crate::{
    abi::{self, Client, extension::Counters},
    nt::{
        event::Event,
        irql::Pageable,
        mdl::Mdl,
        pool::{Bytes, Tag},
    },
    tdi::{
        bindings::{
            TDI_CONNECTION_INFO, TDI_CONNECTION_INFORMATION, TDI_PROVIDER_INFO,
            TDI_QUERY_ADAPTER_STATUS, TDI_QUERY_ADDRESS_INFO, TDI_QUERY_CONNECTION_INFO,
        },
        request as call, synchronous,
    },
};

/// Bounce buffers.
const TAG: Tag = Tag::new(*b"RxQu");

/// The longest answer that is asked for, however large the client's buffer is: no provider knows more of an endpoint.
const LONGEST_ANSWER: u32 = 0x1_0000;

/// `sizeof(ADAPTER_STATUS)`.
const ADAPTER_STATUS_LENGTH: usize = 60;

/// Room for an adapter's status and sixteen of its names, so that most providers can give a whole answer.
const ADAPTER_ANSWER_LENGTH: u32 = 60 + 16 * 18;

/// A class of information about a circuit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// `RxCeTransportProviderInformation`.
    Provider,
    /// `RxCeConnectionInformation`.
    Connection,
    /// `RxCeConnectionEndpointInformation`.
    Endpoint,
    /// `RxCeRemoteAddressInformation`: what `TDI_QUERY_ADDRESS_INFO` says of the endpoint.
    Address,
}

impl Class {
    /// The class of a `RXCE_CONNECTION_INFORMATION_CLASS`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an unknown one.
    pub(crate) const fn new(value: u32) -> Result<Self, Error> {
        match value {
            1 => Ok(Self::Provider),
            2 => Ok(Self::Connection),
            3 => Ok(Self::Endpoint),
            4 => Ok(Self::Address),
            _ => Err(Error::InvalidParameter),
        }
    }

    /// The shortest buffer that makes sense.
    const fn minimum(self) -> usize {
        match self {
            Self::Provider => size_of::<TDI_PROVIDER_INFO>(),
            Self::Connection => size_of::<TDI_CONNECTION_INFORMATION>(),
            Self::Endpoint => size_of::<TDI_CONNECTION_INFO>(),
            // sizeof(TDI_ADDRESS_INFO)
            Self::Address => 16,
        }
    }
}

/// A client's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    start: *mut u8,
    length: u32,
}

impl Buffer {
    /// A buffer as the client names it.
    pub(crate) const fn new(start: *mut u8, length: u32) -> Self {
        Self { start, length }
    }

    /// Copies an answer to the buffer.
    ///
    /// # Safety
    ///
    /// The buffer is as long as it says.
    unsafe fn fill(self, answer: &[u8]) {
        let count = answer.len().min(self.length as usize);
        // SAFETY: Forwarded; the answer is the engine's.
        unsafe { ptr::copy_nonoverlapping(answer.as_ptr(), self.start, count) };
    }
}

/// `RxCeQueryInformation`. Classes that ask the transport need a level that allows waits.
///
/// # Errors
///
/// The documented ones, and the provider's failures.
///
/// # Safety
///
/// The buffer is NULL or as long as it says.
pub(crate) unsafe fn information(
    at: Option<&Pageable>,
    public: Client<abi::Vc>,
    class: u32,
    buffer: Buffer,
) -> Result<(), Error> {
    let circuit = circuit::find(public)?;
    if mutant!(QueryPrecedence) && buffer.length < 16 {
        return Err(Error::Transport(STATUS_BUFFER_OVERFLOW));
    }
    let class = Class::new(class)?;
    let at = match (class, at) {
        // These wait for the transport.
        (Class::Endpoint | Class::Address, None) => return Err(Error::InvalidParameter),
        (_, at) => at,
    };
    if circuit.hold(|ledger| ledger.life.state()) == State::TearDown {
        return Err(Error::InvalidParameter);
    }
    if buffer.start.is_null() {
        return Err(Error::InvalidParameter);
    }
    let slack = usize::from(mutant!(QueryLengthOffByOne));
    if (buffer.length as usize).saturating_add(slack) < class.minimum() {
        return Err(Error::Transport(STATUS_BUFFER_OVERFLOW));
    }
    let query = match class {
        Class::Provider => {
            // SAFETY: Forwarded.
            unsafe { buffer.fill(circuit.connection().transport().provider_info()) };
            return Ok(());
        }
        Class::Connection => {
            // SAFETY: Forwarded.
            unsafe { buffer.fill(circuit.connection().information_bytes()) };
            return Ok(());
        }
        Class::Endpoint => TDI_QUERY_CONNECTION_INFO,
        Class::Address => TDI_QUERY_ADDRESS_INFO,
    };
    let at = at.ok_or(Error::InvalidParameter)?;
    let answer = endpoint(at, &circuit, query, buffer.length.min(LONGEST_ANSWER))?;
    // SAFETY: Forwarded.
    unsafe { buffer.fill(answer.bytes()) };
    Ok(())
}

/// What a provider answered.
struct Answer {
    bytes: Bytes,
    length: usize,
}

impl Answer {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

/// Asks the transport about an endpoint, with a request that a tear-down can end.
fn endpoint(
    at: &Pageable,
    circuit: &Ref<Circuit>,
    query: u32,
    length: u32,
) -> Result<Answer, Error> {
    let bytes = Bytes::new(length as usize, TAG)?;
    // SAFETY: The bytes outlive the request, which is waited for.
    let mdl = unsafe { Mdl::of_pool(bytes.as_ptr(), length) }?;
    let done = Event::uninit();
    // SAFETY: The event stays where it is until the query is over, and nobody uses it yet.
    unsafe { done.init_manual_reset() };
    let request: Handle = circuit
        .submittable(Purpose::Waited(NonNull::from(&done)))?
        .ok_or(Error::InvalidParameter)?;
    let admitted = engine::change(&**circuit, |ledger| {
        let admitted = ledger.life.state() != State::TearDown || mutant!(QueryInTearDown);
        if admitted {
            ledger.insert(&request, Kind::Other, Handover::Submitted);
        }
        admitted
    });
    if !admitted {
        // SAFETY: The request was never listed.
        unsafe { request.disarm() };
        return Err(Error::InvalidParameter);
    }
    // SAFETY: The request is listed; the MDL outlives it.
    unsafe { request.prepare::<WaitedFor>(&call::query_information(query), mdl.as_ptr()) };
    // SAFETY: The request was prepared, and the submitter's part is ours.
    unsafe { request.send() };
    engine::note_return(&**circuit, request);
    done.wait(at);
    let (status, written) = request.get().outcome();
    // SAFETY: The submitter's part is ours, and goes here.
    unsafe { request.drop_part() };
    if mutant!(QueryMdlLeaked) {
        core::mem::forget(mdl);
    }
    if wdk::nt_success(status) {
        Ok(Answer {
            bytes,
            length: written,
        })
    } else {
        Err(Error::Transport(status))
    }
}

/// `RxCeQueryAdapterStatus`: the first 60 bytes of what the provider knows of its adapter.
///
/// # Errors
///
/// The documented ones, and the provider's failures; nothing was written then.
///
/// # Safety
///
/// `status` is NULL or valid for writes of 60 bytes.
pub(crate) unsafe fn adapter_status(
    at: &Pageable,
    public: Client<abi::Transport>,
    status: *mut u8,
) -> Result<(), Error> {
    let transport = transport::find(public)?;
    if status.is_null() {
        return Err(Error::InvalidParameter);
    }
    let bytes = Bytes::new(ADAPTER_ANSWER_LENGTH as usize, TAG)?;
    // SAFETY: The bytes outlive the request, which is waited for.
    let mdl = unsafe { Mdl::of_pool(bytes.as_ptr(), ADAPTER_ANSWER_LENGTH) }?;
    let target = transport.control_target();
    let query = call::query_information(TDI_QUERY_ADAPTER_STATUS);
    // SAFETY: The reference keeps the channel's file object, and the MDL lives until the request is over.
    let (result, _) = unsafe { synchronous::perform(at, &target, &query, mdl.as_ptr()) }?;
    // With more names than fit, the fixed part is valid all the same.
    let overflow = result == STATUS_BUFFER_OVERFLOW && !mutant!(OverflowIsFailure);
    let failed = !wdk::nt_success(result) && !overflow;
    if failed && !mutant!(AnswerOnFailure) {
        return Err(Error::Transport(result));
    }
    let answer = bytes
        .get(..ADAPTER_STATUS_LENGTH)
        .ok_or(Error::Transport(STATUS_INVALID_PARAMETER))?;
    // SAFETY: Forwarded.
    unsafe { ptr::copy_nonoverlapping(answer.as_ptr(), status, answer.len()) };
    if failed {
        return Err(Error::Transport(result));
    }
    Ok(())
}

/// `RxCeQueryTransportInformation`.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
///
/// # Safety
///
/// `information` is NULL or valid for writes.
pub(crate) unsafe fn transport_information(
    public: Client<abi::Transport>,
    information: *mut abi::TransportInformation,
) -> Result<(), Error> {
    let transport = transport::find(public)?;
    if information.is_null() {
        return Err(Error::InvalidParameter);
    }
    let value = transport.information();
    // SAFETY: Forwarded.
    unsafe { information.write_unaligned(value) };
    Ok(())
}

/// `RxCexQueryCounters`: of whatever the engine built at an address.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn counters(structure: *mut u8) -> Result<Counters, Error> {
    if let Ok(circuit) = circuit::find(Client::new(structure.cast())?) {
        return Ok(circuit.counted());
    }
    if let Ok(connection) = peer::find(Client::new(structure.cast())?) {
        return Ok(connection.totals().report());
    }
    if let Ok(address) = address::find(Client::new(structure.cast())?) {
        return Ok(address.totals().report());
    }
    let transport = transport::find(Client::new(structure.cast())?)?;
    Ok(transport.counted())
}
