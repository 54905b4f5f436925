//! The record of what drivers did: every call of a kernel routine, every callback into driver code, and events that
//! modules add ([`event`]).
//!
//! Recording is a push under one lock. [`timeline`] and [`story`] tell it to people, [`last`] gives the raw end of it to
//! stop reports.

pub(crate) mod decode;
mod raw;
pub mod status;
pub mod story;

use crate::boot::TraceMode;
use crate::{image, thread};
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Instant;

pub use story::{Detail, Story, timeline};

/// Arguments that a record keeps.
pub const ARGUMENTS: usize = 6;

/// What an extra record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A request was sent to a device.
    IrpSend,
    /// A request was completed.
    IrpComplete,
    /// A transport called a client's event handler.
    Indication,
    /// A thread waited.
    Wait,
    /// An object or handle was created, opened or closed.
    Object,
    /// Pool failure or exhaustion.
    Pool,
    /// A call was made to fail.
    Fault,
    /// A thread began or ended.
    Thread,
    /// Debug output of a driver.
    Debug,
    /// A driver was loaded, started, stopped or unloaded.
    Driver,
    /// Anything else worth a line in the timeline.
    Note,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A call of a kernel routine or of another driver's export.
    Call {
        /// The routine; `module!name` for another driver's.
        routine: &'static str,
        /// Whether the callee is another driver.
        export: bool,
    },
    /// A call of driver code by the kernel.
    Callback {
        /// Its role, such as `DriverEntry`.
        name: &'static str,
        /// Its address.
        target: usize,
    },
    /// Something else.
    Event(EventKind),
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Position in the whole recording, from 1.
    pub number: u64,
    /// Virtual time in 100 ns units since boot.
    pub time_100ns: u64,
    /// Real time since boot in nanoseconds.
    pub real_ns: u64,
    /// Thread id.
    pub thread: u32,
    /// IRQL at the time.
    pub irql: u8,
    /// How deep the thread was nested in calls and callbacks.
    pub depth: u8,
    /// What happened.
    pub what: What,
    /// Address in driver code that caused it, or 0.
    pub caller: usize,
    /// First arguments.
    pub args: [u64; ARGUMENTS],
    /// How many of them count.
    pub arg_count: u8,
    /// Result, once there is one.
    pub result: Option<u64>,
    /// Its end, for calls and callbacks that have returned.
    pub end: Option<End>,
    /// The handle that the call made.
    pub handle: Option<u64>,
    /// Decoded details.
    pub text: Option<Box<str>>,
}

/// When a call or callback returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Virtual time in 100 ns units since boot.
    pub time_100ns: u64,
    /// Number of the last record that was made before.
    pub after: u64,
}

struct Recorder {
    records: VecDeque<Record>,
    first: u64,
    limit: usize,
}

static ON: AtomicBool = AtomicBool::new(false);
static RECORDER: Mutex<Recorder> = Mutex::new(Recorder {
    records: VecDeque::new(),
    first: 1,
    limit: usize::MAX,
});
static BOOTED: OnceLock<Instant> = OnceLock::new();
static CLOCK: OnceLock<fn() -> u64> = OnceLock::new();

/// Prepares recording as the boot options say.
pub(crate) fn start() {
    let _ = BOOTED.set(Instant::now());
    let mode = crate::options().trace;
    if let TraceMode::Ring(limit) = mode {
        RECORDER.lock().limit = limit.max(1);
    }
    ON.store(mode != TraceMode::Off, Ordering::Relaxed);
}

/// Installs the virtual clock, in 100 ns units since boot. Without one, records carry real time.
pub fn set_clock(clock: fn() -> u64) {
    let _ = CLOCK.set(clock);
}

