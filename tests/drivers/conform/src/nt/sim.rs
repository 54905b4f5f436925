//! Services that only a simulated kernel offers, looked up by name. Absent ones make a vector, or a part of it, "not
//! possible here".

use core::{
    ffi::{CStr, c_char, c_void},
    mem, ptr,
};

use wdk_sys::ntddk;

use super::{event::Event, unicode::Unicode};
use crate::engine;

/// What is alive of one image.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) pool_blocks: u64,
    pub(crate) pool_bytes: u64,
    pub(crate) irps: u64,
    pub(crate) mdls: u64,
    pub(crate) handles: u64,
    pub(crate) object_references: u64,
    pub(crate) work_items: u64,
}

impl Account {
    /// Whether nothing of it is more than in `limit`.
    pub(crate) const fn is_within(&self, limit: &Self) -> bool {
        self.pool_blocks <= limit.pool_blocks
            && self.pool_bytes <= limit.pool_bytes
            && self.irps <= limit.irps
            && self.mdls <= limit.mdls
            && self.handles <= limit.handles
            && self.object_references <= limit.object_references
            && self.work_items <= limit.work_items
    }
}

type AccountOf = unsafe extern "system" fn(*mut c_void, *mut Account);
type PoolBytes = unsafe extern "system" fn(*mut c_void, u32) -> u64;
type FailNth = unsafe extern "system" fn(*mut c_void, u32);
type FallibleCalls = unsafe extern "system" fn() -> u32;
type FailNewStack = unsafe extern "system" fn(*mut c_void, u8);
type FaultsInjected = unsafe extern "system" fn() -> u32;
type FailAll = unsafe extern "system" fn(*mut c_void, u8);
type BreakAt = unsafe extern "system" fn(*mut c_void, *const c_char, *mut c_void, *mut c_void);

/// The address of an exported kernel routine.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`.
pub(crate) fn routine(name: &str) -> Option<*mut c_void> {
    let name = Unicode::new(name);
    // SAFETY: The string lives for the whole call.
    let address = unsafe { ntddk::MmGetSystemRoutineAddress(name.borrow().as_mut_ptr()) };
    (!address.is_null()).then_some(address)
}

/// What is alive of the engine's image.
pub(crate) fn engine_account() -> Option<Account> {
    // SAFETY: The bench documents this prototype under this name.
    let account_of = unsafe { mem::transmute::<*mut c_void, AccountOf>(routine("NtsimAccount")?) };
    let mut account = Account::default();
    // SAFETY: The structure is ours and of the documented layout.
    unsafe { account_of(engine::address(), &raw mut account) };
    Some(account)
}

/// The bytes that the engine's image has under a pool tag; under all for 0.
pub(crate) fn engine_pool_bytes(tag: u32) -> Option<u64> {
    // SAFETY: The bench documents this prototype under this name.
    let bytes_of = unsafe { mem::transmute::<*mut c_void, PoolBytes>(routine("NtsimPoolBytes")?) };
    // SAFETY: Any address of the image will do.
    Some(unsafe { bytes_of(engine::address(), tag) })
}

/// Fault injection into the engine's image.
pub(crate) struct Faults {
    fail_nth: FailNth,
    fallible_calls: FallibleCalls,
    fail_all: FailAll,
    fail_new_stack: FailNewStack,
    injected: FaultsInjected,
}

/// Which of the engine's fallible kernel calls fails.
#[derive(Clone, Copy)]
pub(crate) enum Pick {
    /// The n-th, from 1; 0: none.
    Nth(u32),
    /// The next one from a call stack that has not failed yet.
    NewStack,
}

