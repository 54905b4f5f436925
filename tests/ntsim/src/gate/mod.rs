//! The border between driver code and the simulated kernel.
//!
//! Every kernel routine a driver may import is one [`Routine`] of a table; the driver's import address table points at a
//! small thunk per routine, which jumps to one common piece of assembly (`asm.rs`): it saves the registers that the
//! Windows calling convention preserves, leaves the driver's 24 KiB stack for the host's, and calls `dispatch.rs`.
//! [`call`] is the way back: it runs driver code on the current thread's driver stack. Both nest as deep as drivers do.
//!
//! # How to add a routine
//!
//! 1. Write `fn(&Call) -> u64` in the module of its subject. Arguments are read with [`Call::arg`] and its typed
//!    friends; whatever the routine returns goes into `rax`.
//! 2. Add a [`Routine`] to that module's `ROUTINES` table: name, number of arguments (for the trace), and the IRQL rule
//!    with the stop that its violation raises (the routine's page gives the limit, spec/verifier.md §3 the code).
//! 3. If it can fail for lack of memory, ask [`crate::fault::should_fail`] first, once.
//! 4. If it makes something that has to be given back, tell [`mod@crate::account`].
//!
//! ```no_run
//! use ntsim::gate::{Call, IrqlRule, Routine};
//! use ntsim::stop::Stop;
//!
//! pub const ROUTINES: &[Routine] = &[Routine {
//!     name: "KeExample",
//!     args: 1,
//!     irql: IrqlRule::Max(2, Stop::verifier(0x20011)),
//!     run: |call| call.arg(0) + 1,
//! }];
//! ```

pub(crate) mod asm;
mod dispatch;
mod raw;
mod table;

use crate::image::Image;
use crate::stop::Stop;
use crate::thread::{self, Thread};
use crate::trace;

pub use asm::GateFrame;
pub use table::{Datum, Library, datum, find, import, import_from, install, name_of_thunk, names};
pub(crate) use table::{ThunkBlock, bind_export, entry, index_of, kernel_routine_count, thunk};

/// One kernel routine that drivers may import.
pub struct Routine {
    /// The export's name.
    pub name: &'static str,
    /// How many arguments it takes; for the trace only.
    pub args: u8,
    /// At which IRQL it may be called; checked before `run`.
    pub irql: IrqlRule,
    /// What it does.
    pub run: fn(&Call) -> u64,
}

/// At which IRQL a routine may be called, and what is raised otherwise.
#[derive(Clone, Copy, Debug)]
pub enum IrqlRule {
    /// No limit.
    Any,
    /// At this IRQL or below.
    Max(u8, Stop),
    /// At `PASSIVE_LEVEL` with special kernel APCs enabled (not inside a guarded region).
    PassiveWithApcs(Stop),
    /// At this IRQL only.
    Exactly(u8, Stop),
}

/// One call of a kernel routine by a driver, seen by the routine.
#[derive(Clone, Copy)]
pub struct Call {
    args: *const u64,
    caller: usize,
    entry: u32,
    record: u64,
    thread: &'static Thread,
}

impl Call {
    /// A call made by ntsim itself on behalf of `caller` (an address in a driver, or 0): runs a routine of the table
    /// without passing the gate.
    #[must_use]
    pub fn host(args: &[u64], caller: usize) -> Self {
        Self {
            args: args.as_ptr(),
            caller,
            entry: u32::MAX,
            record: 0,
            thread: thread::current(),
        }
    }

    /// The `n`-th argument, counted from 0, as the 64-bit value of its register or stack slot.
    ///
    /// Arguments past those that the caller passed are whatever lies on its stack: variadic routines read as many as
    /// their format asks for. For narrow types use [`Self::u32`] and friends: the upper bits of a slot are undefined.
    #[must_use]
    pub fn arg(&self, n: usize) -> u64 {
        // SAFETY: The gate spilled the four register arguments in front of the stack arguments, and every driver stack
        // keeps a readable margin above its first frame.
        unsafe { self.args.wrapping_add(n).read() }
    }

