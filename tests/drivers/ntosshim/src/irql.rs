//! The interrupt request level and the guarded regions of each thread. Wine has neither: what is kept here restrains nobody, it only
//! lets drivers see at which level they are called.

use core::{
    ffi::c_void,
    sync::atomic::{AtomicU32, Ordering},
};

use wdk_sys::{BOOLEAN, KIRQL};

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "C" {
    fn TlsAlloc() -> u32;
    fn TlsFree(index: u32) -> i32;
    fn TlsGetValue(index: u32) -> *mut c_void;
    fn TlsSetValue(index: u32, value: *mut c_void) -> i32;
}

pub(crate) const DISPATCH_LEVEL: KIRQL = 2;
const APC_LEVEL: KIRQL = 1;

/// The thread-local slot; TLS_OUT_OF_INDEXES until the first use.
static SLOT: AtomicU32 = AtomicU32::new(u32::MAX);

fn slot() -> u32 {
    let known = SLOT.load(Ordering::Acquire);
    if known != u32::MAX {
        return known;
    }
    // SAFETY: Callable in any thread.
    let new = unsafe { TlsAlloc() };
    match SLOT.compare_exchange(u32::MAX, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(first) => {
            // SAFETY: Allocated above, used by nobody.
            unsafe { TlsFree(new) };
            first
        }
    }
}

/// What is kept of a thread.
#[derive(Clone, Copy)]
struct Thread {
    level: KIRQL,
    guarded: usize,
}

impl Thread {
    fn current() -> Self {
        // SAFETY: A slot of ours.
        let value = unsafe { TlsGetValue(slot()) }.addr();
        Self {
            level: KIRQL::try_from(value & 0xFF).unwrap_or_default(),
            guarded: value >> 8,
        }
    }

    fn keep(self) {
        let value = usize::from(self.level) | (self.guarded << 8);
        // SAFETY: A slot of ours.
        unsafe { TlsSetValue(slot(), core::ptr::without_provenance_mut(value)) };
    }
}

/// The level of this thread.
pub(crate) fn level() -> KIRQL {
    Thread::current().level
}

/// Sets the level of this thread and returns the one before.
pub(crate) fn set_level(level: KIRQL) -> KIRQL {
    let thread = Thread::current();
    Thread { level, ..thread }.keep();
    thread.level
}

#[unsafe(no_mangle)]
extern "C" fn shim_KeGetCurrentIrql() -> KIRQL {
    level()
}

#[unsafe(no_mangle)]
extern "C" fn shim_KfRaiseIrql(new: KIRQL) -> KIRQL {
    set_level(new)
}

#[unsafe(no_mangle)]
extern "C" fn shim_KeLowerIrql(new: KIRQL) {
    set_level(new);
}

#[unsafe(no_mangle)]
extern "C" fn shim_KeEnterGuardedRegion() {
    let thread = Thread::current();
    let guarded = thread.guarded.saturating_add(1);
    Thread { guarded, ..thread }.keep();
}

#[unsafe(no_mangle)]
extern "C" fn shim_KeLeaveGuardedRegion() {
    let thread = Thread::current();
    let guarded = thread.guarded.saturating_sub(1);
    Thread { guarded, ..thread }.keep();
}

#[unsafe(no_mangle)]
extern "C" fn shim_KeAreAllApcsDisabled() -> BOOLEAN {
    let thread = Thread::current();
    BOOLEAN::from(thread.guarded > 0 || thread.level >= APC_LEVEL)
}