impl Faults {
    /// The services, if this kernel has them.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            // SAFETY: The bench documents this prototype under this name.
            fail_nth: unsafe { mem::transmute::<*mut c_void, FailNth>(routine("NtsimFailNth")?) },
            // SAFETY: As above.
            fallible_calls: unsafe {
                mem::transmute::<*mut c_void, FallibleCalls>(routine("NtsimFallibleCalls")?)
            },
            // SAFETY: As above.
            fail_all: unsafe { mem::transmute::<*mut c_void, FailAll>(routine("NtsimFailAll")?) },
            // SAFETY: As above.
            fail_new_stack: unsafe {
                mem::transmute::<*mut c_void, FailNewStack>(routine("NtsimFailNewStack")?)
            },
            // SAFETY: As above.
            injected: unsafe {
                mem::transmute::<*mut c_void, FaultsInjected>(routine("NtsimFaults")?)
            },
        })
    }

    /// Lets one kernel call fail from now on, until [`Self::disarm`].
    pub(crate) fn arm(&self, pick: Pick) {
        match pick {
            // SAFETY: Any address of the image will do.
            Pick::Nth(nth) => unsafe { (self.fail_nth)(engine::address(), nth) },
            // SAFETY: As above.
            Pick::NewStack => unsafe { (self.fail_new_stack)(engine::address(), 1) },
        }
    }

    /// Whether the call that was to fail has come, since the last [`Self::arm`].
    pub(crate) fn was_hit(&self) -> bool {
        // SAFETY: No arguments.
        unsafe { (self.injected)() != 0 }
    }

    /// Lets no call fail any more.
    pub(crate) fn disarm(&self) {
        self.arm(Pick::Nth(0));
    }

    /// Runs `body` with the `nth` (from 1) fallible kernel call failing; tells also how many such calls there were.
    pub(crate) fn nth<R>(&self, nth: u32, body: impl FnOnce() -> R) -> (R, u32) {
        // SAFETY: Any address of the image will do.
        unsafe { (self.fail_nth)(engine::address(), nth) };
        let result = body();
        // SAFETY: No arguments.
        let calls = unsafe { (self.fallible_calls)() };
        // SAFETY: 0 switches it off.
        unsafe { (self.fail_nth)(engine::address(), 0) };
        (result, calls)
    }

    /// Runs `body`; tells how many fallible kernel calls it made.
    pub(crate) fn count<R>(&self, body: impl FnOnce() -> R) -> (R, u32) {
        self.nth(u32::MAX, body)
    }

    /// Runs `body` with every allocation failing.
    pub(crate) fn all<R>(&self, body: impl FnOnce() -> R) -> R {
        // SAFETY: Any address of the image will do.
        unsafe { (self.fail_all)(engine::address(), 1) };
        let result = body();
        // SAFETY: As above.
        unsafe { (self.fail_all)(engine::address(), 0) };
        result
    }
}

type Explore = unsafe extern "system" fn(u8) -> u8;

fn explore(what: u8) -> Option<u8> {
    // SAFETY: The bench documents this prototype under this name.
    let explore = unsafe { mem::transmute::<*mut c_void, Explore>(routine("NtsimExplore")?) };
    // SAFETY: A number.
    Some(unsafe { explore(what) })
}

/// Who decides which threads go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The kernel, and it has an order left. Time passes only while nobody can run.
    Chosen,
    /// The kernel, and it has none left.
    NoneLeft,
    /// Nobody.
    Free,
}

/// From here on the kernel chooses who runs, if it can.
pub(crate) fn begin_schedule() -> Order {
    match explore(1) {
        Some(0) => Order::NoneLeft,
        Some(1) => Order::Chosen,
        _ => Order::Free,
    }
}

/// Something else could happen here: a driver is about to be called without the kernel.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`.
pub(crate) fn here() {
    explore(2);
}

/// The end of that.
pub(crate) fn end_schedule() {
    explore(0);
}

/// A chosen moment: the engine's next call of a routine stops before it runs.
pub(crate) struct Break {
    break_at: BreakAt,
    name: &'static CStr,
    reached: Event,
    go_on: Event,
}

impl Drop for Break {
    /// Disarms it, and lets whoever stopped at it go on.
    fn drop(&mut self) {
        // SAFETY: No events disarm it.
        unsafe {
            (self.break_at)(
                engine::address(),
                self.name.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
            );
        }
        self.go_on.set();
    }
}

impl Break {
    /// Whether this kernel has breaks.
    pub(crate) fn is_possible() -> bool {
        routine("NtsimBreakAt").is_some()
    }

    /// Arms the one-shot break before the next IoCallDriver, if this kernel can.
    pub(crate) fn before_io_call_driver() -> Option<Self> {
        Self::before(c"IofCallDriver")
    }

    /// Arms the one-shot break before the next call of a routine, if this kernel can.
    pub(crate) fn before(name: &'static CStr) -> Option<Self> {
        // SAFETY: The bench documents this prototype under this name.
        let break_at = unsafe { mem::transmute::<*mut c_void, BreakAt>(routine("NtsimBreakAt")?) };
        let stop = Self {
            break_at,
            name,
            reached: Event::new(),
            go_on: Event::new(),
        };
        // SAFETY: The events outlive the break: `Drop` disarms it.
        unsafe {
            break_at(
                engine::address(),
                name.as_ptr(),
                stop.reached.as_ptr().cast(),
                stop.go_on.as_ptr().cast(),
            );
        }
        Some(stop)
    }

    /// Whether the call comes within `limit`.
    pub(crate) fn is_reached_within(&self, limit: i64) -> bool {
        self.reached.wait(limit)
    }

    /// Lets the call run.
    pub(crate) fn go_on(&self) {
        self.go_on.set();
    }
}
