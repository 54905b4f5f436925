//! Bug checks: what a violated rule does.
//!
//! [`bug_check`] prints the stop with its parameters, who called, the driver's call stack and the last recorded calls,
//! and ends the process with exit code 99.

use crate::gate::{Call, IrqlRule, Routine};
use crate::rules::Rules;
use crate::thread::{Frame, Thread};
use crate::{image, thread, trace};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a process that met a bug check.
pub const EXIT_CODE: i32 = 99;

/// A stop code with its first parameter, the sub-code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Bug check code.
    pub code: u32,
    /// First parameter.
    pub sub: u64,
}

impl Stop {
    /// `DRIVER_VERIFIER_DETECTED_VIOLATION` (0xC4) with this sub-code.
    #[must_use]
    pub const fn verifier(sub: u64) -> Self {
        Self { code: 0xC4, sub }
    }

    /// `DRIVER_VERIFIER_IOMANAGER_VIOLATION` (0xC9) with this sub-code.
    #[must_use]
    pub const fn io(sub: u64) -> Self {
        Self { code: 0xC9, sub }
    }

    /// Any other stop without a sub-code.
    #[must_use]
    pub const fn plain(code: u32) -> Self {
        Self { code, sub: 0 }
    }
}

/// Routines of this module.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeBugCheck",
        args: 1,
        irql: IrqlRule::Any,
        run: |call| by_driver(call, [0; 4]),
    },
    Routine {
        name: "KeBugCheckEx",
        args: 5,
        irql: IrqlRule::Any,
        run: |call| by_driver(call, [call.arg(1), call.arg(2), call.arg(3), call.arg(4)]),
    },
];

fn by_driver(call: &Call, params: [u64; 4]) -> u64 {
    bug_check(
        call.u32(0),
        params,
        format!("{} called {}", describe(call.caller()), call.routine()),
    )
}

/// The symbolic name of a bug check code.
#[must_use]
pub fn name(code: u32) -> &'static str {
    match code {
        0x01 => "APC_INDEX_MISMATCH",
        0x0A => "IRQL_NOT_LESS_OR_EQUAL",
        0x18 => "REFERENCE_BY_POINTER",
        0x19 => "BAD_POOL_HEADER",
        0x1E => "KMODE_EXCEPTION_NOT_HANDLED",
        0x20 => "KERNEL_APC_PENDING_DURING_EXIT",
        0x27 => "RDR_FILE_SYSTEM",
        0x44 => "MULTIPLE_IRP_COMPLETE_REQUESTS",
        0x4E => "PFN_LIST_CORRUPT",
        0x50 => "PAGE_FAULT_IN_NONPAGED_AREA",
        0x76 => "PROCESS_HAS_LOCKED_PAGES",
        0x7F => "UNEXPECTED_KERNEL_MODE_TRAP",
        0x93 => "INVALID_KERNEL_HANDLE",
        0xBE => "ATTEMPTED_WRITE_TO_READONLY_MEMORY",
        0xC1 => "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
        0xC2 => "BAD_POOL_CALLER",
        0xC4 => "DRIVER_VERIFIER_DETECTED_VIOLATION",
        0xC9 => "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
        0xCB => "DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS",
        0xCC => "PAGE_FAULT_IN_FREED_SPECIAL_POOL",
        0xCD => "PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
        0xCE => "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
        0xD1 => "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
        0xD5 => "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL",
        0xD6 => "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
        0xE4 => "WORKER_INVALID",
        0xEA => "THREAD_STUCK_IN_DEVICE_DRIVER",
        0xFC => "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY",
        0x133 => "DPC_WATCHDOG_VIOLATION",
        0x139 => "KERNEL_SECURITY_CHECK_FAILURE",
        crate::own::CODE => "RULE_OF_NTSIM",
        0x4000_008A => "THREAD_TERMINATE_HELD_MUTEX",
        _ => "BUGCHECK",
    }
}

/// Stops the machine: prints the report and exits with [`EXIT_CODE`]. Only the first stop is reported.
pub fn bug_check(code: u32, params: [u64; 4], text: impl Into<String>) -> ! {
    let stack = thread::try_current().map(stack_of).unwrap_or_default();
    report(code, params, &text.into(), &stack)
}

