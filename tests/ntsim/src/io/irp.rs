//! IRPs: allocation, and what the bench knows about each besides its bytes.
//!
//! Every IRP lies in a block of its own that ends at an inaccessible page and stays inaccessible after its free. The record
//! here says whose it is: the allocator's (idle), or some driver's below (sent). Rules: spec verifier.md §4.
//!
//! Records are found by address and stay for ever: who still has one of an IRP that was freed meanwhile finds that in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::invariant::Contents;
use crate::account::{self, Resource, What};
use crate::arena::{self, Kind};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::DISPATCH_LEVEL;
use crate::layout::io::{IO_TYPE_IRP, Irp, Stack};
use crate::mem;
use crate::own::{self, Own};
use crate::rules::Rules;
use crate::short_lock::ShortLock;
use crate::stop::{self, Stop};
use crate::tables::Places;
use crate::thread::Thread;

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "IoAllocateIrp",
        args: 2,
        irql: RULE,
        run: allocate,
    },
    Routine {
        name: "IoAllocateIrpEx",
        args: 3,
        irql: RULE,
        run: allocate_ex,
    },
    Routine {
        name: "IoFreeIrp",
        args: 1,
        irql: RULE,
        run: free,
    },
    Routine {
        name: "IoReuseIrp",
        args: 2,
        irql: RULE,
        run: reuse,
    },
    Routine {
        name: "IoInitializeIrp",
        args: 3,
        irql: RULE,
        run: initialize,
    },
];

/// Who made an IRP, which decides what happens when its completion reaches the top.
#[derive(Default)]
pub(crate) enum Origin {
    /// IoAllocateIrp: the completion routine must keep it.
    #[default]
    Driver,
    /// IoInitializeIrp on memory of the driver.
    Embedded,
    /// IoBuildDeviceIoControlRequest and friends: completed by an APC to this thread.
    Thread(&'static Thread),
    /// The I/O manager itself; the function gets the IRP when it has come back.
    Host(Option<Done>),
}

/// What the I/O manager does with a request of its own that has come back.
pub(crate) type Done = Box<dyn FnOnce(Irp) + Send>;

/// Where an IRP is in its life.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// With its allocator: never sent, or back.
    Idle,
    /// With a driver below.
    Sent,
    /// Freed.
    #[default]
    Freed,
}

/// One IoCallDriver, until the driver called has completed it and returned.
pub(crate) struct Sending {
    /// The stack location of the driver called.
    pub(crate) location: i8,
    /// Its completion is put off to another thread ([`super::surrogate`]).
    pub(crate) hidden: bool,
    /// What the request's buffer held, if it must not change ([`super::invariant`]).
    pub(crate) contents: Option<Contents>,
    /// What becomes of it, if somebody compares that with what the dispatch routine returns.
    pub(crate) outcome: Option<Arc<Outcome>>,
}

/// What became of a [`Sending`]; changed and read while the life is locked.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was learnt when its location was completed: pending bit and status.
    pub(crate) completed: Mutex<Option<(bool, i32)>>,
    /// The driver called sent it further down.
    pub(crate) forwarded: AtomicBool,
}

/// The life of an IRP.
#[derive(Default)]
pub(crate) struct Life {
    /// Tells it from others at the same address.
    pub(crate) number: u64,
    pub(crate) phase: Phase,
    pub(crate) origin: Origin,
    pub(crate) caller: usize,
    /// Somebody sent it.
    pub(crate) was_sent: bool,
    pub(crate) sendings: Vec<Sending>,
}

/// What is known about the IRP at an address.
#[derive(Default)]
pub(crate) struct Packet {
    /// Whether there is one: it has begun its life and was not released. Changed while the life is locked.
    live: AtomicBool,
    pub(crate) life: ShortLock<Life>,
    /// The copy that drivers below have, and what it is a copy of; 0 for none ([`super::surrogate`]).
    pub(crate) surrogate: AtomicUsize,
    pub(crate) original: AtomicUsize,
    /// The IRP that this is the copy of, while it is one.
    copy_of: AtomicUsize,
    /// When it has to be completed, since it was cancelled ([`super::cancel`]).
    pub(crate) limit: Mutex<Option<(u64, u64)>>,
}

