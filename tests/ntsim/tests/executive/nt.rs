//! What driver code of the scenarios uses: kernel calls by name.

use ntsim::dispatcher::host::on_system_thread;
use ntsim::gate;

type Kernel = extern "win64" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

/// A routine of scenario driver code: up to eight arguments.
pub(crate) type Code = extern "win64" fn(u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

/// Calls a kernel routine through its thunk, as an image would. For driver code only.
pub(crate) fn nt(name: &str, arguments: &[u64]) -> u64 {
    let thunk = gate::import(name).unwrap_or_else(|| panic!("{name} is not there"));
    // SAFETY: The thunk follows the Windows convention and ignores arguments past those of the routine.
    let kernel: Kernel = unsafe { std::mem::transmute(thunk) };
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    kernel(
        at(0),
        at(1),
        at(2),
        at(3),
        at(4),
        at(5),
        at(6),
        at(7),
        at(8),
        at(9),
        at(10),
    )
}

/// The address of a value in driver memory.
pub(crate) fn at<T>(value: &T) -> u64 {
    std::ptr::from_ref(value) as u64
}

/// Runs driver code in a system thread and returns its result.
pub(crate) fn system(code: Code, argument: u64) -> u64 {
    on_system_thread("scenario", move || {
        gate::call(code as *const () as usize, &[argument, 0, 0, 0, 0, 0, 0, 0])
    })
}

/// Runs driver code in a system thread of its own without waiting for it.
pub(crate) fn start(code: Code, argument: u64) {
    let run = move || {
        gate::call(code as *const () as usize, &[argument, 0, 0, 0, 0, 0, 0, 0]);
    };
    ntsim::thread::spawn("second", true, Box::new(run));
}

/// Nonpaged pool, zeroed.
pub(crate) fn pool(bytes: u64) -> u64 {
    nt("ExAllocatePool2", &[0x40, bytes, 0x7473_6574])
}

/// Writes a word of driver memory.
pub(crate) fn put(address: u64, value: u64) {
    // SAFETY: Scenario code writes memory that it allocated.
    unsafe { (address as *mut u64).write_unaligned(value) }
}

/// Reads a word of driver memory.
pub(crate) fn get(address: u64) -> u64 {
    // SAFETY: Scenario code reads memory that it allocated.
    unsafe { (address as *const u64).read_unaligned() }
}

/// Writes a byte of driver memory.
pub(crate) fn put8(address: u64, value: u8) {
    // SAFETY: as for `put`.
    unsafe { (address as *mut u8).write(value) }
}

/// Reads a byte of driver memory.
pub(crate) fn get8(address: u64) -> u8 {
    // SAFETY: as for `get`.
    unsafe { (address as *const u8).read() }
}

/// An initialised event in pool: notification 0, synchronisation 1.
pub(crate) fn event(kind: u64) -> u64 {
    let event = pool(24);
    nt("KeInitializeEvent", &[event, kind, 0]);
    event
}

/// A relative time-out in seconds, as KeWaitForSingleObject wants it.
pub(crate) fn seconds(count: i64) -> i64 {
    -count * 10_000_000
}

/// Waits for an object without limit.
pub(crate) fn wait(object: u64) -> u64 {
    nt("KeWaitForSingleObject", &[object, 0, 0, 0, 0])
}
