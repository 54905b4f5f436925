//! What the engine counts for clients: relaxed atomics that nobody waits for.
//!
//! Sends, receives and their bytes are counted twice as they happen: for the circuit, and for the transport, where circuits
//! share a few stripes so that processors do not fight for one cache line. A connection and an address get what their
//! circuits have counted when those are torn down. Everything else is rare, and is counted at all parents at once.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rxce_engine::{Error, circuit::Circuit as _};

use super::{address, circuit, peer, transport};
use crate::abi::{
    Client,
    extension::{Counters, VERSION},
};

/// One number.
pub(super) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `number` more.
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What flows over circuits.
pub(super) struct Flow {
    sends: Counter,
    bytes_sent: Counter,
    receives: Counter,
    bytes_received: Counter,
}

impl Flow {
    const fn new() -> Self {
        Self {
            sends: Counter::new(),
            bytes_sent: Counter::new(),
            receives: Counter::new(),
            bytes_received: Counter::new(),
        }
    }

    fn sent(&self, bytes: u32) {
        self.sends.add(1);
        self.bytes_sent.add(bytes.into());
    }

    fn received(&self, receives: u64, bytes: u32) {
        if receives != 0 {
            self.receives.add(receives);
        }
        self.bytes_received.add(bytes.into());
    }

    /// Adds what another has counted.
    fn fold(&self, other: &Self) {
        self.sends.add(other.sends.get());
        self.bytes_sent.add(other.bytes_sent.get());
        self.receives.add(other.receives.get());
        self.bytes_received.add(other.bytes_received.get());
    }
}

/// A circuit's own counters: 40 bytes.
pub(super) struct OfCircuit {
    flow: Flow,
    send_failures: AtomicU32,
    refused: AtomicU32,
}

const _: () = assert!(size_of::<OfCircuit>() == 40);

impl OfCircuit {
    /// All zero.
    pub(super) const fn new() -> Self {
        Self {
            flow: Flow::new(),
            send_failures: AtomicU32::new(0),
            refused: AtomicU32::new(0),
        }
    }
}

/// What the parents of circuits count.
pub(super) struct Totals {
    flow: Flow,
    send_failures: Counter,
    refused: Counter,
    /// Receives that fetched refused bytes.
    pub(super) refetched: Counter,
    /// Datagrams that were given to the transport, and their bytes.
    pub(super) datagrams_sent: Counter,
    pub(super) datagram_bytes_sent: Counter,
    pub(super) datagram_send_failures: Counter,
    pub(super) datagrams_received: Counter,
    pub(super) datagram_bytes_received: Counter,
    pub(super) datagrams_refused: Counter,
    /// Connects that the transport completed.
    pub(super) connects: Counter,
    pub(super) connect_failures: Counter,
    /// Disconnects that were sent.
    pub(super) local_disconnects: Counter,
    /// Disconnects that were indicated.
    pub(super) remote_disconnects: Counter,
    pub(super) address_errors: Counter,
}

impl Totals {
    /// All zero.
    pub(super) const fn new() -> Self {
        Self {
            flow: Flow::new(),
            send_failures: Counter::new(),
            refused: Counter::new(),
            refetched: Counter::new(),
            datagrams_sent: Counter::new(),
            datagram_bytes_sent: Counter::new(),
            datagram_send_failures: Counter::new(),
            datagrams_received: Counter::new(),
            datagram_bytes_received: Counter::new(),
            datagrams_refused: Counter::new(),
            connects: Counter::new(),
            connect_failures: Counter::new(),
            local_disconnects: Counter::new(),
            remote_disconnects: Counter::new(),
            address_errors: Counter::new(),
        }
    }

    fn report(&self) -> Counters {
        Counters {
            Sends: self.flow.sends.get(),
            BytesSent: self.flow.bytes_sent.get(),
            SendFailures: self.send_failures.get(),
            Receives: self.flow.receives.get(),
            BytesReceived: self.flow.bytes_received.get(),
            ReceivesRefused: self.refused.get(),
            ReceivesRefetched: self.refetched.get(),
            DatagramsSent: self.datagrams_sent.get(),
            DatagramBytesSent: self.datagram_bytes_sent.get(),
            DatagramSendFailures: self.datagram_send_failures.get(),
            DatagramsReceived: self.datagrams_received.get(),
            DatagramBytesReceived: self.datagram_bytes_received.get(),
            DatagramsRefused: self.datagrams_refused.get(),
            Connects: self.connects.get(),
            ConnectFailures: self.connect_failures.get(),
            LocalDisconnects: self.local_disconnects.get(),
            RemoteDisconnects: self.remote_disconnects.get(),
            AddressErrors: self.address_errors.get(),
            ..EMPTY
        }
    }
}

/// Nothing counted.
const EMPTY: Counters = Counters {
    Size: SIZE,
    Version: VERSION,
    Sends: 0,
    BytesSent: 0,
    SendFailures: 0,
    Receives: 0,
    BytesReceived: 0,
    ReceivesRefused: 0,
    ReceivesRefetched: 0,
    DatagramsSent: 0,
    DatagramBytesSent: 0,
    DatagramSendFailures: 0,
    DatagramsReceived: 0,
    DatagramBytesReceived: 0,
    DatagramsRefused: 0,
    Connects: 0,
    ConnectFailures: 0,
    LocalDisconnects: 0,
    RemoteDisconnects: 0,
    AddressErrors: 0,
};

