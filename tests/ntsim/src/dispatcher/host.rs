//! Where the host program and the simulation meet: host threads that call in, host code that blocks, host-side events.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::{Sleep, lock};
use crate::explore;
use crate::layout::ke;
use crate::thread::{self, Thread};

/// An event of the host in the shape of a KEVENT, so that simulated threads can wait for it like for any other object.
pub struct HostEvent {
    words: Box<[u64; 3]>,
}

impl HostEvent {
    /// A manual-reset event, not signalled.
    pub fn manual() -> Self {
        Self::new(ke::NOTIFICATION_EVENT)
    }

    /// An auto-reset event, not signalled.
    pub fn auto() -> Self {
        Self::new(ke::SYNCHRONIZATION_EVENT)
    }

    fn new(kind: u8) -> Self {
        let event = Self {
            words: Box::new([0; 3]),
        };
        ke::Header(event.address()).kind().set(kind);
        event
    }

    /// The address that stands for it in waits.
    pub fn address(&self) -> usize {
        self.words.as_ptr() as usize
    }

    /// Signals it.
    pub fn set(&self) {
        lock().signal(self.address(), 1);
    }

    /// Waits for it on a simulated thread.
    pub fn wait(&self, sleep: Sleep) {
        super::wait_one(self.address(), sleep);
    }
}

/// Work of the host that is under way and will wake someone: the clock does not jump meanwhile.
#[must_use = "the hold ends when it is dropped"]
pub struct Hold(());

/// Begins a hold.
pub fn hold() -> Hold {
    lock().runnable += 1;
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock().stopped_running();
    }
}

/// A source outside of the simulation which may wake someone at any moment: the clock runs with real time meanwhile.
#[must_use = "the source counts as active until this is dropped"]
pub struct External(());

/// Declares an active outside source.
pub fn external() -> External {
    lock().external += 1;
    External(())
}

impl Drop for External {
    fn drop(&mut self) {
        lock().source_ended();
    }
}

/// Runs host code that may block on the current simulated thread; the thread counts as sleeping.
///
/// What ends the block must be an [`External`] source, a [`Hold`], or another thread of the host.
pub fn while_idle<R>(block: impl FnOnce() -> R) -> R {
    lock().stopped_running();
    if explore::on() {
        explore::begin_outside();
    }
    let result = block();
    lock().runnable += 1;
    if explore::on() {
        explore::end_outside();
    }
    result
}

/// The end of a host thread that was attached to the simulation when it first called in.
struct Actor(Cell<bool>);

impl Drop for Actor {
    fn drop(&mut self) {
        if let Some(thread) = self.0.get().then(thread::try_current).flatten()
            && !thread.exited.swap(true, Ordering::AcqRel)
        {
            super::thread_ends(thread);
            if explore::on() {
                explore::host_ended(thread);
            }
        }
    }
}

thread_local! {
    static ACTOR: Actor = const { Actor(Cell::new(false)) };
}

/// Attaches the calling thread of the host to the simulation as a thread of the user process.
///
/// While it is not waiting inside a call it counts as running, since it may make the next call at any moment: time keeps
/// real time and no hang is reported. A host thread that only joins others says so with [`while_idle`].
pub fn attach() -> &'static Thread {
    let thread = thread::current();
    if !thread.system {
        ACTOR.with(|actor| actor.0.set(true));
    }
    thread
}

/// Runs a function on a system thread and returns what it returned: in place if this is one, else on a new thread.
pub fn on_system_thread<R: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> R + Send + 'static,
) -> R {
    if attach().system {
        return run();
    }
    let slot: Arc<Mutex<Option<R>>> = Arc::new(Mutex::new(None));
    let result = Arc::clone(&slot);
    let thread = thread::spawn(name, true, Box::new(move || *result.lock() = Some(run())));
    super::wait_one(thread.object, Sleep::Wanted);
    let result = slot.lock().take();
    result.unwrap_or_else(|| {
        crate::stop::host_failure(&format!(
            "the system thread \"{name}\" ended without a result"
        ))
    })
}
