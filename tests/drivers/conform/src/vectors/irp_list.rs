//! RxCeAllocateIrpWithMDL and RxCeFreeIrp (rxce.md §5.17, §5.18).

use alloc::{format, vec::Vec};
use core::{ffi::c_void, ptr};

use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, ntddk};

use super::{Shared, Vector, documented, own};
use crate::{
    engine,
    fixture::{self, Fixture, buffer, script, wait_held},
    nt::{event::Event, irp as irps, irql, status, thread::Thread, time},
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Personality, Script},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "L1",
        "RxCeAllocateIrpWithMDL and RxCeFreeIrp at every level they are used at",
        every_level,
    ),
    documented(
        "L2",
        "RxCeAllocateIrpWithMDL with each kernel call failing",
        without_memory,
    ),
    own(
        "L3",
        "RxCeAllocateIrpWithMDL without stack locations; RxCeFreeIrp on NULL and on a foreign packet",
        odd_arguments,
    ),
    documented(
        "L4",
        "a packet that is sent, and freed in its completion routine",
        completed,
    ),
    own(
        "L5",
        "many packets, freed in another order and by several threads",
        many,
    ),
];

/// Frees what [`engine::allocate_irp`] returned.
fn free(irp: PIRP) {
    // SAFETY: Vectors free each packet once, after its use.
    unsafe { engine::free_irp(irp) };
}

/// StackCount and MdlAddress of a packet.
fn look(irp: PIRP) -> (i8, usize) {
    // SAFETY: A packet that was just allocated.
    let packet = unsafe { &*irp };
    (packet.StackCount, packet.MdlAddress.addr())
}

/// What must not change in an MDL that a packet carries.
fn shape_of(mdl: PMDL) -> (u32, i16, usize, usize) {
    // SAFETY: The vector's own MDL.
    let mdl = unsafe { &*mdl };
    (
        mdl.ByteCount,
        mdl.MdlFlags,
        mdl.MappedSystemVa.addr(),
        mdl.Next.addr(),
    )
}

fn every_level(run: &Run) -> Outcome {
    let data = buffer(b"carried")?;
    let mdl = data.mdl();
    let shape = shape_of(mdl);
    let before = run.balance();
    for level in [irql::PASSIVE, irql::APC, irql::DISPATCH] {
        for (chain, stack) in [(mdl, 1), (mdl, 7), (ptr::null_mut(), 3)] {
            let irp = irql::at(level, || engine::allocate_irp(stack, false, chain));
            holds(&format!("a packet at level {level}"), !irp.is_null())?;
            same(
                "StackCount and MdlAddress",
                look(irp),
                (stack, chain.addr()),
            )?;
            irql::at(level, || free(irp));
            before.unchanged(run, &format!("a packet freed at level {level}"))?;
        }
    }
    let charged = engine::allocate_irp(2, true, mdl);
    holds("a packet that is charged", !charged.is_null())?;
    free(charged);
    same("the MDL", shape_of(mdl), shape)?;
    same("the data", &data.bytes()[..], &b"carried"[..])?;
    before.unchanged(run, "packets that were freed")
}

fn without_memory(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let data = buffer(b"carried")?;
    let before = run.balance();
    let none = faults.all(|| engine::allocate_irp(1, false, data.mdl()));
    holds("NULL without memory", none.is_null())?;
    before.unchanged(run, "a packet that was refused")?;
    for nth in 1..10 {
        let (irp, calls) = faults.nth(nth, || engine::allocate_irp(1, false, data.mdl()));
        if calls < nth {
            holds("a packet without a fault", !irp.is_null())?;
            free(irp);
            // The packet, and what lists it.
            same("calls that can fail", calls, 2)?;
            return before.unchanged(run, "a packet that was freed");
        }
        holds(&format!("NULL where call {nth} fails"), irp.is_null())?;
        before.unchanged(run, &format!("call {nth} failing"))?;
    }
    Err(Trouble::Failed("ten fallible calls for one packet".into()))
}

fn odd_arguments(run: &Run) -> Outcome {
    let data = buffer(b"carried")?;
    let before = run.balance();
    for stack in [0, -1, i8::MIN] {
        let irp = engine::allocate_irp(stack, false, data.mdl());
        holds(&format!("NULL for a stack of {stack}"), irp.is_null())?;
    }
    free(ptr::null_mut());
    before.unchanged(run, "calls that do nothing")?;
    // Not on the list: freed all the same (§5.18). It is this driver's, so the engine's balance shows nothing.
    // SAFETY: No requirements beyond the level.
    let foreign = unsafe { ntddk::IoAllocateIrp(1, 0) };
    holds("a packet of another driver's", !foreign.is_null())?;
    // SAFETY: Never sent, ours.
    unsafe { (*foreign).MdlAddress = data.mdl() };
    let ours = engine::allocate_irp(1, false, data.mdl());
    free(foreign);
    holds("a packet of our own", !ours.is_null())?;
    same("the other packet", look(ours), (1, data.mdl().addr()))?;
    free(ours);
    before.unchanged(run, "packets that were freed")?;
    same("the data", &data.bytes()[..], &b"carried"[..])
}

