//! Regions, waits, callbacks, threads and rundown.

use core::ptr;

use wdk_sys::{_WAIT_TYPE::WaitAny, DEVICE_OBJECT, KDPC, KEVENT, PVOID};

use super::table;
use crate::{
    driver::Bench,
    nt::{APC, DISPATCH, at, event, free, new, nt, poke, set, settle, wait, with},
    thread,
};

table![
    critical_region_not_entered,
    guarded_region_not_entered,
    wait_for_too_many,
    event_not_initialised,
    event_initialised_while_waited,
    wait_that_nobody_ends,
    waits_that_nobody_ends,
    dpc_changes_irql,
    work_item_changes_apcs,
    thread_ends_at_raised_irql,
    thread_stays_at_dispatch,
    rundown_released_too_often,
    rundown_started_twice,
    rundown_misaligned,
];

fn critical_region_not_entered(bench: &Bench) {
    if !bench.guilty() {
        nt!(KeEnterCriticalRegion());
    }
    nt!(KeLeaveCriticalRegion());
}

fn guarded_region_not_entered(bench: &Bench) {
    if !bench.guilty() {
        nt!(KeEnterGuardedRegion());
    }
    nt!(KeLeaveGuardedRegion());
}

fn wait_for_too_many(bench: &Bench) {
    let event = event();
    set(event);
    let mut objects: [PVOID; 4] = [event.cast(); 4];
    nt!(KeWaitForMultipleObjects(
        bench.either(4, 3),
        objects.as_mut_ptr(),
        WaitAny,
        0,
        0,
        0,
        ptr::null_mut(),
        ptr::null_mut()
    ));
    free(event);
}

fn event_not_initialised(bench: &Bench) {
    with(|event: *mut KEVENT| {
        poke(event.cast::<[u8; 24]>(), [0xB5; 24]);
        if !bench.guilty() {
            nt!(KeInitializeEvent(event, 0, 0));
        }
        set(event);
    });
}

unsafe extern "C" fn wait_for_it(event: PVOID) {
    wait(event);
}

fn event_initialised_while_waited(bench: &Bench) {
    let event = event();
    let waiter = thread::start(wait_for_it, event);
    settle();
    bench.if_guilty(|| nt!(KeInitializeEvent(event, 0, 0)));
    set(event);
    thread::join(waiter);
    nt!(KeInitializeEvent(event, 0, 0));
    free(event);
}

fn wait_that_nobody_ends(bench: &Bench) {
    let event = event();
    if !bench.guilty() {
        set(event);
    }
    wait(event);
    free(event);
}

fn waits_that_nobody_ends(_: &Bench) {
    thread::start(wait_for_it, event());
    wait(event());
}

unsafe extern "C" fn lower(_: *mut KDPC, _: PVOID, _: PVOID, _: PVOID) {
    nt!(KeLowerIrql(0));
}

unsafe extern "C" fn raise_and_lower(_: *mut KDPC, event: PVOID, _: PVOID, _: PVOID) {
    at(DISPATCH, || set(event.cast()));
}

fn dpc_changes_irql(bench: &Bench) {
    let (dpc, event) = (new::<KDPC>(), event());
    let routine = bench.either(
        lower as unsafe extern "C" fn(_, _, _, _),
        raise_and_lower as unsafe extern "C" fn(_, _, _, _),
    );
    nt!(KeInitializeDpc(dpc, Some(routine), event.cast()));
    nt!(KeInsertQueueDpc(dpc, ptr::null_mut(), ptr::null_mut()));
    wait(event);
    nt!(KeFlushQueuedDpcs());
    free(event);
    free(dpc);
}

unsafe extern "C" fn enter_region(_: *mut DEVICE_OBJECT, event: PVOID) {
    nt!(KeEnterCriticalRegion());
    set(event.cast());
}

unsafe extern "C" fn enter_and_leave_region(_: *mut DEVICE_OBJECT, event: PVOID) {
    nt!(KeEnterCriticalRegion());
    nt!(KeLeaveCriticalRegion());
    set(event.cast());
}

fn work_item_changes_apcs(bench: &Bench) {
    let (item, event) = (nt!(IoAllocateWorkItem(bench.device)), event());
    let routine = bench.either(
        enter_region as unsafe extern "C" fn(_, _),
        enter_and_leave_region as unsafe extern "C" fn(_, _),
    );
    nt!(IoQueueWorkItem(item, Some(routine), 1, event.cast()));
    wait(event);
    settle();
    nt!(IoFreeWorkItem(item));
    free(event);
}

unsafe extern "C" fn raise(_: PVOID) {
    nt!(KfRaiseIrql(APC));
    nt!(PsTerminateSystemThread(0));
}

unsafe extern "C" fn end(_: PVOID) {
    nt!(PsTerminateSystemThread(0));
}

fn thread_ends_at_raised_irql(bench: &Bench) {
    thread::run(bench.either(raise, end), ptr::null_mut::<u8>());
}

unsafe extern "C" fn stay_at_dispatch(event: PVOID) {
    nt!(KeSetSystemAffinityThread(1));
    nt!(KfRaiseIrql(DISPATCH));
    set(event.cast());
    loop {
        nt!(KeGetCurrentIrql());
    }
}

fn thread_stays_at_dispatch(_: &Bench) {
    let event = event();
    let thread = thread::start(stay_at_dispatch, event);
    wait(event);
    nt!(KeSetSystemAffinityThread(1));
    thread::join(thread);
}

fn rundown_released_too_often(bench: &Bench) {
    with(|block: *mut u64| {
        let rundown = block.cast();
        nt!(ExInitializeRundownProtection(rundown));
        nt!(ExAcquireRundownProtection(rundown));
        nt!(ExReleaseRundownProtection(rundown));
        bench.if_guilty(|| nt!(ExReleaseRundownProtection(rundown)));
    });
}

fn rundown_started_twice(bench: &Bench) {
    with(|block: *mut u64| {
        let rundown = block.cast();
        nt!(ExInitializeRundownProtection(rundown));
        if !bench.guilty() {
            nt!(ExWaitForRundownProtectionRelease(rundown));
        }
        nt!(ExReInitializeRundownProtection(rundown));
    });
}

fn rundown_misaligned(bench: &Bench) {
    with(|block: *mut [u64; 2]| {
        let rundown = block.cast::<u8>().wrapping_add(bench.either(4, 8)).cast();
        nt!(ExInitializeRundownProtection(rundown));
    });
}
