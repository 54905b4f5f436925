//! Dispatcher objects and waits: the one place where a simulated thread sleeps.
//!
//! The state of an object lives where the driver put it (`SignalState` is kept truthful); who waits for what lives in host
//! tables keyed by the object's address, under one lock. A waiter leaves a wait only through that lock, so the thread that
//! signals an object has made its last touch of the driver's memory before the waiter can go on and free it.
//!
//! The same lock counts who runs. When nobody does, [`crate::clock`] moves the time on or reports a hang.

pub mod apc;
pub mod dpc;
pub mod event;
pub mod hang;
pub mod host;
pub mod mutex;
pub mod routines;
pub mod semaphore;
pub mod timer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::explore;
use crate::layout::ke::{self, Header};
use crate::thread::{self, Thread};

/// STATUS_SUCCESS, also STATUS_WAIT_0.
pub const WAIT_0: u32 = 0;
/// What [`in_use`] says of a running timer.
pub const RUNNING_TIMER: &str = "a running timer";
/// STATUS_TIMEOUT.
pub const STATUS_TIMEOUT: u32 = 0x102;

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Until the object is signalled.
    Never,
    /// Do not wait, only look.
    Zero,
    /// Until this interrupt time (100 ns units of virtual time).
    At(u64),
}

/// What a sleeping thread means for the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// Someone needs this wait to end: it counts when a hang is looked for.
    Wanted,
    /// A server thread with nothing to do.
    Idle,
}

/// What a deadline does when its time has come.
pub(crate) enum Deadline {
    /// Ends a wait with STATUS_TIMEOUT.
    Wait(u64),
    /// Expires the KTIMER at this address.
    Timer(usize),
    /// Runs on the clock's thread, outside the lock.
    Host(Box<dyn FnOnce() + Send>),
}

/// One sleeping thread.
pub(crate) struct Wait {
    pub(crate) thread: &'static Thread,
    pub(crate) objects: Vec<usize>,
    pub(crate) all: bool,
    pub(crate) sleep: Sleep,
    pub(crate) caller: usize,
    pub(crate) since: u64,
    deadline: Option<(u64, u64)>,
    outcome: Option<u32>,
    wake: Arc<Condvar>,
}

