//! Delay fuzzing: threads are held up by chance before they call a routine that synchronises, so that what others may do
//! meanwhile is done. The seed decides where, and for how long (real time).

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

/// The beginnings of the names of such routines.
const SYNCHRONISE: [&str; 18] = [
    "KeAcquire",
    "KeRelease",
    "KeSetEvent",
    "KeResetEvent",
    "KeClearEvent",
    "KeWaitFor",
    "KeSetTimer",
    "KeInsertQueueDpc",
    "ExAcquire",
    "ExRelease",
    "ExWait",
    "ExQueueWorkItem",
    "IoQueueWorkItem",
    "IofCallDriver",
    "IofCompleteRequest",
    "IoCancelIrp",
    "ObfDereferenceObject",
    "ExInterlocked",
];
/// One of so many such calls is held up, ...
const ONE_OF: u64 = 8;
/// ... for less than so many microseconds.
const MOST_US: u64 = 200;

static ON: AtomicBool = AtomicBool::new(false);
static DRAWS: AtomicU64 = AtomicU64::new(0);
static HELD_UP: AtomicU64 = AtomicU64::new(0);

/// Reads the options, once, at boot. Explore mode chooses who goes on by itself.
pub(crate) fn prepare() {
    let on = crate::Rules::DELAY_FUZZING.is_on() && !crate::explore::on();
    ON.store(on, Ordering::Relaxed);
}

/// Whether calls are held up at all.
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Perhaps holds up the current thread, which is about to run a routine.
pub(crate) fn before(routine: &str) {
    if !SYNCHRONISE.iter().any(|name| routine.starts_with(name)) {
        return;
    }
    let value = crate::fault::mix(
        crate::options().seed ^ 0xDE1A,
        DRAWS.fetch_add(1, Ordering::Relaxed),
    );
    if value.is_multiple_of(ONE_OF) {
        HELD_UP.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros((value >> 8) % MOST_US));
    }
}

/// How many calls were held up.
#[must_use]
pub fn held_up() -> u64 {
    HELD_UP.load(Ordering::Relaxed)
}
