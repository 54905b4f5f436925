//! Spin locks and mutexes.

use core::{cell::UnsafeCell, ptr};

use wdk_sys::{KEVENT, KMUTEX, KSEMAPHORE, PVOID};

use super::{irql::fast_mutex, table};
use crate::{
    below,
    driver::Bench,
    nt::{APC, DISPATCH, at, free, new, nt, peek, poke, sleep, wait, with},
    request::Below,
    thread,
};

table![
    lock_acquired_twice,
    lock_released_by_another,
    lock_not_held,
    lock_not_initialised,
    lock_order_inverted,
    lock_order_inverted_in_three,
    lock_released_out_of_order,
    lock_in_paged_pool,
    event_in_paged_pool,
    mutex_in_a_pageable_section,
    wait_in_user_mode_on_the_stack,
    lock_released_to_another_irql,
    lock_of_dpc_level_released_below,
    lock_misaligned,
    lock_never_released,
    lock_held_at_a_wait,
    lock_held_at_a_lower_irql,
    lock_held_at_a_call,
    fast_mutex_acquired_twice,
    fast_mutex_released_by_another,
    fast_mutex_not_held,
    unsafe_mutex_acquired_with_apcs,
    unsafe_mutex_released_with_apcs,
    mutex_released_by_another,
    mutex_held_at_the_end,
    semaphore_over_its_limit,
];

fn acquire(lock: *mut u64) -> u8 {
    nt!(KeAcquireSpinLockRaiseToDpc(lock))
}

fn release(lock: *mut u64, old: u8) {
    nt!(KeReleaseSpinLock(lock, old));
}

fn lock_acquired_twice(bench: &Bench) {
    with(|lock| {
        let old = acquire(lock);
        bench.if_guilty(|| {
            acquire(lock);
        });
        release(lock, old);
        let old = acquire(lock);
        release(lock, old);
    });
}

/// Releases a lock once another thread has it.
unsafe extern "C" fn release_it(block: PVOID) {
    let (lock, state) = words(block);
    while peek(state) != 1 {
        nt!(KeGetCurrentIrql());
    }
    at(DISPATCH, || release(lock, DISPATCH));
}

unsafe extern "C" fn acquire_and_release(block: PVOID) {
    let (lock, _) = words(block);
    let old = acquire(lock);
    release(lock, old);
}

fn lock_released_by_another(bench: &Bench) {
    let block = new::<[u64; 2]>();
    let (lock, state) = words(block.cast());
    if bench.guilty() {
        thread::start(release_it, block);
        acquire(lock);
        poke(state, 1);
        // The other one stops the machine meanwhile; nobody may wait with a lock.
        loop {
            nt!(KeGetCurrentIrql());
        }
    }
    thread::run(acquire_and_release, block);
    free(block);
}

fn lock_not_held(bench: &Bench) {
    with(|lock| {
        let old = acquire(lock);
        release(lock, old);
        bench.if_guilty(|| at(DISPATCH, || release(lock, DISPATCH)));
    });
}

fn lock_not_initialised(bench: &Bench) {
    with(|lock: *mut u64| {
        poke(lock, bench.either(0xB5B5_B5B5_B5B5_B5B5, 0));
        let old = acquire(lock);
        release(lock, old);
    });
}

/// Takes two locks, and releases them.
fn both(first: *mut u64, second: *mut u64) {
    let old = acquire(first);
    nt!(KeAcquireSpinLockAtDpcLevel(second));
    nt!(KeReleaseSpinLockFromDpcLevel(second));
    release(first, old);
}

fn lock_order_inverted(bench: &Bench) {
    let (one, other) = (new(), new());
    both(one, other);
    if bench.guilty() {
        both(other, one);
    } else {
        both(one, other);
    }
    free(one);
    free(other);
}

/// A fast mutex and two spin locks, in a block.
struct Three {
    mutex: *mut wdk_sys::FAST_MUTEX,
    second: *mut u64,
    third: *mut u64,
}

unsafe extern "C" fn mutex_then_second(three: PVOID) {
    let three: &Three = three_of(three);
    nt!(ExAcquireFastMutex(three.mutex));
    let old = acquire(three.second);
    release(three.second, old);
    nt!(ExReleaseFastMutex(three.mutex));
}

unsafe extern "C" fn second_then_third(three: PVOID) {
    let three: &Three = three_of(three);
    both(three.second, three.third);
}

fn three_of<'a>(three: PVOID) -> &'a Three {
    // SAFETY: The threads get such a structure, which outlives them.
    unsafe { &*three.cast::<Three>() }
}