static PACKETS: Places<Packet, { 1 << 16 }> = Places::new();

impl Packet {
    /// The record that counts: this one, or of a copy that of what it is a copy of.
    fn counts(&'static self) -> Option<&'static Self> {
        let packet = match self.copy_of.load(Ordering::Acquire) {
            0 => self,
            original => PACKETS.find(original)?,
        };
        packet.live.load(Ordering::Acquire).then_some(packet)
    }

    /// Ends the life; whose IRP it was. Nothing if it was over.
    fn end(&self, life: &mut Life) -> Option<usize> {
        life.phase = Phase::Freed;
        // Who ends one has it locked.
        let live = self.live.load(Ordering::Relaxed);
        self.live.store(false, Ordering::Release);
        live.then_some(life.caller)
    }
}

/// The record of an IRP, if this is one.
pub(crate) fn find(irp: Irp) -> Option<&'static Packet> {
    PACKETS.find(irp.0)?.counts()
}

/// The record of an IRP; stops with the given code if this is none.
pub(crate) fn require(irp: Irp, stop: Stop, routine: &str) -> &'static Packet {
    find(irp).unwrap_or_else(|| {
        let what = if PACKETS.find(irp.0).is_some() {
            "was freed"
        } else {
            "is not an IRP"
        };
        stop::violation(
            stop,
            [irp.0 as u64, 0, 0],
            format!("{routine}: {:#x} {what}", irp.0),
        )
    })
}

/// Bytes of an IRP with room for `stacks` locations.
fn bytes(stacks: i8) -> usize {
    Irp::SIZE + usize::from(stacks.unsigned_abs()) * Stack::SIZE
}

/// Writes a fresh IRP with room for `stacks` locations.
fn format(irp: Irp, stacks: i8) {
    mem::zero(irp.0, bytes(stacks));
    prepare(irp, stacks);
}

/// The same where there are zeros already.
fn prepare(irp: Irp, stacks: i8) {
    let size = bytes(stacks);
    irp.kind().set(IO_TYPE_IRP);
    irp.size().set(u16::try_from(size).unwrap_or(u16::MAX));
    irp.stack_count().set(stacks);
    irp.current_location().set(stacks + 1);
    irp.current_stack().set(irp.location(stacks + 1).0);
    for list in [irp.thread_list(), irp.list()] {
        list.set([list.address(), list.address()]);
    }
}

/// Stops for a number of stack locations that no packet can have: none, or so many that `CurrentLocation`, a signed byte that
/// begins one above them, cannot count them.
fn require_stacks(stacks: i8, what: &str) {
    if stacks < 1 || stacks == i8::MAX {
        let text = format!("{what} with {stacks} stack locations; 1 to 126 can be");
        own::violation(Own::StackLocations, [0, 0, 0], text);
    }
}

/// Makes an IRP. `caller` is the driver code that will own it, or 0.
pub(crate) fn make(stacks: i8, origin: Origin, caller: usize, what: &'static str) -> Irp {
    require_stacks(stacks, what);
    let irp = Irp(arena::alloc(bytes(stacks), Kind::Irp));
    prepare(irp, stacks);
    insert(irp, origin, caller);
    if caller != 0 {
        let what = What::Packet(what, stacks);
        account::track(Resource::Irp, irp.0 as u64, caller, what);
    }
    irp
}

/// Begins a life.
fn insert(irp: Irp, origin: Origin, caller: usize) {
    let packet = PACKETS.at(irp.0);
    {
        let mut life = packet.life.lock();
        life.number += 1;
        life.phase = Phase::Idle;
        life.origin = origin;
        life.caller = caller;
        life.was_sent = false;
        life.sendings.clear();
        packet.surrogate.store(0, Ordering::Release);
        packet.live.store(true, Ordering::Release);
    }
    if Rules::IO.is_on() {
        *packet.limit.lock() = None;
    }
}

/// Adds a second address of a packet.
pub(crate) fn alias(copy: Irp, irp: Irp) {
    PACKETS.at(copy.0).copy_of.store(irp.0, Ordering::Release);
}

