//! A thread that has the token and never comes back to the kernel: with one thread at a time, that is a hang too.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// Real time that driver code may take between two calls of the kernel; no machine that works at all is so slow.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

static CROSSINGS: AtomicU64 = AtomicU64::new(0);

/// A thread called the kernel, or returned from it.
pub(super) fn crossing() {
    CROSSINGS.fetch_add(1, Ordering::Relaxed);
}

/// Starts to watch.
pub(super) fn start() {
    let spawned = std::thread::Builder::new()
        .name("ntsim watch".into())
        .spawn(run);
    spawned.expect("the host can start a thread at boot");
}

fn run() {
    let (mut seen, mut since) = (0, Duration::ZERO);
    loop {
        std::thread::sleep(INTERVAL);
        let now = CROSSINGS.load(Ordering::Relaxed);
        let busy = super::token::holder().filter(|thread| thread.in_driver());
        since = if now == seen {
            since + INTERVAL
        } else {
            Duration::ZERO
        };
        seen = now;
        if let Some(thread) = busy
            && since >= LIMIT
        {
            crate::clock::burning(thread);
        }
    }
}
