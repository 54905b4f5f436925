//! Virtual time: one clock for the whole machine.
//!
//! It runs with real time while something runs or may come from outside. When every simulated thread sleeps (threads of the
//! host program that called in are among them) and no outside source is active, it jumps to the next deadline, so that a time-out of 30 s takes no
//! time. If there is no deadline either, nothing can ever happen again: that is a hang, reported with every waiter.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Condvar;

use crate::dispatcher::{self, Deadline, Locked, STATUS_TIMEOUT, Sleep, hang, lock};
use crate::explore;

/// How often, and how far apart (real time), a hang is looked for again before it is reported: the hand-over between threads of the
/// host is not atomic. Counted in looks, as a host that is busy, or stands still for a while, lets nobody go on in the meantime.
const HANG_LOOKS: u32 = 20;
const HANG_LOOK: Duration = Duration::from_millis(25);

/// How long (in 100 ns units) the clock sleeps at most while something runs: so long it need not hear of later deadlines.
const LONGEST_SLEEP: u64 = 10_000_000;

/// 2026-01-01 00:00:00 UTC in 100 ns units since 1601: the system time at boot, the same in each run.
const BOOT_SYSTEM_TIME: u64 = 134_116_992_000_000_000;

static START: OnceLock<Instant> = OnceLock::new();
static SKEW: AtomicU64 = AtomicU64::new(0);
static CHANGED: Condvar = Condvar::new();

fn real() -> u64 {
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos() / 100).unwrap_or(u64::MAX)
}

/// Virtual time since boot in 100 ns units: KeQueryInterruptTime. Takes no lock.
pub fn interrupt_time() -> u64 {
    // Boot takes a second, so that no time of interest is zero.
    let real = if explore::on() { 0 } else { real() };
    10_000_000 + real + SKEW.load(Ordering::Relaxed)
}

/// KeQuerySystemTime: 100 ns units since 1601.
pub fn system_time() -> u64 {
    BOOT_SYSTEM_TIME + interrupt_time()
}

/// A time in seconds, for people.
pub fn seconds(time_100ns: u64) -> f64 {
    Duration::from_nanos(time_100ns.saturating_mul(100)).as_secs_f64()
}

/// The interrupt time at which a relative or absolute kernel time-out ends (negative: relative; positive: system time).
pub fn deadline(timeout_100ns: i64) -> u64 {
    if timeout_100ns <= 0 {
        interrupt_time().saturating_add(timeout_100ns.unsigned_abs())
    } else {
        timeout_100ns
            .unsigned_abs()
            .saturating_sub(BOOT_SYSTEM_TIME)
    }
}

/// Has the clock look again at who runs and what is due. Call with the dispatcher lock held.
pub(crate) fn nudge() {
    CHANGED.notify_one();
}

/// Starts the clock's thread. Called once, at boot.
pub fn start() {
    START.get_or_init(Instant::now);
    let spawned = std::thread::Builder::new()
        .name("ntsim clock".into())
        .spawn(run);
    spawned.expect("the host can start a thread at boot");
}

/// Runs a function of the host at a virtual time. It must be short.
pub fn at(time: u64, call: impl FnOnce() + Send + 'static) -> (u64, u64) {
    lock().add_deadline(time, Deadline::Host(Box::new(call)))
}

/// Lets a program of the host sleep in simulated time, which passes at once where nothing else runs.
pub fn sleep(time: Duration) {
    let thread = dispatcher::host::attach();
    let units = u64::try_from(time.as_nanos() / 100).unwrap_or(u64::MAX);
    let until = interrupt_time().saturating_add(units);
    // Nobody signals a thread that lives.
    dispatcher::wait(
        &[thread.object],
        false,
        dispatcher::Timeout::At(until),
        Sleep::Wanted,
        0,
    );
}

/// Takes back what [`at`] arranged; false if it has run or is running.
pub fn cancel(key: (u64, u64)) -> bool {
    lock().deadlines.remove(&key).is_some()
}

fn run() {
    crate::signal::is_the_clock();
    let mut quiet_looks = 0;
    let mut state = lock();
    loop {
        let now = interrupt_time();
        if let Some(entry) = state.deadlines.first_entry()
            && entry.key().0 <= now
        {
            let deadline = entry.remove();
            state = fire(state, deadline);
            quiet_looks = 0;
            continue;
        }
        let next = state.deadlines.first_key_value().map(|(key, _)| key.0);
        if !state.is_quiet() {
            quiet_looks = 0;
            let until = next.map_or(now + LONGEST_SLEEP, |next| next.min(now + LONGEST_SLEEP));
            state.clock_sleeps_until = Some(until);
            let left = Duration::from_nanos((until - now).saturating_mul(100));
            state.sleep_for(&CHANGED, left);
            state.clock_sleeps_until = None;
            continue;
        }
        if let Some(next) = next {
            SKEW.fetch_add(next - now, Ordering::Relaxed);
            continue;
        }
        if !state.waits.values().any(|wait| wait.sleep == Sleep::Wanted) {
            state.sleep(&CHANGED);
            continue;
        }
        if quiet_looks == HANG_LOOKS {
            report(&state);
        }
        if state.sleep_for(&CHANGED, HANG_LOOK) {
            quiet_looks += 1;
        } else {
            // Somebody has run, if only to find nothing to do.
            quiet_looks = 0;
        }
    }
}

/// Does what is due.
fn fire(mut state: Locked, deadline: Deadline) -> Locked {
    match deadline {
        Deadline::Wait(id) => state.finish(id, STATUS_TIMEOUT),
        Deadline::Timer(timer) => dispatcher::timer::expire(&mut state, timer),
        Deadline::Host(call) => {
            state.runnable += 1;
            drop(state);
            call();
            state = lock();
            state.runnable -= 1;
        }
    }
    state
}

/// Explore mode has no clock thread: moves the time to the next deadline and does what is due. False if there is none.
pub(crate) fn advance() -> bool {
    let mut state = lock();
    let Some(entry) = state.deadlines.first_entry() else {
        return false;
    };
    let until = entry.key().0.saturating_sub(interrupt_time());
    SKEW.fetch_add(until, Ordering::Relaxed);
    let deadline = entry.remove();
    drop(fire(state, deadline));
    true
}

/// Whether someone needs a wait to end.
pub(crate) fn anyone_waits() -> bool {
    let state = lock();
    state.waits.values().any(|wait| wait.sleep == Sleep::Wanted)
}

/// Explore mode: nobody can ever run again.
pub(crate) fn hang() -> ! {
    report(&lock())
}

fn report(state: &dispatcher::State) -> ! {
    let text = hang::describe(state);
    crate::stop::write_error(&format!(
        "\n*** HANG: every thread waits, nothing is due, nothing can come from outside\n{text}"
    ));
    if let Some(schedule) = explore::running_schedule() {
        crate::stop::write_error(&format!("schedule {schedule}\n"));
    }
    explore::tell();
    for line in crate::trace::last(crate::options().stop_records) {
        crate::stop::write_error(&format!("  {line}\n"));
    }
    // SAFETY: `_exit` has no preconditions; other threads sleep for ever.
    unsafe { libc::_exit(hang::EXIT_HANG) }
}