/// A stop for a violated rule, with up to three further parameters.
pub fn violation(stop: Stop, rest: [u64; 3], text: impl Into<String>) -> ! {
    let [second, third, fourth] = rest;
    bug_check(stop.code, [stop.sub, second, third, fourth], text)
}

/// Stops for a broken rule if its class is on, as [`violation`] does; otherwise the kernel goes on as one does that Driver
/// Verifier does not watch.
pub fn enforce(stop: Stop, rest: [u64; 3], text: impl Into<String>) {
    if is_enforced(stop) {
        violation(stop, rest, text);
    }
}

/// Whether a stop's rule class is on, or it has none.
#[must_use]
pub fn is_enforced(stop: Stop) -> bool {
    let class = Rules::of(stop);
    class.is_empty() || class.is_on()
}

/// The machine under ntsim failed us (no memory, no threads): not the driver's fault. Exits with code 97.
pub fn host_failure(text: &str) -> ! {
    eprintln!("ntsim: host failure: {text}");
    std::process::exit(97);
}

/// The driver call stack of a thread, innermost frame first, one readable line per frame.
#[must_use]
pub fn stack_of(thread: &Thread) -> Vec<String> {
    let mut lines = Vec::new();
    for frame in thread.frames().into_iter().rev() {
        lines.extend(frame_lines(&frame));
    }
    lines
}

/// The lines of one border crossing: the callee, then the driver frames that led to it.
pub(crate) fn frame_lines(frame: &Frame) -> Vec<String> {
    match frame {
        Frame::Call { entry, .. } => {
            let mut lines = vec![format!("  {}", crate::gate::entry(*entry).full_name())];
            lines.extend(driver_lines(frame));
            lines
        }
        Frame::Forwarded => Vec::new(),
        Frame::Preempted(_) => driver_lines(frame),
        Frame::Callback { name: "", target } => {
            vec![format!("  (kernel called {})", describe(*target))]
        }
        Frame::Callback { name, target } => {
            vec![format!("  (kernel called {name} = {})", describe(*target))]
        }
    }
}

fn driver_lines(frame: &Frame) -> Vec<String> {
    let addresses = image::unwind::walk_from(frame).into_iter();
    addresses.map(|at| format!("  {}", describe(at))).collect()
}

/// An address as `image+0xoffset`, with the nearest export if there is one.
#[must_use]
pub fn describe(address: usize) -> String {
    image::describe(address)
}

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Prints the report and ends the process.
pub(crate) fn report(code: u32, params: [u64; 4], text: &str, stack: &[String]) -> ! {
    if STOPPED.swap(true, Ordering::SeqCst) {
        // Another thread is reporting: leave it the process.
        loop {
            std::thread::park();
        }
    }
    crate::signal::arm_watchdog();
    let [p1, p2, p3, p4] = params;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n*** STOP 0x{code:08X} (0x{p1:X}, 0x{p2:X}, 0x{p3:X}, 0x{p4:X}) {}",
        name(code)
    );
    let _ = writeln!(out, "*** {text}");
    if let Some(thread) = thread::try_current() {
        let _ = writeln!(
            out,
            "thread {} \"{}\" at IRQL {}",
            thread.id,
            thread.name,
            thread.irql()
        );
    }
    let _ = writeln!(out, "driver call stack:");
    if stack.is_empty() {
        let _ = writeln!(out, "  (no driver code on this thread)");
    }
    for line in stack {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "last calls:");
    for line in trace::last(crate::options().stop_records) {
        let _ = writeln!(out, "  {line}");
    }
    let _ = writeln!(out, "seed {}", crate::options().seed);
    if let Some(schedule) = crate::explore::running_schedule() {
        let _ = writeln!(out, "schedule {schedule}");
    }
    write_error(&out);
    crate::explore::tell();
    // SAFETY: `_exit` has no preconditions; exit handlers must not run in whatever state the stop was met.
    unsafe { libc::_exit(EXIT_CODE) }
}

/// Writes to standard error without its lock, which a stopped thread may hold.
pub(crate) fn write_error(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        // SAFETY: The buffer is valid for its length.
        let written = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
            _ => return,
        }
    }
}
