//! Special kernel APCs, as far as the I/O manager needs them: the last step of a thread-associated IRP.
//!
//! What such an APC does (write the status block, set the event, free the IRP) is host work, so it is done by whoever
//! completes the IRP if the issuing thread could be interrupted at that moment. At APC_LEVEL or in a guarded region it
//! stays queued: a wait there never ends, which is the trap that "IoBuildDeviceIoControlRequest" warns of.

use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

use crate::irql::APC_LEVEL;
use crate::thread::{self, Thread};

/// A queued APC.
pub type Apc = Box<dyn FnOnce() + Send>;

fn can_interrupt(thread: &Thread) -> bool {
    thread.irql.load(Ordering::Acquire) < APC_LEVEL
        && thread.special_apc_disable.load(Ordering::Acquire) == 0
}

/// Queues an APC to a thread, or runs it at once if the thread can be interrupted.
pub fn queue(thread: &'static Thread, apc: Apc) {
    let run_now = {
        let mut pending = thread.apcs.lock();
        if can_interrupt(thread) {
            Some(apc)
        } else {
            pending.push(apc);
            thread.apcs_wait.store(true, Ordering::Release);
            barrier(thread);
            if can_interrupt(thread) {
                pending.pop()
            } else {
                None
            }
        }
    };
    if let Some(apc) = run_now {
        apc();
    }
}

/// The host can make all threads of the process pass a barrier (membarrier(2)).
static HAS_BARRIER: AtomicBool = AtomicBool::new(false);

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: The commands of this file touch no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Asks for the host's barrier, once, before the first thread exists.
pub(crate) fn prepare() {
    let has = membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    HAS_BARRIER.store(has, Ordering::Relaxed);
}

/// Between saying that an APC waits for `thread`, and looking whether it can be interrupted; [`lowered`] does the same in the
/// other order.
///
/// One of the two must see what the other one has written. IRQLs fall all the time and APCs are queued seldom, so this side
/// pays for both: the host makes `thread` pass a barrier. Either it had written its IRQL by then, which is seen here, or it
/// looks for APCs after that.
fn barrier(thread: &Thread) {
    if thread::try_current().is_some_and(|current| current.id == thread.id) {
        return;
    }
    if !HAS_BARRIER.load(Ordering::Relaxed) {
        fence(Ordering::SeqCst);
    } else if !membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
        crate::stop::host_failure("membarrier failed, which the host had promised");
    }
}

/// The current thread has just come below `APC_LEVEL`: runs what is queued to it.
pub(crate) fn lowered(thread: &Thread) {
    if HAS_BARRIER.load(Ordering::Relaxed) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
    if thread.apcs_wait.load(Ordering::Acquire) {
        deliver();
    }
}

/// Runs what is queued to the current thread if it can be interrupted now. Called when the IRQL falls or a region ends.
pub fn deliver() {
    let thread = thread::current();
    while can_interrupt(thread) {
        let next = {
            let mut pending = thread.apcs.lock();
            if pending.is_empty() {
                thread.apcs_wait.store(false, Ordering::Release);
                return;
            }
            pending.remove(0)
        };
        next();
    }
}
