//! What happens at every call of a driver: the IRQL rule, the trace, break points, the routine itself.

use super::table::{self, Entry};
use super::{Call, GateFrame, IrqlRule, Routine};
use crate::hold::{self, Moment};
use crate::stop::{self, Stop};
use crate::thread::{self, Thread};
use crate::trace::{self, What};
use crate::{delay, explore, image, services};
use core::sync::atomic::Ordering;

/// Arguments passed on from one driver to another: no documented routine takes more.
const FORWARDED: usize = 12;

/// The Rust end of `ntsim_gate_enter`, which has saved the driver's registers in the thread's first free slot: `frame`.
pub(super) extern "C" fn dispatch(index: u32, frame: &GateFrame) -> u64 {
    let thread = thread::current();
    let stack = frame.rsp as *const u64;
    // SAFETY: The driver's stack pointer at the gate points at the return address of its call.
    let caller = unsafe { stack.read() };
    // The gate spilled the register arguments to where they come before those on the stack.
    let args = stack.wrapping_add(1);
    let caller = usize::try_from(caller).unwrap_or(0);
    thread.push_call(index, caller);
    // Only this thread writes it.
    let calls = thread.calls.load(Ordering::Relaxed);
    thread.calls.store(calls.wrapping_add(1), Ordering::Relaxed);
    let entry = table::entry(index);
    let mut call = Call {
        args,
        caller,
        entry: index,
        record: 0,
        thread,
    };
    let result = match entry {
        Entry::Kernel { routine, .. } => {
            if explore::on() {
                explore::entry(index, routine.name, caller, None);
            }
            kernel(routine, &mut call)
        }
        Entry::Export { name, target } => {
            if explore::on() {
                explore::entry(index, name, caller, Some(*target));
            }
            export(name, *target, &mut call)
        }
        Entry::Unknown => stop::bug_check(
            0x7F,
            [0, caller as u64, 0, 0],
            "a damaged import thunk was called",
        ),
    };
    if explore::on() {
        explore::exit(index, entry.name(), caller);
    }
    thread.pop();
    result
}

fn kernel(routine: &'static Routine, call: &mut Call) -> u64 {
    if let Some(image) = image::find(call.caller) {
        image.count_call(call.entry);
    }
    if trace::is_on() {
        record(routine, call);
    }
    check_irql(routine, call);
    if services::breaks_armed() {
        services::break_here(routine.name, call);
    }
    if delay::is_on() {
        delay::before(routine.name);
    }
    hold::pass(call, Moment::Before);
    let result = (routine.run)(call);
    hold::pass(call, Moment::After);
    trace::leave(call.record, result);
    result
}

/// Begins the record of a call.
#[cold]
fn record(routine: &'static Routine, call: &mut Call) {
    let args = call.first();
    let args = args.get(..usize::from(routine.args)).unwrap_or(&args);
    let what = What::Call {
        routine: routine.name,
        export: false,
    };
    call.record = trace::enter(
        what,
        call.caller,
        args,
        trace::decode::call(routine.name, call),
    );
}

fn export(name: &'static str, target: usize, call: &mut Call) -> u64 {
    let args = call.first();
    call.record = trace::enter(
        What::Call {
            routine: name,
            export: true,
        },
        call.caller,
        &args,
        None,
    );
    let result = super::forward(target, &args);
    trace::leave(call.record, result);
    result
}

impl Call {
    fn first(&self) -> [u64; FORWARDED] {
        core::array::from_fn(|n| self.arg(n))
    }
}

/// Raises the stop of a routine's IRQL rule if the thread breaks it.
fn check_irql(routine: &Routine, call: &Call) {
    let thread = call.thread;
    let irql = thread.irql();
    match routine.irql {
        IrqlRule::Any => {}
        IrqlRule::Max(limit, stop) if irql > limit => {
            wrong_irql(routine, call, stop, &format!("at most {limit}"));
        }
        IrqlRule::Exactly(level, stop) if irql != level => {
            wrong_irql(routine, call, stop, &format!("{level}"));
        }
        IrqlRule::PassiveWithApcs(stop) if irql != 0 => wrong_irql(routine, call, stop, "0"),
        IrqlRule::PassiveWithApcs(_) if special_apcs_disabled(thread) => {
            // spec/verifier.md §3: Zw call not at PASSIVE with special kernel APCs enabled.
            wrong_irql(
                routine,
                call,
                Stop::verifier(0xE6),
                "0 with special kernel APCs enabled",
            );
        }
        IrqlRule::Max(..) | IrqlRule::Exactly(..) | IrqlRule::PassiveWithApcs(_) => {}
    }
}

fn special_apcs_disabled(thread: &Thread) -> bool {
    thread
        .special_apc_disable
        .load(core::sync::atomic::Ordering::Relaxed)
        != 0
}

#[cold]
fn wrong_irql(routine: &Routine, call: &Call, stop: Stop, allowed: &str) {
    let irql = call.thread.irql();
    stop::enforce(
        stop,
        [u64::from(irql), call.caller as u64, 0],
        format!(
            "{} called at IRQL {irql} by {}; allowed: {allowed}",
            routine.name,
            stop::describe(call.caller)
        ),
    )
}
