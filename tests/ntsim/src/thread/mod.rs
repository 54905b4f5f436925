//! Simulated threads: one OS thread each, with an IRQL, APC state, a 24 KiB driver stack and a processor control region
//! that GS addresses.
//!
//! Any OS thread that meets the kernel becomes a simulated thread ([`current`] attaches it as a thread of a user
//! process); [`spawn`] makes new ones. Their objects live as long as the process: reports may still name them.

mod frames;

use crate::arena::{self, Kind};
use crate::explore;
use crate::gate::GateFrame;
use crate::image::unwind::Registers;
use core::cell::Cell;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use parking_lot::{Mutex, RwLock};
use std::sync::{Arc, OnceLock};

use frames::Frames;
pub(crate) use frames::{REGISTERS, SERIAL};

/// Bytes of driver stack of a thread of 64-bit Windows ("Using the Kernel Stack").
pub const DRIVER_STACK_BYTES: usize = 24 * 1024;
/// Readable bytes kept above the first driver frame, so that argument slots past the last one can be read.
const STACK_MARGIN: usize = 512;
/// Bytes of the processor control region; the host's own fields are in its last page.
const CONTROL_REGION_BYTES: usize = 0x4000;
/// Bytes reserved for the thread object that drivers see (`PETHREAD`).
const THREAD_OBJECT_BYTES: usize = 0x800;
/// How many processors the simulated machine has.
pub const PROCESSORS: u32 = 4;

/// A simulated thread.
pub struct Thread {
    /// Number, from 4 upwards in steps of 4 like a Windows thread id.
    pub id: u32,
    /// Name for reports.
    pub name: String,
    /// Whether it belongs to the System process.
    pub system: bool,
    /// Current IRQL.
    pub irql: AtomicU8,
    /// Normal kernel APCs are disabled (critical region) while not 0; counts down as in `KTHREAD`.
    pub kernel_apc_disable: AtomicI32,
    /// Special kernel APCs are disabled (guarded region) while not 0; counts down.
    pub special_apc_disable: AtomicI32,
    /// Processor it is accounted to.
    pub processor: AtomicU32,
    /// Address of its thread object (`KTHREAD`), in the arena.
    pub object: usize,
    /// Driver routine it began with, if a driver created it: it keeps that image from being unloaded.
    pub start_routine: AtomicUsize,
    /// `IoGetTopLevelIrp` of this thread.
    pub top_level_irp: AtomicU64,
    /// Special kernel APCs that wait for delivery.
    pub apcs: Mutex<Vec<crate::dispatcher::apc::Apc>>,
    /// There are some; written with the list locked.
    pub(crate) apcs_wait: AtomicBool,
    /// Mutexes that the thread owns.
    pub owned_mutexes: AtomicU32,
    /// Kernel routines that its drivers have called.
    pub(crate) calls: AtomicU64,
    /// Its number on the host.
    pub(crate) native: AtomicI32,
    /// Set once the OS thread has left.
    pub exited: AtomicBool,
    control_region: usize,
    stack: arena::Region,
    frames: Frames,
    /// Where it was preempted in driver code, while it is.
    preempted: Mutex<Option<Registers>>,
}

/// One border crossing that is in progress on a thread.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// A driver called a kernel routine (or another driver through its recording thunk).
    Call {
        /// Index in the table of entries.
        entry: u32,
        /// Registers of the driver at the call.
        registers: GateFrame,
        /// Return address in the driver.
        caller: usize,
    },
    /// A driver's call was passed on to another driver.
    Forwarded,
    /// The kernel called driver code.
    Callback {
        /// Name of the callback, if it has one.
        name: &'static str,
        /// Address of the driver code.
        target: usize,
    },
    /// The driver was preempted between two instructions.
    Preempted(Registers),
}

/// What other parts of the kernel want to know about threads.
pub struct Hooks {
    /// A thread exists and counts as running; called before its code runs, in the creator's context.
    pub created: fn(&Arc<Thread>),
    /// A thread has ended; called in its context, as the last thing.
    pub exited: fn(&Arc<Thread>),
}

thread_local! {
    static CURRENT: Cell<Option<&'static Thread>> = const { Cell::new(None) };
}

static ALL: RwLock<Vec<Arc<Thread>>> = RwLock::new(Vec::new());
static NEXT_ID: AtomicU32 = AtomicU32::new(4);
static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Installs the hooks; before the first thread exists.
pub fn set_hooks(hooks: Hooks) {
    drop(HOOKS.set(hooks));
}

