//! Driver code that burns processor time without a call of the kernel: an endless loop, or a panic that spins.
//!
//! Measured in processor time of the thread, so that a slow host makes no difference. The report is the thread's own: a
//! signal stops it where it is.

use crate::thread::{self, Frame, Thread};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;

/// Sent to a thread that has burnt too much.
pub(crate) const SIGNAL: i32 = libc::SIGXCPU;

/// The thread that has to report, and the kernel calls that it had made.
static ACCUSED: AtomicU32 = AtomicU32::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Since when a thread has made no call: its count of calls then, and its processor time.
struct Since {
    calls: u64,
    used: Duration,
}

/// Starts to watch.
pub(crate) fn start() {
    let limit = crate::options().burn_limit;
    let pause = (limit / 4).clamp(Duration::from_millis(50), Duration::from_secs(2));
    let watching = std::thread::Builder::new()
        .name("burn".to_owned())
        .spawn(move || {
            let mut known = HashMap::new();
            loop {
                std::thread::sleep(pause);
                for thread in thread::all() {
                    watch(&thread, &mut known, limit);
                }
            }
        });
    if let Err(error) = watching {
        crate::stop::host_failure(&format!("cannot start a thread: {error}"));
    }
}

fn watch(thread: &Thread, known: &mut HashMap<u32, Since>, limit: Duration) {
    let calls = thread.calls.load(Ordering::Relaxed);
    let Some(used) = in_driver(thread).then(|| used(thread)).flatten() else {
        known.remove(&thread.id);
        return;
    };
    let since = known.entry(thread.id).or_insert(Since { calls, used });
    if since.calls != calls {
        *since = Since { calls, used };
    } else if used.saturating_sub(since.used) > limit {
        CALLS.store(calls, Ordering::Relaxed);
        ACCUSED.store(thread.id, Ordering::Release);
        let native = thread.native.load(Ordering::Relaxed);
        // SAFETY: `getpid` has no preconditions.
        let process = unsafe { libc::getpid() };
        // SAFETY: A thread that is gone takes no signal; another one with its number ignores it (`is_accused`).
        unsafe { libc::syscall(libc::SYS_tgkill, process, native, SIGNAL) };
    }
}

/// Whether a thread runs code of a driver: what it entered last is a routine of a driver.
fn in_driver(thread: &Thread) -> bool {
    !thread.exited.load(Ordering::Acquire)
        && thread.try_frames().is_some_and(|frames| {
            matches!(
                frames.last(),
                Some(Frame::Callback { .. } | Frame::Forwarded)
            )
        })
}

/// Whether the current thread, which met the signal, is still where the accusation found it.
pub(crate) fn is_accused(thread: &Thread) -> bool {
    ACCUSED.load(Ordering::Acquire) == thread.id
        && thread.calls.load(Ordering::Relaxed) == CALLS.load(Ordering::Relaxed)
        && in_driver(thread)
}

/// The processor time of a thread; nothing if it is gone.
fn used(thread: &Thread) -> Option<Duration> {
    let native = thread.native.load(Ordering::Relaxed);
    // clock_getres(2): the clock of a thread is made of its number; per thread (4), scheduler time (2).
    let clock = (!native << 3) | 6;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The structure is valid; a clock that does not exist is refused.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    (native != 0 && result == 0).then(|| Duration::new(seconds, nanoseconds))
}