fn lock_order_inverted_in_three(bench: &Bench) {
    let three = Three {
        mutex: fast_mutex(),
        second: new(),
        third: new(),
    };
    let context = (&raw const three).cast_mut();
    thread::run(mutex_then_second, context);
    thread::run(second_then_third, context);
    // Trying is no waiting: it closes no circle. The mutex is taken with the third lock held.
    let old = acquire(three.third);
    bench.if_guilty(|| {
        lower_behind(APC);
        nt!(ExAcquireFastMutex(three.mutex));
    });
    release(three.third, old);
    free(three.mutex);
    free(three.second);
    free(three.third);
}

fn lock_released_out_of_order(bench: &Bench) {
    let (first, second) = (new(), new());
    let old = acquire(first);
    nt!(KeAcquireSpinLockAtDpcLevel(second));
    if bench.guilty() {
        nt!(KeReleaseSpinLockFromDpcLevel(first));
        release(second, old);
    } else {
        nt!(KeReleaseSpinLockFromDpcLevel(second));
        release(first, old);
    }
    free(first);
    free(second);
}

/// Nonpaged for the innocent.
fn paged_if_guilty(bench: &Bench) -> PVOID {
    if bench.guilty() {
        super::mdl::paged()
    } else {
        crate::nt::pool(100)
    }
}

fn lock_in_paged_pool(bench: &Bench) {
    let lock = paged_if_guilty(bench);
    let old = acquire(lock.cast());
    release(lock.cast(), old);
    free(lock);
}

fn event_in_paged_pool(bench: &Bench) {
    let event = paged_if_guilty(bench);
    nt!(KeInitializeEvent(event.cast(), 0, 0));
    free(event);
}

/// Memory of the image.
struct Words(UnsafeCell<[u64; 8]>);

// SAFETY: Only the kernel's routines touch it.
unsafe impl Sync for Words {}

fn mutex_in_a_pageable_section(bench: &Bench) {
    #[unsafe(link_section = "PAGEDATA")]
    static PAGEABLE: Words = Words(UnsafeCell::new([0; 8]));
    static RESIDENT: Words = Words(UnsafeCell::new([0; 8]));
    let mutex = bench.either(&PAGEABLE, &RESIDENT).0.get();
    nt!(KeInitializeGuardedMutex(mutex.cast()));
}

fn wait_in_user_mode_on_the_stack(bench: &Bench) {
    let mut event = KEVENT::default();
    nt!(KeInitializeEvent(&raw mut event, 0, 1));
    nt!(KeWaitForSingleObject(
        (&raw mut event).cast(),
        0,
        bench.either(1, 0),
        0,
        ptr::null_mut()
    ));
}

fn lock_released_to_another_irql(bench: &Bench) {
    with(|lock| {
        acquire(lock);
        release(lock, bench.either(APC, 0));
    });
}

fn lock_of_dpc_level_released_below(bench: &Bench) {
    with(|lock: *mut u64| {
        at(DISPATCH, || {
            nt!(KeAcquireSpinLockAtDpcLevel(lock));
            release(lock, bench.either(0, DISPATCH));
        });
    });
}

fn lock_misaligned(bench: &Bench) {
    with(|block: *mut [u64; 2]| {
        let lock = block.cast::<u8>().wrapping_add(bench.either(4, 8)).cast();
        let old = acquire(lock);
        release(lock, old);
    });
}

/// Of the two words of a block, the lock, and what is to be done with it: 1: held; 2: to be released.
fn words(block: PVOID) -> (*mut u64, *mut u64) {
    (block.cast(), block.cast::<u64>().wrapping_add(1))
}

/// Holds a lock until told to release it, spinning: nobody may wait with a lock.
unsafe extern "C" fn hold(block: PVOID) {
    let (lock, state) = words(block);
    let old = acquire(lock);
    poke(state, 1);
    while peek(state) != 2 {
        nt!(KeGetCurrentIrql());
    }
    release(lock, old);
}

fn lock_never_released(bench: &Bench) {
    let block = new::<[u64; 2]>();
    let (lock, state) = words(block.cast());
    let thread = thread::start(hold, block);
    while peek(state) != 1 {
        sleep(1);
    }
    if !bench.guilty() {
        poke(state, 2);
    }
    let old = acquire(lock);
    release(lock, old);
    thread::join(thread);
    free(block);
}

