//! The IRQL at which routines may be called. The guilty one calls above the limit, the other one at it.

use core::ptr;

use wdk_sys::{
    _CREATE_FILE_TYPE::CreateFileTypeNone, FILE_READ_DATA, HANDLE, IO_STATUS_BLOCK, KEVENT,
    KGUARDED_MUTEX, KMUTEX, KSEMAPHORE, KTIMER, PVOID,
};

use super::{
    mdl::{lock, map, pageable, unlock, unmap},
    table,
    unload::register_provider,
};
use crate::{
    below,
    driver::{Bench, create_device},
    nt::{
        APC, DEVICE, DISPATCH, at, attributes, event, free, milliseconds_from_now, new, nt, set,
        sleep, wait_for, with,
    },
    request::Below,
    thread,
    unicode::unicode,
};

table![
    irql_raised_downwards,
    irql_lowered_upwards,
    irql_fast_mutex_acquire,
    irql_fast_mutex_release,
    irql_lock_release,
    irql_lock_acquire,
    irql_dpc_lock_acquire,
    irql_dpc_lock_release,
    irql_probe_and_lock,
    irql_map,
    irql_map_old,
    irql_unmap,
    irql_unlock,
    irql_set_event,
    irql_set_event_and_wait,
    irql_clear_event,
    irql_release_semaphore,
    irql_set_timer,
    irql_release_mutex,
    irql_flush_dpcs,
    irql_delay,
    irql_guarded_mutex,
    irql_guarded_region,
    irql_critical_region,
    irql_probe,
    irql_compare_strings,
    irql_etw_register,
    irql_delete_device,
    irql_create_device,
    irql_io_create_file,
    irql_device_pointer,
    irql_symbolic_link,
    irql_system_routine,
    irql_reference_by_handle,
    irql_system_thread,
    irql_close,
    irql_create_file,
    irql_zw_in_a_guarded_region,
    irql_allocate_irp,
    irql_call_driver,
    irql_complete,
    irql_wait_above_dispatch,
    irql_wait_for_ever,
    irql_wait_with_limit,
];

const PASSIVE: u8 = 0;

impl Bench {
    /// Runs above `PASSIVE_LEVEL` if guilty.
    fn above_passive<R>(&self, run: impl FnOnce() -> R) -> R {
        at(self.either(APC, PASSIVE), run)
    }

    /// Runs above `APC_LEVEL` if guilty, else at it.
    fn above_apc<R>(&self, run: impl FnOnce() -> R) -> R {
        at(self.either(DISPATCH, APC), run)
    }

    /// Runs above `DISPATCH_LEVEL` if guilty, else at it.
    fn above_dispatch<R>(&self, run: impl FnOnce() -> R) -> R {
        at(self.either(DEVICE, DISPATCH), run)
    }
}

fn irql_raised_downwards(bench: &Bench) {
    at(DISPATCH, || at(bench.either(APC, DISPATCH), || ()));
}

fn irql_lowered_upwards(bench: &Bench) {
    nt!(KeLowerIrql(bench.either(DISPATCH, PASSIVE)));
}

/// A fast mutex: `ExInitializeFastMutex` is inline, and writes what this routine does.
pub(super) fn fast_mutex() -> *mut wdk_sys::FAST_MUTEX {
    let mutex = new::<KGUARDED_MUTEX>();
    nt!(KeInitializeGuardedMutex(mutex));
    mutex.cast()
}

fn irql_fast_mutex_acquire(bench: &Bench) {
    let mutex = fast_mutex();
    bench.above_apc(|| {
        nt!(ExAcquireFastMutex(mutex));
        nt!(ExReleaseFastMutex(mutex));
    });
    free(mutex);
}

fn irql_fast_mutex_release(bench: &Bench) {
    let mutex = fast_mutex();
    nt!(ExAcquireFastMutex(mutex));
    bench.if_guilty(|| nt!(KeLowerIrql(PASSIVE)));
    nt!(ExReleaseFastMutex(mutex));
    free(mutex);
}

fn irql_lock_release(bench: &Bench) {
    with(|lock: *mut u64| {
        let old = nt!(KeAcquireSpinLockRaiseToDpc(lock));
        nt!(KeReleaseSpinLock(lock, old));
        bench.if_guilty(|| nt!(KeReleaseSpinLock(lock, old)));
    });
}

fn irql_lock_acquire(bench: &Bench) {
    with(|lock: *mut u64| {
        bench.above_dispatch(|| {
            let old = nt!(KeAcquireSpinLockRaiseToDpc(lock));
            nt!(KeReleaseSpinLock(lock, old));
        });
    });
}

fn irql_dpc_lock_acquire(bench: &Bench) {
    with(|lock: *mut u64| {
        at(bench.either(APC, DISPATCH), || {
            nt!(KeAcquireSpinLockAtDpcLevel(lock));
            nt!(KeReleaseSpinLockFromDpcLevel(lock));
        });
    });
}

