//! The stack that a thread's signal handlers run on: the driver's may be what faulted.

use crate::stop;
use core::cell::Cell;

/// Bytes of a thread's signal stack.
const SIGNAL_STACK: usize = 256 * 1024;

/// The signal stack of an OS thread; unmapped when the thread ends.
struct SignalStack(Cell<usize>);

impl Drop for SignalStack {
    fn drop(&mut self) {
        let base = self.0.get();
        if base == 0 {
            return;
        }
        let off = libc::stack_t {
            ss_sp: core::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: Switches the current thread's signal stack off, which no handler is running on.
        unsafe { libc::sigaltstack(&raw const off, core::ptr::null_mut()) };
        // SAFETY: The mapping is this thread's own and no longer used.
        unsafe { libc::munmap(base as *mut _, SIGNAL_STACK) };
    }
}

thread_local! {
    static STACK: SignalStack = const { SignalStack(Cell::new(0)) };
}

/// Gives the current OS thread a signal stack that is large enough for a report.
pub(crate) fn prepare_thread() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: A fresh anonymous mapping touches nothing that exists.
    let base = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            SIGNAL_STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        stop::host_failure("no memory for a signal stack");
    }
    let stack = libc::stack_t {
        ss_sp: base,
        ss_flags: 0,
        ss_size: SIGNAL_STACK,
    };
    // SAFETY: The memory stays mapped until the thread ends and `SignalStack` switches it off.
    unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) };
    STACK.with(|cell| cell.0.set(base as usize));
}
