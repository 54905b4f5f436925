//! What the engine counts for clients: relaxed atomics that nobody waits for.
//!
//! Sends, receives and their bytes are counted twice as they happen: for the circuit, and for the transport, where circuits
//! share a few stripes so that processors do not fight for one cache line. A connection and an address get what their
//! circuits have counted when those are torn down. Everything else is rare, and is counted at all parents at once.

use core::{
    mem::offset_of,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rxce_engine::{mutant, recent::Recent};

use super::shelf::Shelf;
use crate::{
    abi::extension::{Counters, VERSION},
    nt::spin_lock::SpinLock,
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

    /// Counts `number` more, where nobody else counts meanwhile: no locked instruction is needed.
    fn add_alone(&self, number: u64) {
        self.0
            .store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that stays small.
pub(super) struct CounterOf32(AtomicU32);

impl CounterOf32 {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts one more.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed).into()
    }
}

/// What flows over circuits. Debuggers read it in this order.
#[repr(C)]
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

    /// A send was listed, under the lock that all sends of this flow are listed under.
    pub(super) fn listed(&self, bytes: u32) {
        self.sends.add_alone(1);
        self.bytes_sent.add_alone(bytes.into());
    }

    /// `bytes` came in, the `first` of a receive or not.
    pub(super) fn received(&self, first: bool, bytes: u32) {
        if first {
            self.receives.add(1);
        }
        self.bytes_received.add(bytes.into());
    }

    /// What was counted, and nothing else.
    fn report(&self) -> Counters {
        Counters {
            Sends: self.sends.get(),
            BytesSent: self.bytes_sent.get(),
            Receives: self.receives.get(),
            BytesReceived: self.bytes_received.get(),
            ..EMPTY
        }
    }

    /// Adds what another has counted.
    pub(super) fn fold(&self, other: &Self) {
        self.sends.add(other.sends.get());
        self.bytes_sent.add(other.bytes_sent.get());
        self.receives.add(other.receives.get());
        self.bytes_received.add(other.bytes_received.get());
    }
}

/// A circuit's own counters: 40 bytes.
pub(super) struct OfCircuit {
    pub(super) flow: Flow,
    pub(super) send_failures: CounterOf32,
    pub(super) refused: CounterOf32,
}

const _: () = assert!(size_of::<OfCircuit>() == 40);

impl OfCircuit {
    /// Where the flow is, for debuggers.
    pub(super) const FLOW: usize = offset_of!(Self, flow);

    /// All zero.
    pub(super) const fn new() -> Self {
        Self {
            flow: Flow::new(),
            send_failures: CounterOf32::new(),
            refused: CounterOf32::new(),
        }
    }

    /// What the circuit has counted itself.
    pub(super) fn report(&self) -> Counters {
        Counters {
            SendFailures: self.send_failures.get(),
            ReceivesRefused: self.refused.get(),
            ..self.flow.report()
        }
    }
}

/// What the parents of circuits count.
pub(super) struct Totals {
    pub(super) flow: Flow,
    pub(super) send_failures: Counter,
    pub(super) refused: Counter,
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
    /// Where the flow is, for debuggers.
    pub(super) const FLOW: usize = offset_of!(Self, flow);

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

    /// What was counted.
    pub(super) fn report(&self) -> Counters {
        Counters {
            SendFailures: self.send_failures.get(),
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
            ..self.flow.report()
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

/// The flow of some circuits on cache lines of its own, and beside it what a send touches too.
///
/// Pool is aligned to 16 bytes, so the padding has to make up for where a stripe begins.
#[repr(C)]
pub(super) struct Stripe {
    /// Without what is recent, which a report adds first.
    settled: Flow,
    recent_sends: Recent,
    recent_receives: Recent,
    pub(super) shelf: Shelf,
    /// Held while what is recent moves: a report misses nothing that another one has just taken out.
    settling: SpinLock<()>,
    _rest_of_lines: [u64; 8],
}

impl Stripe {
    /// Where the recent sends are, for debuggers, followed by the recent receives.
    pub(super) const RECENT: usize = offset_of!(Self, recent_sends);

    const fn new() -> Self {
        Self {
            settled: Flow::new(),
            recent_sends: Recent::new(),
            recent_receives: Recent::new(),
            shelf: Shelf::new(),
            settling: SpinLock::new(()),
            _rest_of_lines: [0; 8],
        }
    }

    /// A send was given to the transport.
    pub(super) fn sent(&self, bytes: u32) {
        if mutant!(BytesCountedTwice) {
            let _ = self.recent_sends.add(false, bytes);
        }
        if self.recent_sends.add(true, bytes) {
            self.make_room();
        }
    }

    /// `bytes` came in, the `first` of a receive or not.
    pub(super) fn received(&self, first: bool, bytes: u32) {
        if self.recent_receives.add(first, bytes) {
            self.make_room();
        }
    }

    #[cold]
    fn make_room(&self) {
        let _ = self.settle();
    }

    /// What was counted, all of it.
    fn settle(&self) -> Counters {
        self.settling.with(|()| {
            let Flow {
                sends,
                bytes_sent,
                receives,
                bytes_received,
            } = &self.settled;
            let (count, bytes) = self.recent_sends.take();
            sends.add_alone(count);
            bytes_sent.add_alone(bytes);
            let (count, bytes) = self.recent_receives.take();
            receives.add_alone(count);
            bytes_received.add_alone(bytes);
            self.settled.report()
        })
    }
}

/// How many stripes a transport has: enough that two circuits seldom share one.
pub(super) const STRIPES: usize = 8;
/// The size of one, for debuggers.
pub(super) const STRIPE_BYTES: usize = size_of::<Stripe>();

/// A transport's share in the flow of its circuits.
pub(super) struct Stripes([Stripe; STRIPES]);

impl Stripes {
    /// All zero.
    pub(super) const fn new() -> Self {
        Self([const { Stripe::new() }; STRIPES])
    }

    /// The stripe for a number. Circuits that are built one after the other have different ones.
    pub(super) fn of(&self, number: usize) -> &Stripe {
        let [first, ..] = &self.0;
        self.0.get(number % STRIPES).unwrap_or(first)
    }

    /// Adds the flow of all circuits to what their transport reports.
    pub(super) fn add_to(&self, report: &mut Counters) {
        for stripe in &self.0 {
            let flow = stripe.settle();
            report.Sends = report.Sends.wrapping_add(flow.Sends);
            report.BytesSent = report.BytesSent.wrapping_add(flow.BytesSent);
            report.Receives = report.Receives.wrapping_add(flow.Receives);
            report.BytesReceived = report.BytesReceived.wrapping_add(flow.BytesReceived);
        }
    }
}
