//! Special kernel APCs, as far as the I/O manager needs them: the last step of a thread-associated IRP.
//!
//! What such an APC does (write the status block, set the event, free the IRP) is host work, so it is done by whoever
//! completes the IRP if the issuing thread could be interrupted at that moment. At APC_LEVEL or in a guarded region it
//! stays queued: a wait there never ends, which is the trap that "IoBuildDeviceIoControlRequest" warns of.

use std::sync::atomic::Ordering;

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
            None
        }
    };
    if let Some(apc) = run_now {
        apc();
    }
}

/// Runs what is queued to the current thread if it can be interrupted now. Called when the IRQL falls or a region ends.
pub fn deliver() {
    let thread = thread::current();
    while can_interrupt(thread) {
        let next = {
            let mut pending = thread.apcs.lock();
            if pending.is_empty() {
                return;
            }
            pending.remove(0)
        };
        next();
    }
}