fn lock_held_at_a_wait(bench: &Bench) {
    with(|block: *mut [u64; 2]| {
        let (lock, rundown) = (block.cast(), block.cast::<u64>().wrapping_add(1).cast());
        nt!(ExInitializeRundownProtection(rundown));
        let old = acquire(lock);
        // Lowered behind the lock's back, so that the level is right for a wait and only the lock is wrong.
        lower_behind(bench.either(APC, DISPATCH));
        if bench.guilty() {
            nt!(ExWaitForRundownProtectionRelease(rundown));
        }
        release(lock, old);
    });
}

/// Writes the task priority register, which headers with inline IRQL routines do.
fn lower_behind(level: u8) {
    // SAFETY: Sound in a kernel, and in whatever emulates it; a level that the processor may have now.
    unsafe { core::arch::asm!("mov cr8, {0}", in(reg) u64::from(level)) };
}

fn lock_held_at_a_lower_irql(bench: &Bench) {
    with(|lock| {
        let old = acquire(lock);
        nt!(KeLowerIrql(bench.either(0, DISPATCH)));
        release(lock, old);
    });
}

fn lock_held_at_a_call(bench: &Bench) {
    let below = Below::open();
    with(|lock| {
        let request = below.request(1);
        request.prepare(below::COMPLETE);
        let old = acquire(lock);
        if !bench.guilty() {
            release(lock, old);
        }
        request.call();
        request.wait();
        request.free();
    });
}

fn fast_mutex_acquired_twice(bench: &Bench) {
    let mutex = fast_mutex();
    nt!(ExAcquireFastMutex(mutex));
    bench.if_guilty(|| nt!(ExAcquireFastMutex(mutex)));
    nt!(ExReleaseFastMutex(mutex));
    free(mutex);
}

unsafe extern "C" fn release_mutex(mutex: PVOID) {
    at(APC, || nt!(ExReleaseFastMutex(mutex.cast())));
}

fn fast_mutex_released_by_another(bench: &Bench) {
    let mutex = fast_mutex();
    nt!(ExAcquireFastMutex(mutex));
    nt!(KeLowerIrql(0));
    bench.if_guilty(|| thread::run(release_mutex, mutex));
    at(APC, || nt!(ExReleaseFastMutex(mutex)));
    free(mutex);
}

fn fast_mutex_not_held(bench: &Bench) {
    let mutex = fast_mutex();
    nt!(ExAcquireFastMutex(mutex));
    nt!(ExReleaseFastMutex(mutex));
    bench.if_guilty(|| at(APC, || nt!(ExReleaseFastMutex(mutex))));
    free(mutex);
}

fn unsafe_mutex_acquired_with_apcs(bench: &Bench) {
    let mutex = fast_mutex();
    if !bench.guilty() {
        nt!(KeEnterCriticalRegion());
    }
    nt!(ExAcquireFastMutexUnsafe(mutex));
    nt!(ExReleaseFastMutexUnsafe(mutex));
    nt!(KeLeaveCriticalRegion());
    free(mutex);
}

fn unsafe_mutex_released_with_apcs(bench: &Bench) {
    let mutex = fast_mutex();
    nt!(KeEnterCriticalRegion());
    nt!(ExAcquireFastMutexUnsafe(mutex));
    bench.if_guilty(|| nt!(KeLeaveCriticalRegion()));
    nt!(ExReleaseFastMutexUnsafe(mutex));
    nt!(KeLeaveCriticalRegion());
    free(mutex);
}

unsafe extern "C" fn release_kernel_mutex(mutex: PVOID) {
    nt!(KeReleaseMutex(mutex.cast(), 0));
}

fn mutex_released_by_another(bench: &Bench) {
    with(|mutex: *mut KMUTEX| {
        nt!(KeInitializeMutex(mutex, 0));
        wait(mutex);
        bench.if_guilty(|| thread::run(release_kernel_mutex, mutex));
        nt!(KeReleaseMutex(mutex, 0));
    });
}

unsafe extern "C" fn take_mutex(mutex: PVOID) {
    wait(mutex);
    nt!(PsTerminateSystemThread(0));
}

unsafe extern "C" fn take_and_release_mutex(mutex: PVOID) {
    wait(mutex);
    nt!(KeReleaseMutex(mutex.cast(), 0));
}

fn mutex_held_at_the_end(bench: &Bench) {
    with(|mutex: *mut KMUTEX| {
        nt!(KeInitializeMutex(mutex, 0));
        thread::run(bench.either(take_mutex, take_and_release_mutex), mutex);
    });
}

fn semaphore_over_its_limit(bench: &Bench) {
    with(|semaphore: *mut KSEMAPHORE| {
        nt!(KeInitializeSemaphore(semaphore, 0, 2));
        nt!(KeReleaseSemaphore(semaphore, 0, bench.either(3, 2), 0));
    });
}