fn irql_dpc_lock_release(bench: &Bench) {
    with(|lock: *mut u64| {
        at(DISPATCH, || {
            nt!(KeAcquireSpinLockAtDpcLevel(lock));
            nt!(KeReleaseSpinLockFromDpcLevel(lock));
        });
        bench.if_guilty(|| nt!(KeReleaseSpinLockFromDpcLevel(lock)));
    });
}

/// Above `DISPATCH_LEVEL` nothing pageable may be touched: resident memory would do for the innocent.
fn irql_probe_and_lock(bench: &Bench) {
    pageable(|mdl| {
        at(bench.either(DEVICE, PASSIVE), || lock(mdl));
        unlock(mdl);
    });
}

fn irql_map(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        bench.above_dispatch(|| map(mdl));
        unlock(mdl);
    });
}

fn irql_map_old(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        bench.above_dispatch(|| nt!(MmMapLockedPages(mdl, 0)));
        unlock(mdl);
    });
}

fn irql_unmap(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        let address = map(mdl);
        bench.above_dispatch(|| unmap(address, mdl));
        unlock(mdl);
    });
}

fn irql_unlock(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        bench.above_dispatch(|| unlock(mdl));
    });
}

fn irql_set_event(bench: &Bench) {
    let event = event();
    bench.above_dispatch(|| set(event));
    free(event);
}

fn irql_set_event_and_wait(bench: &Bench) {
    let event = event();
    // With Wait TRUE a wait follows at once, and goes back to the level before.
    bench.above_apc(|| nt!(KeSetEvent(event, 0, bench.either(1, 0))));
    free(event);
}

fn irql_clear_event(bench: &Bench) {
    let event = event();
    bench.above_dispatch(|| nt!(KeResetEvent(event)));
    free(event);
}

fn irql_release_semaphore(bench: &Bench) {
    with(|semaphore: *mut KSEMAPHORE| {
        nt!(KeInitializeSemaphore(semaphore, 0, 1));
        bench.above_dispatch(|| nt!(KeReleaseSemaphore(semaphore, 0, 1, 0)));
    });
}

fn irql_set_timer(bench: &Bench) {
    with(|timer: *mut KTIMER| {
        nt!(KeInitializeTimer(timer));
        bench.above_dispatch(|| {
            nt!(KeSetTimer(timer, milliseconds_from_now(1), ptr::null_mut()));
        });
        nt!(KeCancelTimer(timer));
    });
}

fn irql_release_mutex(bench: &Bench) {
    with(|mutex: *mut KMUTEX| {
        nt!(KeInitializeMutex(mutex, 0));
        wait_for(mutex, 1);
        bench.above_dispatch(|| nt!(KeReleaseMutex(mutex, 0)));
    });
}

fn irql_flush_dpcs(bench: &Bench) {
    bench.above_passive(|| nt!(KeFlushQueuedDpcs()));
}

fn irql_delay(bench: &Bench) {
    bench.above_apc(|| sleep(1));
}

fn irql_guarded_mutex(bench: &Bench) {
    with(|mutex: *mut KGUARDED_MUTEX| {
        nt!(KeInitializeGuardedMutex(mutex));
        bench.above_apc(|| {
            nt!(KeAcquireGuardedMutex(mutex));
            nt!(KeReleaseGuardedMutex(mutex));
        });
    });
}

fn irql_guarded_region(bench: &Bench) {
    bench.above_apc(|| {
        nt!(KeEnterGuardedRegion());
        nt!(KeLeaveGuardedRegion());
    });
}

fn irql_critical_region(bench: &Bench) {
    bench.above_apc(|| {
        nt!(KeEnterCriticalRegion());
        nt!(KeLeaveCriticalRegion());
    });
}

fn irql_probe(bench: &Bench) {
    bench.above_apc(|| nt!(ProbeForRead(ptr::null(), 0, 1)));
}

fn irql_compare_strings(bench: &Bench) {
    let (one, other) = (unicode!("one"), unicode!("ONE"));
    bench.above_passive(|| nt!(RtlCompareUnicodeString(&raw const one, &raw const other, 1)));
}

/// Makes a device of our own and runs something with it.
fn with_device(bench: &Bench, run: impl FnOnce(*mut wdk_sys::DEVICE_OBJECT)) {
    // SAFETY: Our device.
    let driver = unsafe { (*bench.device).DriverObject };
    if let Ok(device) = create_device(driver, unicode!(r"\Device\BreakerOwn")) {
        run(device);
    }
}

fn irql_etw_register(bench: &Bench) {
    let handle = bench.above_passive(register_provider);
    nt!(EtwUnregister(handle));
}

fn irql_delete_device(bench: &Bench) {
    with_device(bench, |device| {
        bench.above_apc(|| nt!(IoDeleteDevice(device)));
    });
}

fn irql_create_device(bench: &Bench) {
    bench.above_passive(|| with_device(bench, |device| nt!(IoDeleteDevice(device))));
}

