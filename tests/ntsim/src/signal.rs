//! Faults of driver code, and of the kernel working on a driver's bad pointer, turned into stops with a report.
//!
//! The handler runs on a stack of its own and explains the address: freed pool and who freed it, a guard page, a driver
//! stack that overflowed, NULL, an import that nobody exports, an unloaded image. Facts about codes: the bug check
//! reference pages. Whatever goes wrong while reporting, the watchdog ends the process with the same exit code.

use crate::arena::{self, Kind};
use crate::image::unwind::{self, Position, Registers};
use crate::io::surrogate;
use crate::irql::DISPATCH_LEVEL;
use crate::stop::{self, EXIT_CODE};
use crate::thread::{self, Frame, Thread};
use crate::{burn, image, pageable, pool};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

/// Seconds that a report may take.
const REPORT_SECONDS: u32 = 20;
/// Bytes of a thread's signal stack.
const SIGNAL_STACK: usize = 256 * 1024;
const SIGNALS: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
];

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

/// The signal stack of an OS thread; unmapped when the thread ends.
struct SignalStack(Cell<usize>);

impl Drop for SignalStack {
    fn drop(&mut self) {
        let base = self.0.get();
        if base == 0 {
            return;
        }
        let off = libc::stack_t {
            ss_sp: core::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: Switches the current thread's signal stack off, which no handler is running on.
        unsafe { libc::sigaltstack(&raw const off, core::ptr::null_mut()) };
        // SAFETY: The mapping is this thread's own and no longer used.
        unsafe { libc::munmap(base as *mut _, SIGNAL_STACK) };
    }
}

thread_local! {
    static STACK: SignalStack = const { SignalStack(Cell::new(0)) };
}

/// Gives the current OS thread a signal stack that is large enough for a report.
pub(crate) fn prepare_thread() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: A fresh anonymous mapping touches nothing that exists.
    let base = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            SIGNAL_STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        stop::host_failure("no memory for a signal stack");
    }
    let stack = libc::stack_t {
        ss_sp: base,
        ss_flags: 0,
        ss_size: SIGNAL_STACK,
    };
    // SAFETY: The memory stays mapped until the thread ends and `SignalStack` switches it off.
    unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) };
    STACK.with(|cell| cell.0.set(base as usize));
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

fn registers(general: &[i64; 23]) -> Registers {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
        REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP,
    };
    let get = |index: i32| {
        usize::try_from(index)
            .ok()
            .and_then(|index| general.get(index))
            .map_or(0, |value| value.cast_unsigned())
    };
    let order = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
        REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    Registers {
        general: order.map(get),
        rip: get(REG_RIP),
    }
}

/// `mov reg, cr8` and `mov cr8, reg` are privileged: header macros of some compilers read the IRQL that way. Carried out
/// here for code of a driver; returns whether the instruction was one of them.
fn emulate_cr8(general: &mut [i64; 23]) -> bool {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
        REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP,
    };
    let Some(rip) = general
        .get(REG_RIP as usize)
        .and_then(|rip| usize::try_from(*rip).ok())
    else {
        return false;
    };
    let mut code = [0u8; 4];
    if image::find(rip).is_none() || !arena::read_checked(rip, &mut code) {
        return false;
    }
    let [
        prefix @ (0x44 | 0x45),
        0x0F,
        opcode @ (0x20 | 0x22),
        operand,
    ] = code
    else {
        return false;
    };
    // ModRM: register form, CR8 as the reg field with REX.R.
    if operand & 0xF8 != 0xC0 {
        return false;
    }
    let low = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    ];
    let high = [
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    let set = if prefix == 0x45 { high } else { low };
    let Some(slot) = set
        .get(usize::from(operand & 7))
        .and_then(|&index| general.get_mut(index as usize))
    else {
        return false;
    };
    let thread = thread::current();
    if opcode == 0x20 {
        *slot = i64::from(thread.irql());
    } else {
        thread
            .irql
            .store(u8::try_from(*slot & 0xF).unwrap_or(0), Ordering::Relaxed);
    }
    if let Some(rip) = general.get_mut(REG_RIP as usize) {
        *rip += 4;
    }
    true
}

/// `ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY`.
const NO_EXECUTE: u32 = 0xFC;
/// Takes the trap after a stepped instruction; whether it was one.
fn stepped(signal: i32, general: &mut [i64; 23]) -> bool {
    if signal != libc::SIGTRAP || !crate::explore::on() {
        return false;
    }
    let Some(more) = crate::explore::trapped(&registers(general)) else {
        return false;
    };
    if !more && let Some(flags) = general.get_mut(libc::REG_EFL as usize) {
        const TRAP_FLAG: i64 = 0x100;
        *flags &= !TRAP_FLAG;
    }
    true
}

