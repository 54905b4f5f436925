//! Explore mode: one thread at a time, and a search decides which.
//!
//! With [`crate::Options::explore`] all simulated threads share one token. Who has it runs; it changes hands where a thread
//! waits, ends, or is preempted at a call of the kernel, or between two instructions. Time stands still while anyone can
//! run. So a run is a function of its decisions, and a driver can be run under all of them, or under chosen ones.
//!
//! Decisions are made only in a *schedule*: between `NtsimExplore(1)` and `NtsimExplore(0)`, which the driver under
//! test, or a driver that tests it, calls around its race. Everything else runs in the default order. The host program says
//! how schedules are chosen ([`search`]) and reads what came of it ([`report`]). A stop or a hang prints the schedule, which
//! [`Plan::Replay`] runs again.
//!
//! ```text
//! token    who runs; waiting for one's turn
//! points   the calls of the kernel at which a thread can be preempted
//! step     preemption between two instructions
//! search   which schedule comes next
//! choice   schedules as text
//! ```

mod choice;
mod points;
mod search;
mod step;
mod token;

use core::sync::atomic::{AtomicBool, Ordering};

use crate::gate::{Call, IrqlRule, Routine};

pub use choice::{Choice, NoSchedule, Schedule};
pub(crate) use points::{entry, exit, into_driver};
pub use search::Plan;
pub(crate) use step::trapped;
pub use token::Report;
pub(crate) use token::{
    begin_outside, block, block_on_lock, blocked_on_locks, created, end_outside, enter, host_ended,
    leave, lock_released, pause, ready,
};

static ON: AtomicBool = AtomicBool::new(false);

/// Whether one thread runs at a time.
#[must_use]
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The routines of this module.
pub(crate) const ROUTINES: &[Routine] = &[Routine {
    name: "NtsimExplore",
    args: 1,
    irql: IrqlRule::Any,
    run: explore,
}];

/// At boot, before the first thread exists.
pub(crate) fn prepare() {
    if crate::options().explore {
        ON.store(true, Ordering::Relaxed);
    }
}

/// `UCHAR NtsimExplore(UCHAR What)`:
/// - 1 begins a schedule. 0: there is none left; 1: it has begun; 2: nothing is explored here, threads just run.
/// - 0 ends it.
/// - 2: something else could happen here, where the driver calls another one without the kernel.
fn explore(call: &Call) -> u64 {
    if !on() {
        return 2;
    }
    match call.u8(0) {
        0 => token::end().into(),
        1 => token::begin().into(),
        // The decision is at the exit of the call.
        _ => 0,
    }
}

/// Begins a search. `images` are the drivers whose calls of the kernel are decisions, such as `rxce.sys`; none: all.
pub fn search(plan: Plan, images: &[&str]) {
    token::search(plan, images);
}

/// What the search has done so far.
#[must_use]
pub fn report() -> Report {
    token::report()
}

static TELLS: AtomicBool = AtomicBool::new(false);

/// Records schedules from now on, and has a stop or a hang print the story of the one that it ended. For replays.
pub fn tell_on_stop() {
    TELLS.store(true, Ordering::Relaxed);
}

/// Whether a schedule is recorded for its story.
fn tells() -> bool {
    TELLS.load(Ordering::Relaxed)
}

/// Prints the story of the schedule that a stop or a hang has ended, if that was asked for.
pub(crate) fn tell() {
    if tells() {
        crate::stop::write_error(&format!("\nthe schedule:\n{}\n", crate::trace::timeline()));
    }
}

/// The schedule that runs now, for reports of stops and hangs.
pub(crate) fn running_schedule() -> Option<String> {
    on().then(token::running_schedule).flatten()
}