/// The current thread; attaches the OS thread as a thread of a user process if it is new.
#[inline]
pub fn current() -> &'static Thread {
    CURRENT.get().unwrap_or_else(attach)
}

#[cold]
fn attach() -> &'static Thread {
    let name = std::thread::current().name().unwrap_or("user").to_owned();
    let thread = Thread::new(&name, Membership::User);
    thread.announce();
    let me = bind(&thread);
    if explore::on() {
        explore::enter(me);
    }
    me
}

/// The current thread, if this OS thread is a simulated one.
#[must_use]
pub fn try_current() -> Option<&'static Thread> {
    CURRENT.get()
}

/// All threads that ever were.
#[must_use]
pub fn all() -> Vec<Arc<Thread>> {
    ALL.read().clone()
}

/// The thread whose thread object is at this address.
#[must_use]
pub fn by_object(object: usize) -> Option<Arc<Thread>> {
    ALL.read()
        .iter()
        .find(|thread| thread.object == object)
        .cloned()
}

/// Starts a thread. Its OS thread ends when `body` returns.
pub fn spawn(name: &str, system: bool, body: Box<dyn FnOnce() + Send>) -> Arc<Thread> {
    let thread = Thread::new(
        name,
        if system {
            Membership::System
        } else {
            Membership::User
        },
    );
    thread.announce();
    let started = Arc::clone(&thread);
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let me = bind(&started);
            if explore::on() {
                explore::enter(me);
            }
            body();
            started.exited.store(true, Ordering::Release);
            if let Some(hooks) = HOOKS.get() {
                (hooks.exited)(&started);
            }
            started.release();
            if explore::on() {
                explore::leave(me);
            }
        });
    if let Err(error) = spawned {
        crate::stop::host_failure(&format!("cannot start an OS thread for {name}: {error}"));
    }
    thread
}

/// From now on, the calling thread and those that it starts do not take the processor from whoever wakes them
/// (`SCHED_BATCH`). On Windows a thread that completes a request at `DISPATCH_LEVEL` keeps its processor, whomever it wakes;
/// the host knows no IRQL, and lets the woken one run first, which then meets the locks of the other.
///
/// For measuring: a test wants all orders of threads that other processors would bring about.
///
/// # Errors
///
/// The host's.
pub fn let_wakers_run_on() -> std::io::Result<()> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: The parameters live across the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const none) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// To which process a new thread belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    System,
    User,
}