struct Fault {
    signal: i32,
    address: usize,
    general_protection: bool,
    error: u64,
    registers: Registers,
}

impl Fault {
    fn rip(&self) -> usize {
        usize::try_from(self.registers.rip).unwrap_or(0)
    }

    fn rsp(&self) -> usize {
        let [_, _, _, _, rsp, ..] = self.registers.general;
        usize::try_from(rsp).unwrap_or(0)
    }

    fn is_write(&self) -> bool {
        self.error & 2 != 0
    }

    fn is_execution(&self) -> bool {
        self.error & 0x10 != 0 || self.rip() == self.address
    }

    fn report(&self, thread: &Thread) -> ! {
        let frames = thread.try_frames().unwrap_or_default();
        let (low, high) = thread.stack_limits();
        let on_driver_stack = self.rsp() + arena::PAGE >= low && self.rsp() <= high;
        let by_driver = on_driver_stack || image::find(self.rip()).is_some();
        let stack = self.stack(&frames, by_driver);
        let who = self.who(&frames, by_driver);
        let (code, reason) = match self.pageable() {
            // IRQL_NOT_LESS_OR_EQUAL, and the same for a driver's own instruction.
            Some(what) => (if by_driver { 0xD1 } else { 0x0A }, what),
            None => self.explain(thread),
        };
        let access = match () {
            () if self.is_execution() => "execute",
            () if self.is_write() => "write",
            () => "read",
        };
        let text = match self.signal {
            libc::SIGSEGV | libc::SIGBUS if !self.general_protection || code == 0x139 => {
                format!("{who} tried to {access} 0x{:X}: {reason}", self.address)
            }
            _ => format!("{who}: {reason}"),
        };
        let parameters = match code {
            0x1E => [
                self.exception(),
                self.registers.rip,
                u64::from(self.is_write()),
                self.address as u64,
            ],
            0x7F => [8, self.address as u64, 0, self.registers.rip],
            _ => [
                self.address as u64,
                u64::from(thread.irql()),
                u64::from(self.is_write()),
                self.registers.rip,
            ],
        };
        stop::report(code, parameters, &text, &stack)
    }

    /// The driver, or the routine that worked on a driver's pointer.
    fn who(&self, frames: &[Frame], by_driver: bool) -> String {
        if by_driver {
            return stop::describe(self.driver_address());
        }
        match frames.last() {
            Some(Frame::Call { entry, caller, .. }) => {
                format!(
                    "{} called {} with a bad pointer, and it",
                    stop::describe(*caller),
                    crate::gate::entry(*entry).name()
                )
            }
            _ => format!("ntsim itself (at 0x{:X})", self.rip()),
        }
    }

    /// Where the driver was: for a wild jump, where it came from.
    fn driver_address(&self) -> usize {
        if image::find(self.rip()).is_some_and(image::Image::is_loaded) {
            return self.rip();
        }
        let mut bytes = [0; 8];
        if arena::read_checked(self.rsp(), &mut bytes) {
            let caller = usize::from_le_bytes(bytes);
            if image::find(caller).is_some() {
                return caller;
            }
        }
        self.rip()
    }

    fn stack(&self, frames: &[Frame], by_driver: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if by_driver {
            let mut registers = self.registers;
            let mut position = Position::AtInstruction;
            let start = self.driver_address();
            if start != self.rip() {
                registers.rip = start as u64;
                let [_, _, _, _, rsp, ..] = &mut registers.general;
                *rsp += 8;
                position = Position::AfterCall;
            }
            lines.extend(
                unwind::walk(registers, position)
                    .into_iter()
                    .map(|at| format!("  {}", stop::describe(at))),
            );
        }
        for frame in frames.iter().rev() {
            lines.extend(stop::frame_lines(frame));
        }
        lines
    }

    const fn exception(&self) -> u64 {
        match self.signal {
            libc::SIGILL => 0xC000_001D,
            libc::SIGFPE => 0xC000_0094,
            libc::SIGTRAP => 0x8000_0003,
            _ => 0xC000_0005,
        }
    }

    /// What pageable memory was touched where paging is impossible.
    fn pageable(&self) -> Option<String> {
        let access = pageable::Access {
            address: self.address,
            write: self.is_write(),
            execute: self.is_execution(),
        };
        let paging = self.signal == libc::SIGSEGV
            && !self.general_protection
            && pageable::is_page_fault(access);
        let what = pageable::describe(self.address)?;
        paging.then(|| format!("pageable memory, paged out at DISPATCH_LEVEL: {what}"))
    }

