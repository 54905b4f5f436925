//! Counters since the driver was loaded, for [`p9probe_ioctl::code::STATISTICS`].

use core::sync::atomic::{AtomicU64, Ordering};

use p9probe_ioctl::Statistics;

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
