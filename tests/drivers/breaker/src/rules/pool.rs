//! Pool.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    _WORK_QUEUE_TYPE::DelayedWorkQueue, KTIMER, POOL_FLAG_NON_PAGED, POOL_FLAG_PAGED, PVOID,
    UNICODE_STRING, WORK_QUEUE_ITEM,
};

use super::table;
use crate::{
    driver::Bench,
    nt::{
        APC, DEVICE, DISPATCH, ExAllocatePoolWithTag, TAG, at, byte, event, free,
        milliseconds_from_now, new, nt, peek, poke, pool, set, settle, wait,
    },
    thread,
};

table![
    pool_zero_bytes,
    pool_paged_at_dispatch,
    pool_nonpaged_above_dispatch,
    pool_foreign_free,
    pool_free_paged_at_dispatch,
    pool_free_nonpaged_above_dispatch,
    pool_double_free,
    pool_free_in_the_middle,
    pool_free_of_an_irp,
    pool_wrong_tag,
    pool_free_of_null,
    pool_unknown_type,
    pool_executable,
    pool_raise_on_failure,
    pool_running_timer,
    pool_waited_event,
    pool_queued_work_item,
    pool_held_lock,
    pool_overrun,
    pool_overrun_of_slack,
    pool_underrun,
    pool_underrun_at_once,
    pool_use_after_free,
    pool_use_after_free_by_the_kernel,
    rundown_free_of_another,
];

/// `POOL_FLAG_RAISE_ON_FAILURE`.
const RAISE: u64 = 0x20;
/// NonPagedPoolNx, NonPagedPool.
const NO_EXECUTE: i32 = 512;
const EXECUTE: i32 = 0;

fn paged(bytes: u64) -> *mut c_void {
    nt!(ExAllocatePool2(POOL_FLAG_PAGED, bytes, TAG))
}

fn of_type(kind: i32) -> *mut c_void {
    // SAFETY: Sound for a type that exists, below DISPATCH_LEVEL.
    unsafe { ExAllocatePoolWithTag(kind, 8, TAG) }
}

fn pool_zero_bytes(bench: &Bench) {
    free(pool(bench.either(0, 1)));
}

fn pool_paged_at_dispatch(bench: &Bench) {
    free(at(bench.either(DISPATCH, APC), || paged(8)));
}

fn pool_nonpaged_above_dispatch(bench: &Bench) {
    free(at(bench.either(DEVICE, DISPATCH), || pool(8)));
}

fn pool_foreign_free(bench: &Bench) {
    static NOT_POOL: u64 = 1;
    free(bench.either((&raw const NOT_POOL).cast_mut().cast(), pool(8)));
}

fn pool_free_paged_at_dispatch(bench: &Bench) {
    let block = paged(8);
    at(bench.either(DISPATCH, APC), || free(block));
}

fn pool_free_nonpaged_above_dispatch(bench: &Bench) {
    let block = pool(8);
    at(bench.either(DEVICE, DISPATCH), || free(block));
}

fn pool_double_free(bench: &Bench) {
    let block = pool(8);
    free(block);
    bench.if_guilty(|| free(block));
}

fn pool_free_in_the_middle(bench: &Bench) {
    let block = pool(64);
    free(byte(block, bench.either(16, 0)));
}

fn pool_free_of_an_irp(bench: &Bench) {
    let irp = nt!(IoAllocateIrp(1, 0));
    bench.if_guilty(|| nt!(ExFreePool(irp.cast())));
    nt!(IoFreeIrp(irp));
}

fn pool_wrong_tag(bench: &Bench) {
    nt!(ExFreePoolWithTag(
        pool(8),
        bench.either(u32::from_le_bytes(*b"Else"), TAG)
    ));
}

fn pool_free_of_null(bench: &Bench) {
    free(bench.either(ptr::null_mut(), pool(8)));
}

fn pool_unknown_type(bench: &Bench) {
    free(of_type(bench.either(77, NO_EXECUTE)));
}