/// What the completion routine below is to tell.
struct Done {
    event: Event,
    level: core::sync::atomic::AtomicU8,
}

unsafe extern "C" fn on_completion(
    _device: PDEVICE_OBJECT,
    irp: PIRP,
    context: *mut c_void,
) -> NTSTATUS {
    // SAFETY: The vector keeps it until the event is set.
    let done = unsafe { &*context.cast::<Done>() };
    done.level
        .store(irql::current(), core::sync::atomic::Ordering::Relaxed);
    free(irp);
    done.event.set();
    status::MORE_PROCESSING_REQUIRED
}

fn completed(run: &Run) -> Outcome {
    const QUERY: u8 = 0x0C;
    let f = Fixture::bound(Personality::Orderly)?;
    let object = f.transport.read().pControlChannelFileObject;
    // SAFETY: Referenced by the engine while the transport is bound.
    let device = unsafe { ntddk::IoGetRelatedDeviceObject(object) };
    // SAFETY: As above.
    let stack_size = unsafe { (*device).StackSize };
    let data = buffer(&[0; 60])?;
    transport::answer_queries(&[7; 60], status::SUCCESS);
    let before = run.balance();
    for pend in [false, true] {
        script(
            Kind::Query,
            if pend {
                Script::PEND
            } else {
                Script::Inline(status::SUCCESS)
            },
        );
        let done = Done {
            event: Event::new(),
            level: core::sync::atomic::AtomicU8::new(u8::MAX),
        };
        let irp = engine::allocate_irp(stack_size, false, data.mdl());
        holds("a packet", !irp.is_null())?;
        // SAFETY: A new packet, which is ours.
        let current = unsafe { irps::current(irp) };
        // SAFETY: IoGetNextIrpStackLocation: the packet has a location at least.
        let next = unsafe { current.sub(1) };
        // SAFETY: As above.
        let location = unsafe { &mut *next };
        location.MajorFunction = 0x0F;
        location.MinorFunction = QUERY;
        location.FileObject = object;
        location.DeviceObject = device;
        // SL_INVOKE_ON_CANCEL, _ON_SUCCESS, _ON_ERROR.
        location.Control = 0x20 | 0x40 | 0x80;
        location.CompletionRoutine = Some(on_completion);
        location.Context = (&raw const done).cast_mut().cast();
        // SAFETY: TDI_REQUEST_KERNEL_QUERY_INFORMATION begins with the type (TDI_QUERY_ADAPTER_STATUS).
        unsafe { (&raw mut location.Parameters).cast::<i32>().write(0x100) };
        // SAFETY: Built above for this device; not touched after.
        let _ = unsafe { ntddk::IofCallDriver(device, irp) };
        if pend {
            wait_held(Kind::Query)?;
            transport::complete_query();
        }
        holds("the packet was completed", done.event.wait(time::PATIENCE))?;
        let level = done.level.load(core::sync::atomic::Ordering::Relaxed);
        same("level of the completion", level, irql::DISPATCH)?;
        same("the data", &data.bytes()[..], &[7; 60][..])?;
        before.unchanged(run, "a packet freed in its completion routine")?;
    }
    f.close()
}

fn many(run: &Run) -> Outcome {
    let data = buffer(b"carried")?;
    let before = run.balance();
    let mut packets: Vec<PIRP> = (0..200)
        .map(|_| engine::allocate_irp(1, false, data.mdl()))
        .collect();
    let all = packets.iter().all(|irp| !irp.is_null());
    // Last, first, last, first, and so on.
    let mut from_front = false;
    while !packets.is_empty() {
        let index = if from_front { 0 } else { packets.len() - 1 };
        free(packets.swap_remove(index));
        from_front = !from_front;
    }
    holds("two hundred packets", all)?;
    before.unchanged(run, "packets that were freed")?;

    // A fixture keeps the engine loaded; the threads allocate and free at once.
    let f = Fixture::bound(Personality::Orderly)?;
    let before = run.balance();
    let mdl = Shared(data.mdl());
    let work = move || {
        let mdl = &mdl;
        (0..300).all(|round| {
            let level = if round % 2 == 0 {
                irql::PASSIVE
            } else {
                irql::DISPATCH
            };
            irql::at(level, || {
                let irp = engine::allocate_irp(2, false, mdl.0);
                let right = !irp.is_null() && look(irp) == (2, mdl.0.addr());
                free(irp);
                right
            })
        })
    };
    let threads = [
        Thread::start(work)?,
        Thread::start(work)?,
        Thread::start(work)?,
    ];
    for thread in threads {
        holds(
            "each packet was as asked for",
            thread.join("a thread with packets")?,
        )?;
    }
    before.unchanged(run, "packets that were freed")?;
    fixture::ok(
        "RxCeTearDownTransport",
        engine::tear_down_transport(f.transport.ptr()),
    )?;
    f.close()
}