/// Opens the device below.
fn create(bench: &Bench, io: bool) {
    let mut name = unicode!(breaker_ioctl::BELOW_NAME);
    let mut attributes = attributes(&raw mut name);
    let mut handle: HANDLE = ptr::null_mut();
    let mut status = IO_STATUS_BLOCK::default();
    let none = ptr::null_mut();
    bench.above_passive(|| {
        if io {
            nt!(IoCreateFile(
                &raw mut handle,
                FILE_READ_DATA,
                &raw mut attributes,
                &raw mut status,
                none,
                0,
                0,
                1,
                0,
                none.cast(),
                0,
                CreateFileTypeNone,
                none.cast(),
                0
            ));
        } else {
            nt!(ZwCreateFile(
                &raw mut handle,
                FILE_READ_DATA,
                &raw mut attributes,
                &raw mut status,
                none,
                0,
                0,
                1,
                0,
                none.cast(),
                0
            ));
        }
    });
    nt!(ZwClose(handle));
}

fn irql_io_create_file(bench: &Bench) {
    create(bench, true);
}

fn irql_create_file(bench: &Bench) {
    create(bench, false);
}

fn irql_device_pointer(bench: &Bench) {
    bench.above_passive(Below::open);
}

fn irql_symbolic_link(bench: &Bench) {
    let mut link = unicode!(r"\DosDevices\BreakerLink");
    let mut target = unicode!(breaker_ioctl::DEVICE_NAME);
    bench.above_passive(|| nt!(IoCreateSymbolicLink(&raw mut link, &raw mut target)));
    nt!(IoDeleteSymbolicLink(&raw mut link));
}

fn irql_system_routine(bench: &Bench) {
    let mut name = unicode!("KeSetEvent");
    bench.above_passive(|| nt!(MmGetSystemRoutineAddress(&raw mut name)));
}

/// Opens the device below and runs something with the handle.
pub(super) fn with_handle(run: impl FnOnce(HANDLE)) {
    let mut name = unicode!(breaker_ioctl::BELOW_NAME);
    let mut attributes = attributes(&raw mut name);
    let mut handle: HANDLE = ptr::null_mut();
    let mut status = IO_STATUS_BLOCK::default();
    nt!(ZwOpenFile(
        &raw mut handle,
        FILE_READ_DATA,
        &raw mut attributes,
        &raw mut status,
        0,
        0
    ));
    run(handle);
    nt!(ZwClose(handle));
}

fn irql_reference_by_handle(bench: &Bench) {
    with_handle(|handle| {
        let mut object: PVOID = ptr::null_mut();
        bench.above_passive(|| {
            nt!(ObReferenceObjectByHandle(
                handle,
                0,
                ptr::null_mut(),
                0,
                &raw mut object,
                ptr::null_mut()
            ));
        });
        nt!(ObfDereferenceObject(object));
    });
}

unsafe extern "C" fn nothing(_: PVOID) {}

fn irql_system_thread(bench: &Bench) {
    let thread = bench.above_passive(|| thread::start(nothing, ptr::null_mut::<u8>()));
    thread::join(thread);
}

fn irql_close(bench: &Bench) {
    with_handle(|handle| {
        bench.if_guilty(|| at(APC, || nt!(ZwClose(handle))));
    });
}

fn irql_zw_in_a_guarded_region(bench: &Bench) {
    with_handle(|handle| {
        bench.if_guilty(|| nt!(KeEnterGuardedRegion()));
        bench.if_guilty(|| nt!(ZwClose(handle)));
    });
}

fn irql_allocate_irp(bench: &Bench) {
    let irp = bench.above_dispatch(|| nt!(IoAllocateIrp(1, 0)));
    nt!(IoFreeIrp(irp));
}

fn irql_call_driver(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    request.prepare(below::COMPLETE);
    bench.above_dispatch(|| request.call());
    request.wait();
    request.free();
}

fn irql_complete(bench: &Bench) {
    Below::open().ask(bench.either(below::ABOVE_DISPATCH, below::AT_DISPATCH));
}

/// Waits at a level for an event that is set; for the innocent without patience.
fn wait_at(bench: &Bench, level: u8, limit: Option<i64>) {
    let event: *mut KEVENT = event();
    set(event);
    let mut time = milliseconds_from_now(bench.either(limit.unwrap_or(0), 0));
    let limit = match limit {
        None if bench.guilty() => ptr::null_mut(),
        _ => &raw mut time,
    };
    let level = bench.either(level, DISPATCH);
    at(level, || {
        nt!(KeWaitForSingleObject(event.cast(), 0, 0, 0, limit));
    });
    free(event);
}

fn irql_wait_above_dispatch(bench: &Bench) {
    wait_at(bench, DEVICE, Some(0));
}

fn irql_wait_for_ever(bench: &Bench) {
    wait_at(bench, DISPATCH, None);
}

fn irql_wait_with_limit(bench: &Bench) {
    wait_at(bench, DISPATCH, Some(1));
}