fn pool_executable(bench: &Bench) {
    free(of_type(bench.either(EXECUTE, NO_EXECUTE)));
}

fn pool_raise_on_failure(bench: &Bench) {
    let flags = POOL_FLAG_NON_PAGED | bench.either(RAISE, 0);
    let block = nt!(ExAllocatePool2(flags, 1 << 45, TAG));
    if !block.is_null() {
        free(block);
    }
}

fn pool_running_timer(bench: &Bench) {
    let timer = new::<KTIMER>();
    nt!(KeInitializeTimer(timer));
    nt!(KeSetTimer(
        timer,
        milliseconds_from_now(50_000),
        ptr::null_mut()
    ));
    if !bench.guilty() {
        nt!(KeCancelTimer(timer));
    }
    free(timer);
}

unsafe extern "C" fn wait_for_it(event: PVOID) {
    wait(event);
}

fn pool_waited_event(bench: &Bench) {
    let event = event();
    let waiter = thread::start(wait_for_it, event);
    settle();
    bench.if_guilty(|| free(event));
    set(event);
    thread::join(waiter);
    free(event);
}

unsafe extern "C" fn nothing(_: PVOID) {}

/// Holds the worker that runs it back.
unsafe extern "C" fn hold(gate: PVOID) {
    wait(gate);
}

/// More plain work items than there are threads for: the last ones stay queued.
const CROWD: usize = 40;

fn pool_queued_work_item(bench: &Bench) {
    let gate = event();
    let items: [*mut WORK_QUEUE_ITEM; CROWD] = core::array::from_fn(|_| {
        let item = new::<WORK_QUEUE_ITEM>();
        // ExInitializeWorkItem, which is inline.
        poke(
            item,
            WORK_QUEUE_ITEM {
                WorkerRoutine: Some(hold),
                Parameter: gate.cast(),
                ..WORK_QUEUE_ITEM::default()
            },
        );
        nt!(ExQueueWorkItem(item, DelayedWorkQueue));
        item
    });
    let last = new::<WORK_QUEUE_ITEM>();
    poke(
        last,
        WORK_QUEUE_ITEM {
            WorkerRoutine: Some(nothing),
            ..WORK_QUEUE_ITEM::default()
        },
    );
    nt!(ExQueueWorkItem(last, DelayedWorkQueue));
    bench.if_guilty(|| free(last));
    set(gate);
    settle();
    free(last);
    for item in items {
        free(item);
    }
    free(gate);
}

fn pool_held_lock(bench: &Bench) {
    let lock = new::<u64>();
    let old = nt!(KeAcquireSpinLockRaiseToDpc(lock));
    bench.if_guilty(|| free(lock));
    nt!(KeReleaseSpinLock(lock, old));
    free(lock);
}

fn pool_overrun(bench: &Bench) {
    let block = pool(32);
    poke(byte(block, bench.either(32, 31)), 1);
    free(block);
}

fn pool_overrun_of_slack(bench: &Bench) {
    let block = pool(20);
    poke(byte(block, bench.either(20, 19)), 1);
    free(block);
}

fn pool_underrun(bench: &Bench) {
    let block = pool(20);
    poke(byte(block, bench.either(-1, 0)), 1);
    free(block);
}

fn pool_underrun_at_once(bench: &Bench) {
    pool_underrun(bench);
}

fn pool_use_after_free(bench: &Bench) {
    let block = pool(20);
    if bench.guilty() {
        free(block);
    }
    let _ = peek(byte(block, 4));
    free(block);
}

fn pool_use_after_free_by_the_kernel(bench: &Bench) {
    let name = new::<UNICODE_STRING>();
    bench.if_guilty(|| free(name));
    nt!(RtlInitUnicodeString(name, ptr::null()));
    free(name);
}

fn rundown_free_of_another(_: &Bench) {
    nt!(ExFreeCacheAwareRundownProtection(pool(64).cast()));
}