/// Takes it back.
pub(crate) fn forget_alias(copy: Irp) {
    PACKETS.at(copy.0).copy_of.store(0, Ordering::Release);
}

/// The packet on the page of an address, for fault reports.
pub(crate) fn find_near(address: usize) -> Option<&'static Packet> {
    let page = address & !(arena::PAGE - 1);
    PACKETS
        .all()
        .filter(|(irp, _)| irp & !(arena::PAGE - 1) == page)
        .find_map(|(_, packet)| packet.counts())
}

/// Frees an IRP whose owner the kernel is.
pub(crate) fn release(irp: Irp) {
    let Some(packet) = PACKETS.find(irp.0) else {
        return;
    };
    if let Some(caller) = packet.end(&mut packet.life.lock()) {
        give_back(irp, caller);
    }
}

/// Gives back the memory of an IRP that has ended its life, and says so to the account of `caller`.
fn give_back(irp: Irp, caller: usize) {
    if caller != 0 {
        account::untrack(Resource::Irp, irp.0 as u64, caller);
    }
    arena::free(irp.0);
}

fn allocate_common(call: &Call, stacks: i8) -> u64 {
    if fault::should_fail(call, FaultKind::Irp) {
        return 0;
    }
    make(stacks, Origin::Driver, call.caller(), "IoAllocateIrp").0 as u64
}

fn allocate(call: &Call) -> u64 {
    allocate_common(call, call.u8(0).cast_signed())
}

fn allocate_ex(call: &Call) -> u64 {
    allocate_common(call, call.u8(1).cast_signed())
}

fn free(call: &Call) -> u64 {
    let irp = Irp(call.addr(0));
    let packet = require(irp, Stop::io(0x01), "IoFreeIrp");
    let ended = {
        let mut life = packet.life.lock();
        if matches!(life.origin, Origin::Thread(_)) {
            drop(life);
            let text = "IoFreeIrp of a thread-associated IRP";
            stop::violation(Stop::io(0x02), [irp.0 as u64, 0, 0], text);
        }
        if life.phase == Phase::Sent {
            drop(life);
            let text = format!("IoFreeIrp of {:#x}, which a driver below still has", irp.0);
            stop::violation(Stop::io(0x20a), [irp.0 as u64, 0, 0], text);
        }
        packet.end(&mut life)
    };
    if let Some(caller) = ended {
        give_back(irp, caller);
    }
    0
}

fn reuse(call: &Call) -> u64 {
    let irp = Irp(call.addr(0));
    let packet = require(irp, Own::Object.stop(), "IoReuseIrp");
    {
        let mut life = packet.life.lock();
        if life.phase == Phase::Sent {
            drop(life);
            let text = format!("IoReuseIrp of {:#x}, which a driver below still has", irp.0);
            own::violation(Own::RequestInUse, [irp.0 as u64, 0, 0], text);
        }
        life.sendings.clear();
    }
    let flags = irp.allocation_flags().get();
    format(irp, irp.stack_count().get());
    irp.allocation_flags().set(flags);
    irp.status().set(call.i32(1));
    0
}

fn initialize(call: &Call) -> u64 {
    let irp = Irp(call.addr(0));
    if let Some(packet) = find(irp) {
        let (origin_is_driver, phase) = {
            let life = packet.life.lock();
            (matches!(life.origin, Origin::Driver), life.phase)
        };
        if origin_is_driver {
            let text = "IoInitializeIrp of an IRP from IoAllocateIrp: use IoReuseIrp";
            stop::violation(Stop::io(0x20d), [irp.0 as u64, 0, 0], text);
        }
        if phase == Phase::Sent {
            own::violation(
                Own::RequestInUse,
                [irp.0 as u64, 0, 0],
                "IoInitializeIrp of an IRP that a driver below still has",
            );
        }
    }
    let stacks = call.u8(2).cast_signed();
    require_stacks(stacks, "IoInitializeIrp");
    if usize::from(call.u16(1)) < bytes(stacks) {
        own::violation(
            Own::StackLocations,
            [irp.0 as u64, 0, 0],
            "IoInitializeIrp with a packet too small for its stack locations",
        );
    }
    format(irp, stacks);
    insert(irp, Origin::Embedded, 0);
    0
}