/// The structure's size, in the type of its member.
pub(crate) const SIZE: u32 = {
    assert!(size_of::<Counters>() == 0x98);
    0x98
};

/// A flow on cache lines of its own.
struct Stripe {
    flow: Flow,
    _rest_of_line: [u64; 4],
}

/// How many stripes a transport has.
const STRIPES: usize = 4;

/// A transport's share in the flow of its circuits.
pub(super) struct Stripes([Stripe; STRIPES]);

impl Stripes {
    /// All zero.
    pub(super) const fn new() -> Self {
        Self(
            [const {
                Stripe {
                    flow: Flow::new(),
                    _rest_of_line: [0; 4],
                }
            }; STRIPES],
        )
    }

    fn of(&self, circuit: &circuit::Circuit) -> &Flow {
        // Blocks of circuits are some hundred bytes apart.
        let stripe = (core::ptr::from_ref(circuit).addr() >> 9) % STRIPES;
        let [first, ..] = &self.0;
        &self.0.get(stripe).unwrap_or(first).flow
    }
}

/// A send was given to the transport.
pub(super) fn sent(circuit: &circuit::Circuit, bytes: u32) {
    circuit.counters().flow.sent(bytes);
    circuit
        .connection()
        .transport()
        .stripes()
        .of(circuit)
        .sent(bytes);
}

/// A send failed.
pub(super) fn send_failed(circuit: &circuit::Circuit) {
    circuit
        .counters()
        .send_failures
        .fetch_add(1, Ordering::Relaxed);
    at_parents(circuit, |totals| &totals.send_failures);
}

/// The client took `bytes` of an indication.
pub(super) fn received(circuit: &circuit::Circuit, bytes: u32) {
    receive(circuit, 1, bytes);
}

/// `bytes` came into the client's memory.
pub(super) fn filled(circuit: &circuit::Circuit, bytes: u32) {
    receive(circuit, 0, bytes);
}

fn receive(circuit: &circuit::Circuit, receives: u64, bytes: u32) {
    circuit.counters().flow.received(receives, bytes);
    let transport = circuit.connection().transport();
    transport.stripes().of(circuit).received(receives, bytes);
}

/// An indication was refused, by the client or because older bytes wait.
pub(super) fn refused(circuit: &circuit::Circuit) {
    circuit.counters().refused.fetch_add(1, Ordering::Relaxed);
    at_parents(circuit, |totals| &totals.refused);
}

/// Counts what is rare, at all parents of a circuit.
pub(super) fn at_parents(circuit: &circuit::Circuit, which: impl Fn(&Totals) -> &Counter) {
    let connection = circuit.connection();
    which(connection.totals()).add(1);
    at_address(connection.address(), 1, which);
}

/// Counts at an address and its transport.
pub(super) fn at_address(
    address: &address::Address,
    number: u64,
    which: impl Fn(&Totals) -> &Counter,
) {
    which(address.totals()).add(number);
    which(address.transport().totals()).add(number);
}

/// Leaves what a circuit has counted to its connection and its address; the transport has it already.
pub(super) fn fold(circuit: &circuit::Circuit) {
    let connection = circuit.connection();
    connection.totals().flow.fold(&circuit.counters().flow);
    connection
        .address()
        .totals()
        .flow
        .fold(&circuit.counters().flow);
}

/// The counters of whatever the engine built at an address.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn query(structure: *mut u8) -> Result<Counters, Error> {
    if let Ok(circuit) = circuit::find(Client::new(structure.cast())?) {
        return Ok(of_circuit(&circuit));
    }
    if let Ok(connection) = peer::find(Client::new(structure.cast())?) {
        return Ok(connection.totals().report());
    }
    if let Ok(address) = address::find(Client::new(structure.cast())?) {
        return Ok(address.totals().report());
    }
    let transport = transport::find(Client::new(structure.cast())?)?;
    let mut report = transport.totals().report();
    for Stripe { flow, .. } in &transport.stripes().0 {
        report.Sends = report.Sends.wrapping_add(flow.sends.get());
        report.BytesSent = report.BytesSent.wrapping_add(flow.bytes_sent.get());
        report.Receives = report.Receives.wrapping_add(flow.receives.get());
        report.BytesReceived = report.BytesReceived.wrapping_add(flow.bytes_received.get());
    }
    Ok(report)
}

fn of_circuit(circuit: &circuit::Circuit) -> Counters {
    let own = circuit.counters();
    let life = circuit.hold(|ledger| ledger.life);
    Counters {
        Sends: own.flow.sends.get(),
        BytesSent: own.flow.bytes_sent.get(),
        SendFailures: own.send_failures.load(Ordering::Relaxed).into(),
        Receives: own.flow.receives.get(),
        BytesReceived: own.flow.bytes_received.get(),
        ReceivesRefused: own.refused.load(Ordering::Relaxed).into(),
        Connects: u64::from(!life.is_building()),
        LocalDisconnects: life.local_disconnect_submitted().into(),
        RemoteDisconnects: life.remote_disconnect_seen().into(),
        ..EMPTY
    }
}