    /// The low 32 bits of an argument.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper half of the slot is undefined"
    )]
    pub fn u32(&self, n: usize) -> u32 {
        self.arg(n) as u32
    }

    /// The low 32 bits of an argument, signed.
    #[must_use]
    pub fn i32(&self, n: usize) -> i32 {
        self.u32(n).cast_signed()
    }

    /// The low 16 bits of an argument.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper bits of the slot are undefined"
    )]
    pub fn u16(&self, n: usize) -> u16 {
        self.arg(n) as u16
    }

    /// The low 8 bits of an argument (`UCHAR`, `KIRQL`, `BOOLEAN`).
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper bits of the slot are undefined"
    )]
    pub fn u8(&self, n: usize) -> u8 {
        self.arg(n) as u8
    }

    /// An argument as an address.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "ntsim is a 64-bit program")]
    pub fn addr(&self, n: usize) -> usize {
        self.arg(n) as usize
    }

    /// An argument as a pointer. A bad one faults, and the fault is reported with the routine and its caller.
    #[must_use]
    pub fn ptr<T>(&self, n: usize) -> *mut T {
        self.addr(n) as *mut T
    }

    /// The return address in the driver.
    #[must_use]
    pub fn caller(&self) -> usize {
        self.caller
    }

    /// The image that made the call, if the caller is driver code.
    #[must_use]
    pub fn image(&self) -> Option<&'static Image> {
        crate::image::find(self.caller)
    }

    /// The thread that made the call (the current one).
    #[must_use]
    pub fn thread(&self) -> &'static Thread {
        self.thread
    }

    /// Adds details to the trace record of this call; `text` is made only when recording.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.record != 0 {
            trace::annotate(self.record, text());
        }
    }

    /// The name of the routine that was called.
    #[must_use]
    pub fn routine(&self) -> &'static str {
        if self.entry == u32::MAX {
            "(ntsim)"
        } else {
            table::entry(self.entry).name()
        }
    }
}

/// Runs driver code at `entry` on the current thread's driver stack and returns its `rax`.
///
/// Hold no host lock: the driver calls back.
pub fn call(entry: usize, args: &[u64]) -> u64 {
    run(entry, args, None)
}

/// Like [`call`], and records entry, exit and result under `name` in the trace.
pub fn call_named(name: &'static str, entry: usize, args: &[u64]) -> u64 {
    run(entry, args, Some(name))
}

fn run(target: usize, args: &[u64], name: Option<&'static str>) -> u64 {
    let thread = thread::current();
    let record = name.map(|name| trace::callback_enter(name, target, args));
    let stack_pointer = thread.push_callback(name.unwrap_or(""), target);
    let result = enter(thread, stack_pointer, target, args);
    if let Some(record) = record {
        trace::leave(record, result);
    }
    result
}

/// Passes a call of one driver on to another.
fn forward(target: usize, args: &[u64]) -> u64 {
    let thread = thread::current();
    enter(thread, thread.push_forwarded(), target, args)
}

/// Runs driver code that was entered, and leaves it.
fn enter(thread: &Thread, stack_pointer: usize, target: usize, args: &[u64]) -> u64 {
    crate::explore::into_driver(target);
    let result = asm::enter_driver(target, args, stack_pointer);
    thread.pop();
    result
}

/// Whether this address is code of the gate or beside it that a driver's call or return runs through without leaving the
/// driver for good.
pub(crate) fn is_on_the_way(address: usize) -> bool {
    raw::contains(address) || asm::is_return_to_driver(address)
}

/// Leaves all driver code of the current thread: the outermost [`call`] returns 0, and no frame in between is unwound.
///
/// For `PsTerminateSystemThread`. The caller and everyone between holds no lock and owns no memory.
pub fn abandon() -> ! {
    asm::abandon(thread::current())
}