/// Whether anything is recorded.
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Switches recording off or on again.
pub fn set_recording(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// Adds an event. `who` is the address in driver code that it is about, or 0; `text` is made only when recording.
pub fn event(kind: EventKind, who: usize, text: impl FnOnce() -> String) {
    if is_on() {
        let text = text();
        push(What::Event(kind), who, &[], Some(text));
    }
}

/// Begins a record of a call; the number goes to [`leave`].
pub(crate) fn enter(what: What, caller: usize, args: &[u64], text: Option<String>) -> u64 {
    if is_on() {
        push(what, caller, args, text)
    } else {
        0
    }
}

/// Begins a record of a callback.
pub(crate) fn callback_enter(name: &'static str, target: usize, args: &[u64]) -> u64 {
    enter(What::Callback { name, target }, target, args, None)
}

/// Adds the result to a record.
#[inline]
pub(crate) fn leave(number: u64, result: u64) {
    if number != 0 {
        add_result(number, result);
    }
}

fn add_result(number: u64, result: u64) {
    let time_100ns = now().0;
    amend(number, |record, after| {
        record.result = Some(result);
        record.end = Some(End { time_100ns, after });
        record.handle = decode::made_handle(record);
    });
}

/// Adds details to a record of a call in progress.
pub(crate) fn annotate(number: u64, text: String) {
    amend(number, |record, _| record.text = Some(text.into()));
}

/// Changes a record; `change` also gets the number of the last one.
fn amend(number: u64, change: impl FnOnce(&mut Record, u64)) {
    if number == 0 {
        return;
    }
    let mut recorder = RECORDER.lock();
    let last = recorder.first + recorder.records.len() as u64 - 1;
    let index = number
        .checked_sub(recorder.first)
        .and_then(|index| usize::try_from(index).ok());
    if let Some(record) = index.and_then(|index| recorder.records.get_mut(index)) {
        change(record, last);
    }
}

/// Virtual time in 100 ns units, and real time in nanoseconds.
fn now() -> (u64, u64) {
    let real_ns = BOOTED.get().map_or(0, |booted| {
        u64::try_from(booted.elapsed().as_nanos()).unwrap_or(u64::MAX)
    });
    (CLOCK.get().map_or(real_ns / 100, |clock| clock()), real_ns)
}

fn push(what: What, caller: usize, args: &[u64], text: Option<String>) -> u64 {
    let (time_100ns, real_ns) = now();
    let (thread, irql, depth) = thread::try_current().map_or((0, 0, 0), |thread| {
        (thread.id, thread.irql(), thread.depth())
    });
    let mut kept = [0; ARGUMENTS];
    for (slot, &arg) in kept.iter_mut().zip(args) {
        *slot = arg;
    }
    let arg_count = u8::try_from(args.len().min(ARGUMENTS)).unwrap_or(0);
    let mut recorder = RECORDER.lock();
    if recorder.records.len() >= recorder.limit {
        recorder.records.pop_front();
        recorder.first += 1;
    }
    let number = recorder.first + recorder.records.len() as u64;
    recorder.records.push_back(Record {
        number,
        time_100ns,
        real_ns,
        thread,
        irql,
        depth,
        what,
        caller,
        args: kept,
        arg_count,
        result: None,
        end: None,
        handle: None,
        text: text.map(Into::into),
    });
    number
}

/// A copy of everything recorded.
#[must_use]
pub fn records() -> Vec<Record> {
    RECORDER.lock().records.iter().cloned().collect()
}

/// The last records as raw lines, oldest first; calls in progress end in `…`.
#[must_use]
pub fn last(count: usize) -> Vec<String> {
    // A stop may be met while this thread records: do not wait for ever.
    let Some(recorder) = RECORDER.try_lock_for(core::time::Duration::from_millis(200)) else {
        return vec!["(the recorder is busy)".to_owned()];
    };
    let skip = recorder.records.len().saturating_sub(count);
    recorder.records.iter().skip(skip).map(raw::line).collect()
}

/// A driver address as `image!function+0xdistance`, for records.
pub(crate) fn place(address: usize) -> String {
    if address == 0 {
        "-".to_owned()
    } else {
        image::place(address)
    }
}
