//! Counters since the driver was loaded, for [`p9probe_ioctl::code::STATISTICS`], and those of the engine, for
//! [`p9probe_ioctl::code::COUNTERS`].

use core::sync::atomic::{AtomicU64, Ordering};

use p9probe_ioctl::{EngineCounters, Statistics};
use rxce_client::{RXCEX_COUNTERS, RxCexQueryCounters};
use wdk_sys::PVOID;

use crate::status::{Result, check};

#[expect(clippy::cast_possible_truncation, reason = "152 bytes")]
const ENGINE_COUNTERS_LEN: u32 = size_of::<RXCEX_COUNTERS>() as u32;

/// What the engine counted for a structure that it built.
///
/// # Errors
///
/// The engine's status.
pub(crate) fn of_engine(structure: PVOID) -> Result<EngineCounters> {
    let mut seen = RXCEX_COUNTERS {
        Size: ENGINE_COUNTERS_LEN,
        ..RXCEX_COUNTERS::default()
    };
    // SAFETY: A structure of the link, which lives; the counters are ours and as long as they say.
    check(unsafe { RxCexQueryCounters(structure, &raw mut seen) })?;
    Ok(EngineCounters {
        sends: seen.Sends,
        bytes_sent: seen.BytesSent,
        send_failures: seen.SendFailures,
        receives: seen.Receives,
        bytes_received: seen.BytesReceived,
        receives_refused: seen.ReceivesRefused,
        receives_refetched: seen.ReceivesRefetched,
        datagrams_sent: seen.DatagramsSent,
        datagram_bytes_sent: seen.DatagramBytesSent,
        datagram_send_failures: seen.DatagramSendFailures,
        datagrams_received: seen.DatagramsReceived,
        datagram_bytes_received: seen.DatagramBytesReceived,
        datagrams_refused: seen.DatagramsRefused,
        connects: seen.Connects,
        connect_failures: seen.ConnectFailures,
        local_disconnects: seen.LocalDisconnects,
        remote_disconnects: seen.RemoteDisconnects,
        address_errors: seen.AddressErrors,
    })
}

/// The driver's counters.
pub(crate) static COUNTERS: Counters = Counters::new();

/// One counter.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Counts `count`.
    pub(crate) fn add(&self, count: usize) {
        // A `usize` fits in 64 bits on every target of this driver.
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// All counters; what they count stands in [`Statistics`].
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            const fn new() -> Self {
                Self { $($name: Counter::new(),)+ }
            }

            /// Their present values.
            pub(crate) fn read(&self) -> Statistics {
                Statistics { $($name: self.$name.0.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters!(
    circuits,
    sends_synchronous,
    sends_asynchronous,
    sends_completed,
    indications,
    copied_bytes,
    in_place_receives,
    in_place_bytes,
    disconnects,
    protocol_errors,
);
