//! IRPs: allocation, and what the bench knows about each besides its bytes.
//!
//! Every IRP lies in a block of its own that ends at an inaccessible page and stays inaccessible after its free. The record
//! here says whose it is: the allocator's (idle), or some driver's below (sent). Rules: spec verifier.md §4.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::account::{self, Resource};
use crate::arena::{self, Kind};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::DISPATCH_LEVEL;
use crate::layout::io::{IO_TYPE_IRP, Irp, Stack};
use crate::mem;
use crate::stop::{self, Stop};
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
pub(crate) enum Origin {
    /// IoAllocateIrp: the completion routine must keep it.
    Driver,
    /// IoInitializeIrp on memory of the driver.
    Embedded,
    /// IoBuildDeviceIoControlRequest and friends: completed by an APC to this thread.
    Thread(&'static Thread),
    /// The I/O manager itself; the function gets the IRP when it has come back.
    Host(Mutex<Option<Done>>),
}

/// What the I/O manager does with a request of its own that has come back.
pub(crate) type Done = Box<dyn FnOnce(Irp) + Send>;

/// Where an IRP is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// With its allocator: never sent, or back.
    Idle,
    /// With a driver below.
    Sent,
    /// Freed.
    Freed,
}

/// One IoCallDriver, until the driver called has completed it and returned.
#[derive(Debug)]
pub(crate) struct Sending {
    /// The stack location of the driver called.
    pub(crate) location: i8,
    /// What was learnt when that location was completed: pending bit and status.
    pub(crate) completed: Mutex<Option<(bool, i32)>>,
    /// The driver called sent it further down.
    pub(crate) forwarded: Mutex<bool>,
    /// Its completion is put off to another thread ([`super::surrogate`]).
    pub(crate) hidden: bool,
}

/// The life of an IRP.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) phase: Phase,
    pub(crate) sendings: Vec<Arc<Sending>>,
}

/// What is known about an IRP.
pub(crate) struct Packet {
    pub(crate) origin: Origin,
    pub(crate) caller: usize,
    pub(crate) life: Mutex<Life>,
    /// The copy that drivers below have, and what it is a copy of; 0 for none ([`super::surrogate`]).
    pub(crate) surrogate: AtomicUsize,
    pub(crate) original: AtomicUsize,
}

#[derive(Default)]
struct Packets {
    live: HashMap<usize, Arc<Packet>>,
    freed: HashSet<usize>,
}

static PACKETS: Mutex<Option<Packets>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut Packets) -> R) -> R {
    run(PACKETS.lock().get_or_insert_default())
}

/// The record of an IRP, if this is one.
pub(crate) fn find(irp: Irp) -> Option<Arc<Packet>> {
    with(|packets| packets.live.get(&irp.0).cloned())
}