    /// Stop code and the reason for people.
    fn explain(&self, thread: &Thread) -> (u32, String) {
        match self.signal {
            libc::SIGILL => {
                return (
                    0x1E,
                    "illegal instruction (a panic or an abort of compiled code ends in one)"
                        .to_owned(),
                );
            }
            libc::SIGFPE => return (0x1E, "integer division by zero, or its overflow".to_owned()),
            libc::SIGTRAP => return (0x1E, "breakpoint instruction".to_owned()),
            _ => {}
        }
        let mut code = [0u8; 2];
        if arena::read_checked(self.rip(), &mut code) && code == [0xCD, 0x29] {
            let [_, rcx, ..] = self.registers.general;
            return (0x139, format!("fast fail with code {rcx}"));
        }
        if self.general_protection {
            return (0x1E, "general protection fault: an address that is not canonical, or a privileged instruction".to_owned());
        }
        self.explain_address(thread)
    }

    fn explain_address(&self, thread: &Thread) -> (u32, String) {
        let address = self.address;
        if let Some(block) = pool::owner_block(address)
            && (block.address..block.address + block.bytes).contains(&address)
            && self.is_execution()
        {
            return (
                NO_EXECUTE,
                format!("data is not executable: {}", block.describe()),
            );
        }
        if let Some(import) = image::poisoned(address) {
            return (
                0x7F,
                format!(
                    "it stands for the import {import}, which neither the kernel nor a loaded driver has"
                ),
            );
        }
        if let Some(block) = pool::owner_block(address) {
            let place = if address < block.address {
                format!("{} bytes in front of", block.address - address)
            } else {
                format!(
                    "{} bytes beyond the end of",
                    address - (block.address + block.bytes).min(address)
                )
            };
            return (0xD6, format!("{place} {}", block.describe()));
        }
        if let Some(block) = pool::freed_block(address) {
            return (0xD5, format!("freed memory: {}", block.describe()));
        }
        if let Some(image) = image::find(address) {
            return self.explain_image(image, address);
        }
        if address < 0x1_0000 {
            return (0x1E, "a NULL pointer".to_owned());
        }
        if arena::is_user(address) {
            return (0x1E, "an address of user space".to_owned());
        }
        let Some(known) = arena::explain(address).filter(|_| arena::is_system(address)) else {
            return (0x50, "nothing was ever mapped there".to_owned());
        };
        let inside = address >= known.base && address < known.base + known.bytes;
        match known.kind {
            Kind::Stack if !inside && address < known.base => {
                let whose = if (known.base, known.base + known.bytes) == thread.stack_limits() {
                    "the driver stack of this thread overflowed".to_owned()
                } else {
                    format!("below the driver stack of thread {}", known.owner)
                };
                (0x7F, format!("{whose} ({} bytes)", known.bytes))
            }
            Kind::Irp if inside && surrogate::is_hidden(address) => (
                0xD5,
                format!("the IRP 0x{:X}, which a driver below still has", known.base),
            ),
            Kind::Irp if !known.live => (
                0xD5,
                format!("freed IRP, in the page at 0x{:X}", known.base),
            ),
            Kind::Irp if !inside => (
                0xD6,
                format!(
                    "beyond the end of the IRP in the page at 0x{:X}",
                    known.base
                ),
            ),
            kind if !known.live => (
                0x50,
                format!(
                    "freed memory ({kind:?}) of {} bytes at 0x{:X}",
                    known.bytes, known.base
                ),
            ),
            kind if inside && self.is_execution() => (
                NO_EXECUTE,
                format!("memory of kind {kind:?} is not executable"),
            ),
            kind if inside => (0xBE, format!("memory of kind {kind:?} does not allow this")),
            kind => (
                0x50,
                format!(
                    "just beyond memory of kind {kind:?}, {} bytes at 0x{:X}",
                    known.bytes, known.base
                ),
            ),
        }
    }

    fn explain_image(&self, image: &image::Image, address: usize) -> (u32, String) {
        if !image.is_loaded() {
            return (0xCE, format!("{} was unloaded", image.name));
        }
        match image.section(address) {
            Some(section) if section.discardable => (
                0x50,
                format!(
                    "section {} of {} was discarded after initialisation",
                    section.name, image.name
                ),
            ),
            Some(section) => (
                if self.is_execution() {
                    NO_EXECUTE
                } else {
                    0xBE
                },
                format!(
                    "section {} of {} does not allow this",
                    section.name, image.name
                ),
            ),
            None => (0x50, format!("no section of {} is there", image.name)),
        }
    }
}