impl Thread {
    fn new(name: &str, membership: Membership) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(4, Ordering::Relaxed);
        let control_region = arena::map(CONTROL_REGION_BYTES, Kind::ControlRegion);
        let object = arena::map(THREAD_OBJECT_BYTES, Kind::Object);
        let processor = (id / 4) % PROCESSORS;
        let fields = [
            (0x18, control_region as u64),
            (0x20, control_region as u64 + 0x180),
            (0x188, object as u64),
            (0x1A4, u64::from(processor)),
        ];
        for (offset, value) in fields {
            // SAFETY: The region was just mapped, is larger than these offsets, and belongs to nobody else yet.
            unsafe { ((control_region + offset) as *mut u64).write_unaligned(value) };
        }
        let stack = arena::map_stack(crate::options().driver_stack_bytes, id);
        let thread = Arc::new(Self {
            id,
            name: name.to_owned(),
            system: membership == Membership::System,
            irql: AtomicU8::new(0),
            kernel_apc_disable: AtomicI32::new(0),
            special_apc_disable: AtomicI32::new(0),
            processor: AtomicU32::new(processor),
            object,
            start_routine: AtomicUsize::new(0),
            top_level_irp: AtomicU64::new(0),
            apcs: Mutex::default(),
            apcs_wait: AtomicBool::new(false),
            owned_mutexes: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            native: AtomicI32::new(0),
            exited: AtomicBool::new(false),
            control_region,
            frames: Frames::new(stack.bytes),
            preempted: Mutex::default(),
            stack,
        });
        let top = thread.frames.top_address() as u64;
        // SAFETY: As above; the thread is not running yet.
        unsafe { ((control_region + crate::gate::asm::FRAMES) as *mut u64).write(top) };
        ALL.write().push(Arc::clone(&thread));
        thread
    }

    fn announce(self: &Arc<Self>) {
        if let Some(hooks) = HOOKS.get() {
            (hooks.created)(self);
        }
    }

    /// Current IRQL.
    pub fn irql(&self) -> u8 {
        self.irql.load(Ordering::Relaxed)
    }

    /// Lowest address of the driver stack, and the address after it (`IoGetStackLimits`).
    pub fn stack_limits(&self) -> (usize, usize) {
        (self.stack.base, self.stack.base + self.stack.bytes)
    }

    /// The border crossings in progress, outermost first. Of a thread that runs, those that stayed while they were read.
    pub fn frames(&self) -> Vec<Frame> {
        let mut frames = self.frames.read();
        frames.extend(self.preempted.lock().map(Frame::Preempted));
        frames
    }

    /// The same for a signal handler: nothing if the thread is being preempted, or is leaving.
    pub(crate) fn try_frames(&self) -> Option<Vec<Frame>> {
        let mut frames = self.frames.try_read()?;
        frames.extend(self.preempted.try_lock()?.map(Frame::Preempted));
        Some(frames)
    }

    /// Enters a call of the kernel, of which the gate has written the registers.
    pub(crate) fn push_call(&self, entry: u32, caller: usize) {
        self.frames.push_call(entry, caller);
    }

    /// Enters driver code that the kernel calls, and returns the driver stack pointer from which it may grow its stack.
    pub(crate) fn push_callback(&self, name: &'static str, target: usize) -> usize {
        let stack = self.driver_stack_pointer();
        self.frames.push_callback(name, target);
        stack
    }

    /// The same for driver code that another driver's call is passed on to.
    pub(crate) fn push_forwarded(&self) -> usize {
        let stack = self.driver_stack_pointer();
        self.frames.push_forwarded();
        stack
    }

    fn driver_stack_pointer(&self) -> usize {
        let top = self.stack.base + self.stack.bytes - STACK_MARGIN;
        self.frames.stack_pointer().unwrap_or(top)
    }

    /// How many border crossings are in progress; for the thread itself.
    pub(crate) fn depth(&self) -> u8 {
        u8::try_from(self.frames.depth()).unwrap_or(u8::MAX)
    }

    /// Waits in the middle of driver code: `wait` gives the token away.
    pub(crate) fn preempted_at(&self, registers: Registers, wait: impl FnOnce()) {
        *self.preempted.lock() = Some(registers);
        wait();
        *self.preempted.lock() = None;
    }

    /// Has the next return to driver code set the trap flag. The current thread only.
    pub(crate) fn trap_on_return(&self) {
        let at = self.control_region + crate::gate::asm::TRAP;
        // SAFETY: The control region of the current thread is mapped; this byte belongs to the gate.
        unsafe { (at as *mut u8).write(1) };
    }

    /// Undoes [`Self::trap_on_return`].
    pub(crate) fn do_not_trap_on_return(&self) {
        let at = self.control_region + crate::gate::asm::TRAP;
        // SAFETY: As above.
        unsafe { (at as *mut u8).write(0) };
    }

    /// Leaves the innermost frame.
    pub(crate) fn pop(&self) {
        self.frames.pop();
    }

    /// Drops all frames and says where the outermost call into driver code saved the host stack pointer.
    pub(crate) fn outermost_host_stack(&self) -> usize {
        self.frames.leave_all_but_one();
        // SAFETY: The control region of the current thread is mapped and written by the gate of this thread only.
        let mut stack = unsafe {
            ((self.control_region + crate::gate::asm::HOST_STACK) as *const usize).read()
        };
        loop {
            // SAFETY: Each saved host stack pointer points at the previously saved one (`ntsim_gate_call`).
            let previous = unsafe { (stack as *const usize).read() };
            if previous == 0 {
                return stack;
            }
            stack = previous;
        }
    }

    /// Gives back what only a running thread needs; its driver stack becomes inaccessible.
    fn release(&self) {
        arena::unmap(self.stack.base, self.stack.bytes);
        arena::unmap(self.control_region, CONTROL_REGION_BYTES);
        self.frames.release();
        crate::image::hand_on();
        crate::pool::hand_on();
    }
}

/// Makes `thread` the identity of this OS thread.
fn bind(thread: &Arc<Thread>) -> &'static Thread {
    // SAFETY: The list of all threads holds a reference for ever, so that the object is never freed.
    let eternal: &'static Thread = unsafe { &*Arc::as_ptr(thread) };
    CURRENT.set(Some(eternal));
    // SAFETY: `gettid` has no preconditions.
    eternal
        .native
        .store(unsafe { libc::gettid() }, Ordering::Relaxed);
    crate::signal::prepare_thread();
    const ARCH_SET_GS: libc::c_long = 0x1001;
    // SAFETY: Host code does not use GS on x86-64 Linux (thread-local storage is FS); the region stays mapped while the
    // thread runs.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, eternal.control_region) };
    eternal
}
