//! What a driver may not leave behind. The innocent gives it back first.

use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use wdk_sys::{
    GUID, KDPC, KEVENT, KTIMER, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, PVOID, REGHANDLE,
    STATUS_MORE_PROCESSING_REQUIRED,
};

use super::{
    irql::with_handle,
    mdl::{describe, free_mdl},
    table,
};
use crate::{
    below,
    driver::Bench,
    nt::{free, milliseconds_from_now, nt, pool, set, settle, wait},
    request::Below,
    thread,
};

table![
    unload_with_pool,
    unload_with_an_irp,
    unload_with_an_mdl,
    unload_with_a_handle,
    unload_with_a_reference,
    unload_with_a_device,
    unload_with_a_timer,
    unload_with_a_thread,
    unload_with_an_etw_provider,
    etw_provider_unregistered_twice,
    unload_with_a_work_item,
    unload_in_a_completion_routine,
];

/// What the unload routine does instead; an address of a [`Last`], or 0.
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Something to be done instead of the unload routine's work.
type Last = fn(PDRIVER_OBJECT);

/// Does something else in the unload routine if guilty.
pub(super) fn at_unload_do(bench: &Bench, what: Last) {
    bench.if_guilty(|| LAST.store(what as usize, Ordering::SeqCst));
}

/// Called by the unload routine; whether there was something else to do.
pub(crate) fn at_unload(driver: PDRIVER_OBJECT) -> bool {
    let last = LAST.load(Ordering::SeqCst);
    if last == 0 {
        return false;
    }
    // SAFETY: `at_unload_do` stored such a routine.
    let last = unsafe { core::mem::transmute::<usize, Last>(last) };
    last(driver);
    true
}

fn leave(_: PDRIVER_OBJECT) {}

fn unload_with_pool(bench: &Bench) {
    let block = pool(24);
    if !bench.guilty() {
        free(block);
    }
}

fn unload_with_an_irp(bench: &Bench) {
    let irp = nt!(IoAllocateIrp(1, 0));
    if !bench.guilty() {
        nt!(IoFreeIrp(irp));
    }
}

fn unload_with_an_mdl(bench: &Bench) {
    let block = pool(24);
    let mdl = describe(block, 24);
    if !bench.guilty() {
        free_mdl(mdl);
    }
    free(block);
}

fn unload_with_a_handle(bench: &Bench) {
    with_handle(|handle| {
        let mut second: PVOID = ptr::null_mut();
        let mut object: PVOID = ptr::null_mut();
        nt!(ObReferenceObjectByHandle(
            handle,
            0,
            ptr::null_mut(),
            0,
            &raw mut object,
            ptr::null_mut()
        ));
        nt!(ObOpenObjectByPointer(
            object,
            wdk_sys::OBJ_KERNEL_HANDLE,
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            0,
            &raw mut second
        ));
        nt!(ObfDereferenceObject(object));
        if !bench.guilty() {
            nt!(ZwClose(second));
        }
    });
}

unsafe extern "C" fn nothing(_: PVOID) {}

fn unload_with_a_reference(bench: &Bench) {
    let thread = thread::start(nothing, ptr::null_mut::<u8>());
    wait(thread);
    if !bench.guilty() {
        nt!(ObfDereferenceObject(thread));
    }
}

fn unload_with_a_device(bench: &Bench) {
    at_unload_do(bench, leave);
}

/// A timer in the image's own memory.
struct Timer(UnsafeCell<(KTIMER, KDPC)>);

// SAFETY: Only the kernel's routines touch it.
unsafe impl Sync for Timer {}

unsafe extern "C" fn expired(_: *mut KDPC, _: PVOID, _: PVOID, _: PVOID) {}

fn unload_with_a_timer(bench: &Bench) {
    static TIMER: Timer = Timer(UnsafeCell::new(
        // SAFETY: Both are plain data, and initialised below.
        unsafe { core::mem::zeroed() },
    ));
    let timer = TIMER.0.get().cast::<KTIMER>();
    let dpc = timer.wrapping_add(1).cast::<KDPC>();
    nt!(KeInitializeTimer(timer));
    nt!(KeInitializeDpc(dpc, Some(expired), ptr::null_mut()));
    nt!(KeSetTimer(timer, milliseconds_from_now(10_000), dpc));
    if !bench.guilty() {
        nt!(KeCancelTimer(timer));
    }
}

/// An event in the image's own memory.
struct Gate(UnsafeCell<KEVENT>);

// SAFETY: Only the kernel's routines touch it.
unsafe impl Sync for Gate {}

static GATE: Gate = Gate(UnsafeCell::new(
    // SAFETY: Plain data, which each rule that uses it initialises.
    unsafe { core::mem::zeroed() },
));

unsafe extern "C" fn wait_for_it(event: PVOID) {
    wait(event);
}

fn unload_with_a_thread(bench: &Bench) {
    let gate = GATE.0.get();
    nt!(KeInitializeEvent(gate, 0, 0));
    let thread = thread::start(wait_for_it, gate);
    if bench.guilty() {
        nt!(ObfDereferenceObject(thread));
    } else {
        set(gate);
        thread::join(thread);
        settle();
    }
}

/// Registers a provider of events that nobody knows.
pub(super) fn register_provider() -> REGHANDLE {
    const ID: GUID = GUID {
        Data1: 0x6272_6561,
        Data2: 0x6B65,
        Data3: 0x5072,
        Data4: *b"\x80provide",
    };
    let mut handle: REGHANDLE = 0;
    nt!(EtwRegister(&ID, None, ptr::null_mut(), &raw mut handle));
    handle
}

fn unload_with_an_etw_provider(bench: &Bench) {
    let handle = register_provider();
    if !bench.guilty() {
        nt!(EtwUnregister(handle));
    }
}

fn etw_provider_unregistered_twice(bench: &Bench) {
    let handle = register_provider();
    nt!(EtwUnregister(handle));
    bench.if_guilty(|| nt!(EtwUnregister(handle)));
}

fn unload_with_a_work_item(bench: &Bench) {
    let item = nt!(IoAllocateWorkItem(bench.device));
    if !bench.guilty() {
        nt!(IoFreeWorkItem(item));
    }
}

/// Tells the owner of the request, and waits for the gate.
unsafe extern "C" fn linger(_: PDEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    set(done.cast());
    wait(GATE.0.get());
    STATUS_MORE_PROCESSING_REQUIRED
}

fn unload_in_a_completion_routine(bench: &Bench) {
    nt!(KeInitializeEvent(GATE.0.get(), 0, 0));
    let below = Below::open();
    let request = below.request(1);
    request.prepare_with(below::COMPLETE_ELSEWHERE, Some(linger));
    request.call();
    request.wait();
    request.free();
    if !bench.guilty() {
        set(GATE.0.get());
        settle();
    }
}