/// Everything under the dispatcher lock.
#[derive(Default)]
pub(crate) struct State {
    /// Simulated threads that are not sleeping here, plus holds of the host.
    pub(crate) runnable: usize,
    /// Sources outside of the simulation that may wake someone at any moment.
    pub(crate) external: usize,
    pub(crate) waits: BTreeMap<u64, Wait>,
    queues: HashMap<usize, VecDeque<u64>>,
    pub(crate) deadlines: BTreeMap<(u64, u64), Deadline>,
    /// The deadline that the clock sleeps for. It need not exist any more: then the clock finds that out when it wakes.
    pub(crate) clock_sleeps_until: Option<u64>,
    pub(crate) timers: HashMap<usize, (u64, u64)>,
    pub(crate) dpcs: VecDeque<dpc::Queued>,
    /// How many waits have put their thread to sleep.
    pub(crate) sleeps: u64,
    sequence: u64,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// The dispatcher lock.
pub(crate) struct Locked(MutexGuard<'static, Option<State>>);

impl std::ops::Deref for Locked {
    type Target = State;

    fn deref(&self) -> &State {
        self.0
            .as_ref()
            .expect("the dispatcher lock was taken, which makes its state")
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        self.0
            .as_mut()
            .expect("the dispatcher lock was taken, which makes its state")
    }
}

impl Locked {
    /// Sleeps on a condition of the host with the lock released.
    pub(crate) fn sleep(&mut self, on: &Condvar) {
        on.wait(&mut self.0);
    }

    /// As [`Self::sleep`], for a limited real time; whether it was over.
    pub(crate) fn sleep_for(&mut self, on: &Condvar, limit: std::time::Duration) -> bool {
        on.wait_for(&mut self.0, limit).timed_out()
    }
}

/// Takes the dispatcher lock.
pub(crate) fn lock() -> Locked {
    let mut guard = STATE.lock();
    guard.get_or_insert_default();
    Locked(guard)
}

impl State {
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Adds a deadline; the key cancels it.
    pub(crate) fn add_deadline(&mut self, at: u64, what: Deadline) -> (u64, u64) {
        let key = (at, self.next_sequence());
        self.deadlines.insert(key, what);
        if self.clock_sleeps_until.is_none_or(|until| at < until) {
            crate::clock::nudge();
        }
        key
    }

    /// One thread less runs.
    pub(crate) fn stopped_running(&mut self) {
        debug_assert!(self.runnable > 0, "more threads stopped than ran");
        self.runnable = self.runnable.saturating_sub(1);
        self.look_for_quiet();
    }

    /// One outside source less may wake someone.
    pub(crate) fn source_ended(&mut self) {
        debug_assert!(self.external > 0, "more sources ended than began");
        self.external = self.external.saturating_sub(1);
        self.look_for_quiet();
    }

    /// Nothing happens any more by itself: the clock jumps, or reports a hang.
    pub(crate) fn is_quiet(&self) -> bool {
        self.runnable == 0 && self.external == 0
    }

    /// Has the clock look if it is its turn. Otherwise it sleeps on: a thread of the host is not woken for nothing.
    fn look_for_quiet(&self) {
        if self.is_quiet() {
            crate::clock::nudge();
        }
    }

    /// Lets waiters of an object go while its state allows. Call after each change to a more signalled state.
    pub(crate) fn scan(&mut self, object: usize) {
        let ids: Vec<u64> = match self.queues.get(&object) {
            Some(queue) => queue.iter().copied().collect(),
            None => return,
        };
        for id in ids {
            let Some(wait) = self.waits.get(&id) else {
                continue;
            };
            if wait.outcome.is_some() {
                continue;
            }
            if let Some(status) = satisfied(&wait.objects, wait.all, wait.thread) {
                self.finish(id, status);
            }
        }
    }

    /// Ends a wait.
    pub(crate) fn finish(&mut self, id: u64, status: u32) {
        let Some(wait) = self.waits.get_mut(&id) else {
            return;
        };
        if wait.outcome.is_some() {
            return;
        }
        wait.outcome = Some(status);
        if explore::on() {
            explore::ready(wait.thread);
        } else {
            wait.wake.notify_one();
        }
        let (objects, deadline) = (std::mem::take(&mut wait.objects), wait.deadline.take());
        for object in objects {
            if let Some(queue) = self.queues.get_mut(&object) {
                queue.retain(|other| *other != id);
                if queue.is_empty() {
                    self.queues.remove(&object);
                }
            }
        }
        if let Some(key) = deadline {
            self.deadlines.remove(&key);
        }
        self.runnable += 1;
    }

    /// Marks an object signalled with a state and lets its waiters go.
    pub(crate) fn signal(&mut self, object: usize, state: i32) {
        Header(object).signal_state().set(state);
        self.scan(object);
    }

    /// Objects of a memory range which someone waits for, and running timers in it.
    pub(crate) fn in_use(&self, start: usize, length: usize) -> Option<(usize, &'static str)> {
        let range = start..start.saturating_add(length);
        let waited = self
            .queues
            .keys()
            .find(|object| range.contains(object))
            .map(|object| (*object, "a wait"));
        waited.or_else(|| {
            self.timers
                .keys()
                .find(|timer| range.contains(timer))
                .map(|timer| (*timer, RUNNING_TIMER))
        })
    }
}

/// Whether anyone but the calling thread runs, or is about to.
pub(crate) fn others_run() -> bool {
    lock().runnable > 1
}

/// Tells whether someone waits for an object in a memory range, or a timer in it runs: then the memory must not be freed.
pub fn in_use(start: usize, length: usize) -> Option<(usize, &'static str)> {
    lock().in_use(start, length)
}

/// Whether an object lets this thread through.
fn is_signalled(object: usize, thread: &Thread) -> bool {
    let header = Header(object);
    header.signal_state().get() > 0
        || (header.kind().get() & 0x7f == ke::MUTANT
            && ke::Mutant(object).owner().get() == thread.object)
}

/// What passing an object does to it.
fn consume(object: usize, thread: &Thread) {
    let header = Header(object);
    match header.kind().get() & 0x7f {
        ke::SYNCHRONIZATION_EVENT | ke::SYNCHRONIZATION_TIMER => header.signal_state().set(0),
        ke::SEMAPHORE => header.signal_state().set(header.signal_state().get() - 1),
        ke::MUTANT => mutex::take(object, thread),
        _ => {}
    }
}

/// Passes a set of objects if their states allow it now.
fn satisfied(objects: &[usize], all: bool, thread: &Thread) -> Option<u32> {
    if all {
        if objects.iter().all(|object| is_signalled(*object, thread)) {
            for object in objects {
                consume(*object, thread);
            }
            return Some(WAIT_0);
        }
        return None;
    }
    let index = objects
        .iter()
        .position(|object| is_signalled(*object, thread))?;
    consume(*objects.get(index)?, thread);
    u32::try_from(index).ok().map(|index| WAIT_0 + index)
}

/// Waits for one or all of some objects; the addresses are of dispatcher headers.
///
/// IRQL rules are the caller's business. `caller` is the driver's return address, for reports.
pub fn wait(objects: &[usize], all: bool, timeout: Timeout, sleep: Sleep, caller: usize) -> u32 {
    let thread = thread::current();
    let mut state = lock();
    if let Some(status) = satisfied(objects, all, thread) {
        return status;
    }
    let at = match timeout {
        Timeout::Zero => return STATUS_TIMEOUT,
        Timeout::At(at) if at <= crate::clock::interrupt_time() => return STATUS_TIMEOUT,
        Timeout::At(at) => Some(at),
        Timeout::Never => None,
    };
    let id = state.next_sequence();
    let deadline = at.map(|at| state.add_deadline(at, Deadline::Wait(id)));
    let wake = Arc::new(Condvar::new());
    for object in objects {
        state.queues.entry(*object).or_default().push_back(id);
    }
    let since = crate::clock::interrupt_time();
    let objects = objects.to_vec();
    state.waits.insert(
        id,
        Wait {
            thread,
            objects,
            all,
            sleep,
            caller,
            since,
            deadline,
            outcome: None,
            wake: Arc::clone(&wake),
        },
    );
    state.sleeps += 1;
    state.stopped_running();
    if explore::on() {
        drop(state);
        explore::block();
        state = lock();
    }
    loop {
        if let Some(status) = state.waits.get(&id).and_then(|wait| wait.outcome) {
            state.waits.remove(&id);
            return status;
        }
        state.sleep(&wake);
    }
}

/// Waits for one object of the host or the kernel itself.
pub fn wait_one(object: usize, sleep: Sleep) {
    wait(&[object], false, Timeout::Never, sleep, 0);
}

/// A simulated thread exists and counts as running; called before its code runs.
pub(crate) fn thread_begins(thread: &Thread) {
    let header = Header(thread.object);
    event::make(thread.object, ke::THREAD, false);
    header.size().set(0);
    lock().runnable += 1;
    if explore::on() {
        explore::created(thread);
    }
}

/// A simulated thread ends: its object becomes signalled.
pub(crate) fn thread_ends(thread: &Thread) {
    mutex::check_none_owned(thread);
    let mut state = lock();
    state.signal(thread.object, 1);
    state.stopped_running();
}