/// The record of an IRP; stops with the given code if this is none.
pub(crate) fn require(irp: Irp, stop: Stop, routine: &str) -> Arc<Packet> {
    find(irp).unwrap_or_else(|| {
        let what = if with(|packets| packets.freed.contains(&irp.0)) {
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

/// Writes a fresh IRP with room for `stacks` locations.
fn format(irp: Irp, stacks: i8) {
    let size = Irp::SIZE + usize::from(stacks.unsigned_abs()) * Stack::SIZE;
    mem::zero(irp.0, size);
    irp.kind().set(IO_TYPE_IRP);
    irp.size().set(u16::try_from(size).unwrap_or(u16::MAX));
    irp.stack_count().set(stacks);
    irp.current_location().set(stacks + 1);
    irp.current_stack().set(irp.location(stacks + 1).0);
    for list in [irp.thread_list(), irp.list()] {
        list.set([list.address(), list.address()]);
    }
}

/// Makes an IRP. `caller` is the driver code that will own it, or 0.
pub(crate) fn make(stacks: i8, origin: Origin, caller: usize, what: &str) -> Irp {
    let size = Irp::SIZE + usize::from(stacks.unsigned_abs()) * Stack::SIZE;
    let irp = Irp(arena::alloc(size, Kind::Irp));
    format(irp, stacks);
    insert(irp, origin, caller);
    if caller != 0 {
        account::track(
            Resource::Irp,
            irp.0 as u64,
            caller,
            format!("{what}, {stacks} stack locations"),
        );
    }
    irp
}

fn insert(irp: Irp, origin: Origin, caller: usize) {
    let life = Mutex::new(Life {
        phase: Phase::Idle,
        sendings: Vec::new(),
    });
    with(|packets| {
        packets.live.insert(
            irp.0,
            Arc::new(Packet {
                origin,
                caller,
                life,
                surrogate: AtomicUsize::new(0),
                original: AtomicUsize::new(0),
            }),
        )
    });
}

/// Adds a second address of a packet.
pub(crate) fn alias(irp: Irp, packet: &Arc<Packet>) {
    with(|packets| packets.live.insert(irp.0, Arc::clone(packet)));
}

/// Takes it back.
pub(crate) fn forget_alias(irp: Irp) {
    with(|packets| {
        packets.live.remove(&irp.0);
        packets.freed.insert(irp.0);
    });
}

/// The packet on the page of an address, for fault reports.
pub(crate) fn try_find_near(address: usize) -> Option<Arc<Packet>> {
    let packets = PACKETS.try_lock()?;
    let page = address & !(arena::PAGE - 1);
    let live = &packets.as_ref()?.live;
    let near = live
        .iter()
        .find(|(irp, _)| **irp & !(arena::PAGE - 1) == page);
    near.map(|(_, packet)| Arc::clone(packet))
}

/// Frees an IRP whose owner the kernel is.
pub(crate) fn release(irp: Irp) {
    if let Some(packet) = with(|packets| packets.live.remove(&irp.0)) {
        packet.life.lock().phase = Phase::Freed;
        if packet.caller != 0 {
            account::untrack(Resource::Irp, irp.0 as u64, packet.caller);
        }
        with(|packets| packets.freed.insert(irp.0));
        arena::free(irp.0);
    }
}

/// IRPs that are with a driver below now.
pub fn sent() -> Vec<usize> {
    let all: Vec<(usize, Arc<Packet>)> = with(|packets| {
        packets
            .live
            .iter()
            .map(|(irp, packet)| (*irp, Arc::clone(packet)))
            .collect()
    });
    let mut sent: Vec<usize> = all
        .into_iter()
        .filter(|(irp, packet)| {
            packet.surrogate.load(Ordering::Acquire) != *irp
                && packet.life.lock().phase == Phase::Sent
        })
        .map(|(irp, _)| irp)
        .collect();
    sent.sort_unstable();
    sent
}

fn allocate_common(call: &Call, stacks: i8) -> u64 {
    if fault::should_fail(call, FaultKind::Irp) {
        return 0;
    }
    if stacks < 1 {
        let text = format!("IoAllocateIrp with StackSize {stacks}");
        stop::bug_check(0xc9, [0x208, 0, 0, 0], text);
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
    match packet.origin {
        Origin::Thread(_) => stop::violation(
            Stop::io(0x02),
            [irp.0 as u64, 0, 0],
            "IoFreeIrp of a thread-associated IRP",
        ),
        Origin::Driver | Origin::Embedded | Origin::Host(_) => {}
    }
    {
        let mut life = packet.life.lock();
        if life.phase == Phase::Sent {
            drop(life);
            let text = format!("IoFreeIrp of {:#x}, which a driver below still has", irp.0);
            stop::violation(Stop::io(0x20a), [irp.0 as u64, 0, 0], text);
        }
        life.phase = Phase::Freed;
    }
    release(irp);
    0
}

fn reuse(call: &Call) -> u64 {
    let irp = Irp(call.addr(0));
    let packet = require(irp, Stop::io(0x01), "IoReuseIrp");
    {
        let mut life = packet.life.lock();
        if life.phase == Phase::Sent {
            drop(life);
            let text = format!("IoReuseIrp of {:#x}, which a driver below still has", irp.0);
            stop::violation(Stop::io(0x20a), [irp.0 as u64, 0, 0], text);
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
        if matches!(packet.origin, Origin::Driver) {
            let text = "IoInitializeIrp of an IRP from IoAllocateIrp: use IoReuseIrp";
            stop::violation(Stop::io(0x20d), [irp.0 as u64, 0, 0], text);
        }
        if packet.life.lock().phase == Phase::Sent {
            stop::violation(
                Stop::io(0x20a),
                [irp.0 as u64, 0, 0],
                "IoInitializeIrp of an IRP that a driver below still has",
            );
        }
    }
    let stacks = call.u8(2).cast_signed();
    if usize::from(call.u16(1)) < Irp::SIZE + usize::from(stacks.unsigned_abs()) * Stack::SIZE {
        stop::violation(
            Stop::io(0x208),
            [irp.0 as u64, 0, 0],
            "IoInitializeIrp with a packet too small for its stack locations",
        );
    }
    format(irp, stacks);
    insert(irp, Origin::Embedded, 0);
    0
}
