//! Packets that clients allocate through the engine, listed so that a debugger finds those that a transport keeps.
//!
//! The list is a hash by the packet's address with a lock per bucket. Nothing of it lies in the packet, which belongs to
//! the driver below while that one has it.

use core::ptr::{self, NonNull};

use rxce_engine::{mutant, spread};
use wdk_sys::{BOOLEAN, PIRP, PMDL, ntddk};

use super::{
    pool::{PoolBox, Pooled, Tag},
    spin_lock::SpinLock,
    thread, time,
};

/// What is known of one packet.
struct Tracker {
    next: *mut Tracker,
    irp: PIRP,
    #[expect(dead_code, reason = "for the debugger")]
    mdl: PMDL,
    #[expect(dead_code, reason = "for the debugger")]
    thread: usize,
    #[expect(dead_code, reason = "for the debugger")]
    allocated_100ns: u64,
}

impl Pooled for Tracker {
    const TAG: Tag = Tag::new(*b"RxIr");
}

/// The first tracker of a bucket.
struct Bucket(*mut Tracker);

// SAFETY: Trackers are reached only under the bucket's lock.
unsafe impl Send for Bucket {}

const BUCKETS: usize = 64;

static PACKETS: [SpinLock<Bucket>; BUCKETS] =
    [const { SpinLock::new(Bucket(ptr::null_mut())) }; BUCKETS];

fn bucket(irp: PIRP) -> &'static SpinLock<Bucket> {
    let [first, ..] = &PACKETS;
    PACKETS
        .get(spread::hash(irp.addr()) as usize % BUCKETS)
        .unwrap_or(first)
}

/// Allocates a packet with `mdl` and lists it; NULL without memory, or for a stack size that no packet can have: with
/// `i8::MAX` locations `CurrentLocation`, which begins one above them, does not fit.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn allocate(stack_size: i8, charge_quota: BOOLEAN, mdl: PMDL) -> PIRP {
    let none = stack_size <= 0 && !mutant!(PacketWithoutLocations);
    if none || stack_size == i8::MAX {
        return ptr::null_mut();
    }
    // SAFETY: IoAllocateIrp has no requirements beyond the level; the client answers for the quota.
    let irp = unsafe { ntddk::IoAllocateIrp(stack_size, charge_quota) };
    let Some(packet) = NonNull::new(irp) else {
        return ptr::null_mut();
    };
    let tracker = Tracker {
        next: ptr::null_mut(),
        irp,
        mdl,
        thread: thread::current(),
        allocated_100ns: time::now_100ns(),
    };
    let Ok(tracker) = PoolBox::new(tracker) else {
        // SAFETY: The packet was never sent.
        unsafe { ntddk::IoFreeIrp(irp) };
        return ptr::null_mut();
    };
    // SAFETY: The packet is new.
    unsafe { (*packet.as_ptr()).MdlAddress = mdl };
    let mut tracker = tracker.into_raw();
    bucket(irp).with(|bucket| {
        // SAFETY: The tracker is new, and the list's from now on.
        unsafe { tracker.as_mut() }.next = bucket.0;
        bucket.0 = tracker.as_ptr();
    });
    irp
}

/// Frees a packet and takes it off the list; `false` if it was not listed. The MDL stays the client's.
///
/// # Safety
///
/// `irp` is NULL or a packet of [`allocate`] or `IoAllocateIrp` that is not in flight.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn free(irp: PIRP) -> bool {
    if irp.is_null() {
        return true;
    }
    let tracker = bucket(irp).with(|bucket| {
        let mut link: *mut *mut Tracker = &raw mut bucket.0;
        loop {
            // SAFETY: `link` is the head or the link of a listed tracker.
            let mut tracker = NonNull::new(unsafe { *link })?;
            // SAFETY: A listed tracker lives.
            let listed = unsafe { tracker.as_mut() };
            if listed.irp == irp {
                // SAFETY: As above.
                unsafe { *link = listed.next };
                return Some(tracker);
            }
            link = &raw mut listed.next;
        }
    });
    // SAFETY: Forwarded.
    unsafe { ntddk::IoFreeIrp(irp) };
    tracker
        .map(|tracker| {
            if !mutant!(TrackerLeaked) {
                // SAFETY: The tracker was taken off the list, so it is ours.
                drop(unsafe { PoolBox::from_raw(tracker) });
            }
        })
        .is_some()
}
