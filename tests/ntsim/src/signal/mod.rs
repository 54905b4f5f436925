//! Faults of driver code, and of the kernel working on a driver's bad pointer, turned into stops with a report.
//!
//! The handler runs on a stack of its own and explains the address: freed pool and who freed it, a guard page, a driver
//! stack that overflowed, NULL, an import that nobody exports, an unloaded image. Facts about codes: the bug check
//! reference pages. Whatever goes wrong while reporting, the watchdog ends the process with the same exit code.
//!
//! `stack` is what the handlers run on, `registers` what they find, `fault` what it means.

mod fault;
mod registers;
mod stack;

use crate::irql::DISPATCH_LEVEL;
use crate::stop::{self, EXIT_CODE};
use crate::thread::{self, Thread};
use crate::{burn, image, pageable};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};
use fault::Fault;
use registers::{emulate_cr8, registers, stepped};

pub(crate) use stack::prepare_thread;

/// Seconds that a report may take.
const REPORT_SECONDS: u32 = 20;
const SIGNALS: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
];

thread_local! {
    static CLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as the clock, which looks at timers and DPCs of drivers as the clock's interrupt does.
pub(crate) fn is_the_clock() {
    CLOCK.set(true);
}

/// Installs the handlers; once, at boot.
pub(crate) fn install() {
    for signal in SIGNALS {
        set_handler(signal, on_fault as *const () as usize);
    }
    set_handler(burn::SIGNAL, on_burn as *const () as usize);
    set_handler(libc::SIGALRM, on_watchdog as *const () as usize);
}

fn set_handler(signal: i32, handler: usize) {
    // SAFETY: A zeroed `sigaction` is a valid one.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESTART;
    // SAFETY: The action is initialised and its handler has the signature that SA_SIGINFO asks for.
    unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) };
}

/// Ends the process if a report hangs.
pub(crate) fn arm_watchdog() {
    // SAFETY: `alarm` has no preconditions.
    unsafe { libc::alarm(REPORT_SECONDS) };
}

static REPORTING: AtomicBool = AtomicBool::new(false);

extern "C" fn on_watchdog(_: i32, _: *const libc::siginfo_t, _: *const libc::c_void) {
    stop::write_error("ntsim: the report of a stop did not come to its end\n");
    // SAFETY: `_exit` is async-signal-safe and has no preconditions.
    unsafe { libc::_exit(EXIT_CODE) };
}

/// A thread has burnt too much processor time: it reports itself, if it is still in a driver's code.
extern "C" fn on_burn(signal: i32, _: *const libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The kernel passes a valid `ucontext_t` to an SA_SIGINFO handler.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let registers = registers(&context.uc_mcontext.gregs);
    let fault = Fault {
        signal,
        address: 0,
        general_protection: false,
        error: 0,
        registers,
    };
    let Some(thread) = thread::try_current().filter(|thread| burn::is_accused(thread)) else {
        return;
    };
    if image::find(fault.rip()).is_none() {
        return;
    }
    let irql = thread.irql();
    let code = if irql >= DISPATCH_LEVEL {
        DPC_WATCHDOG
    } else {
        THREAD_STUCK
    };
    let text = format!(
        "{} runs without a call of a kernel routine: {:?} of processor time and more",
        stop::describe(fault.rip()),
        crate::options().burn_limit
    );
    let stack = fault.stack(&thread.try_frames().unwrap_or_default(), true);
    let first = if code == THREAD_STUCK {
        thread.object as u64
    } else {
        0
    };
    stop::report(code, [first, 0, 0, 0], &text, &stack)
}

/// `DPC_WATCHDOG_VIOLATION` and `THREAD_STUCK_IN_DEVICE_DRIVER`.
const DPC_WATCHDOG: u32 = 0x133;
const THREAD_STUCK: u32 = 0xEA;

extern "C" fn on_fault(signal: i32, info: *const libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The kernel passes a valid `ucontext_t` to an SA_SIGINFO handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let general = &mut context.uc_mcontext.gregs;
    if emulate_cr8(general) || stepped(signal, general) {
        return;
    }
    // SAFETY: The kernel passes a valid `siginfo_t`.
    let information = unsafe { &*info };
    // SAFETY: Faults have an address.
    let address = unsafe { information.si_addr() } as usize;
    let page_fault = signal == libc::SIGSEGV && is_page_fault(address, information, general);
    let irql = thread::try_current().map_or(0, Thread::irql);
    if page_fault && irql < DISPATCH_LEVEL {
        pageable::page_in(address);
        return;
    }
    let Some(thread) = thread::try_current() else {
        if CLOCK.get() {
            let text = format!(
                "the clock met 0x{address:X}, where no timer or DPC of a driver can be (any more)"
            );
            stop::report(0x0A, [address as u64, 0x0D, 0, 0], &text, &[]);
        }
        // Not a simulated thread: the usual end of a crashing process, when the instruction faults again.
        // SAFETY: Restores the default action.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    if REPORTING.swap(true, Ordering::SeqCst) {
        second_fault(thread);
    }
    arm_watchdog();
    let code = information.si_code;
    let registers = registers(general);
    let error = general
        .get(libc::REG_ERR as usize)
        .copied()
        .unwrap_or(0)
        .cast_unsigned();
    let fault = Fault {
        signal,
        address,
        general_protection: code == SI_KERNEL,
        error,
        registers,
    };
    fault.report(thread);
}

/// Whether a fault is one of pageable memory that is not there.
fn is_page_fault(address: usize, info: &libc::siginfo_t, general: &[i64; 23]) -> bool {
    let register = |index: i32| general.get(index as usize).copied().unwrap_or(0);
    let error = register(libc::REG_ERR);
    info.si_code != SI_KERNEL
        && pageable::is_page_fault(pageable::Access {
            address,
            write: error & 2 != 0,
            execute: error & 0x10 != 0 || usize::try_from(register(libc::REG_RIP)) == Ok(address),
        })
}

/// A fault while a report is being written: by this thread, then nothing more can be said; by another, then wait for it.
fn second_fault(thread: &Thread) {
    static FIRST: AtomicBool = AtomicBool::new(true);
    let _ = thread;
    if FIRST.swap(false, Ordering::SeqCst) {
        stop::write_error("ntsim: another fault during the report of a stop\n");
    }
    loop {
        // The watchdog or the reporting thread ends the process.
        // SAFETY: `pause` has no preconditions.
        unsafe { libc::pause() };
    }
}

/// `si_code` of faults without an address, such as a non-canonical address or a privileged instruction.
const SI_KERNEL: i32 = 0x80;
