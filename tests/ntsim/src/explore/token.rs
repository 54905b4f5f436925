//! The token: who runs, and waiting for one's turn.
//!
//! Lock order: dispatcher → session. The holder of the token is the only simulated thread that runs, so that what it does
//! between two of these calls is not interleaved with anything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::choice::Schedule;
use super::search::{Answer, Decision, Plan, Search};
use crate::clock;
use crate::thread::{self, Thread};
use crate::trace::{self, EventKind};

/// Pauses in a row, without a wait in between, after which the clock moves on.
const PAUSES_PER_TICK: u64 = 100;
/// And after which nothing is expected to come of them any more.
const MOST_PAUSES: u64 = 1_000_000;

/// What a search has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Schedules that ran to their end. Those that turned out to repeat another one do not count.
    pub schedules: u64,
    /// Most decisions of a schedule.
    pub decisions: usize,
    /// Whether no schedule is left.
    pub exhausted: bool,
    /// Schedules that did not meet the decisions they had met before. Anything but 0 is a defect of the exploration.
    pub diverged: u64,
    /// The schedule that ran last.
    pub last: Schedule,
    /// The one that an exhaustive search runs next.
    pub next: Schedule,
    /// What the schedules did, in one number: who came to which decision, and who went on.
    pub hash: u64,
    /// How often a thread was preempted in the last schedule, between two instructions or at a call.
    pub preempted: usize,
}

struct Seat {
    thread: &'static Thread,
    wake: Arc<Condvar>,
}

/// A thread that spins for a lock.
struct Spinner {
    thread: u32,
    lock: usize,
}

#[derive(Default)]
struct Session {
    seats: HashMap<u32, Seat>,
    /// Who could run, by when they became ready.
    ready: VecDeque<u32>,
    /// Who could, but polls: someone else has to do something first.
    paused: Vec<u32>,
    spinners: Vec<Spinner>,
    current: Option<u32>,
    /// Threads of the host that are busy elsewhere.
    outside: usize,
    pauses: u64,
    search: Option<Search>,
    images: Vec<String>,
    stepping: bool,
    /// The schedule that ran last.
    last: Schedule,
    /// Threads of this schedule by number.
    seen: Vec<u32>,
    hash: u64,
    preempted: usize,
}

/// A schedule runs.
static DECIDING: AtomicBool = AtomicBool::new(false);

/// Whether a schedule runs.
pub(super) fn deciding() -> bool {
    DECIDING.load(Ordering::Relaxed)
}

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// The session, locked.
struct Guard(MutexGuard<'static, Option<Session>>);

impl core::ops::Deref for Guard {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0.as_ref().expect("`session` made it")
    }
}

impl core::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Session {
        self.0.as_mut().expect("`session` made it")
    }
}

fn session() -> Guard {
    let mut guard = SESSION.lock();
    guard.get_or_insert_default();
    Guard(guard)
}

impl Session {
    fn number(&mut self, thread: u32) -> usize {
        if let Some(number) = self.seen.iter().position(|&seen| seen == thread) {
            return number;
        }
        self.seen.push(thread);
        self.seen.len() - 1
    }

    /// FNV-1a.
    fn mix(&mut self, value: u64) {
        for byte in value.to_le_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    /// Decides among the ready threads; `running` goes first if it is one, and may be steppable.
    fn decide(&mut self, running: Option<(u32, bool)>) -> (Option<u32>, Answer) {
        let mut options: Vec<u32> = running.iter().map(|(thread, _)| *thread).collect();
        options.extend(self.ready.iter().copied());
        let mut answer = Answer::default();
        if deciding() && options.len() > 1 {
            let ready = options.iter().map(|&thread| self.number(thread)).collect();
            if let Some(search) = &mut self.search {
                answer = search.decide(Decision {
                    ready,
                    running: running.is_some(),
                    steppable: running.is_some_and(|(_, steppable)| steppable),
                });
            }
        }
        let chosen = options.get(answer.option).copied();
        if deciding()
            && let Some(chosen) = chosen
        {
            let number = self.number(chosen);
            self.mix(number as u64);
            self.mix(answer.steps as u64);
        }
        (chosen, answer)
    }

    fn looks_at(&self, image: &str) -> bool {
        self.images.is_empty() || self.images.iter().any(|known| known == image)
    }

    fn give(&mut self, next: u32) {
        self.ready.retain(|&other| other != next);
        self.current = Some(next);
        if let Some(seat) = self.seats.get(&next) {
            seat.wake.notify_one();
        }
    }
}

/// A thread exists and can run.
pub(crate) fn created(thread: &Thread) {
    // SAFETY: The list of all threads holds a reference for ever, so that the object is never freed.
    let thread: &'static Thread = unsafe { &*core::ptr::from_ref(thread) };
    let mut session = session();
    let wake = Arc::new(Condvar::new());
    session.seats.insert(thread.id, Seat { thread, wake });
    make_ready(&mut session, thread.id);
}

fn make_ready(session: &mut Session, thread: u32) {
    if !session.ready.contains(&thread) {
        session.ready.push_back(thread);
    }
    // Otherwise it is that thread's turn later; a thread that is woken before it sleeps finds itself ready.
    if session.current.is_none() {
        session.give(thread);
    }
}

/// A wait of this thread is over.
pub(crate) fn ready(thread: &Thread) {
    make_ready(&mut session(), thread.id);
}

/// Waits for this thread's first turn.
pub(crate) fn enter(thread: &Thread) {
    wait_for_turn(session(), thread.id);
}

fn wait_for_turn(mut guard: Guard, me: u32) {
    let Some(wake) = guard.seats.get(&me).map(|seat| Arc::clone(&seat.wake)) else {
        return;
    };
    while guard.current != Some(me) {
        wake.wait(&mut guard.0);
    }
}

/// The thread that runs has to wait: others go on, until it is ready and chosen.
pub(crate) fn block() {
    let me = thread::current().id;
    pass_on(Some(me));
}

/// The current thread has ended.
pub(crate) fn leave(thread: &Thread) {
    session().seats.remove(&thread.id);
    pass_on(None);
}

/// Gives the token to a thread that is ready, moving the clock on if none is; then `me` waits for its turn.
fn pass_on(me: Option<u32>) {
    let mut guard = session();
    guard.pauses = 0;
    guard.current = None;
    let polling = core::mem::take(&mut guard.paused);
    guard.ready.extend(polling);
    let (next, _) = guard.decide(None);
    match next {
        Some(next) => guard.give(next),
        None => guard = idle(guard),
    }
    if let Some(me) = me {
        wait_for_turn(guard, me);
    }
}

/// Nobody can run: moves the clock on until somebody has the token, or nothing can come any more.
fn idle(mut guard: Guard) -> Guard {
    while guard.current.is_none() {
        drop(guard);
        let moved = clock::advance();
        guard = session();
        if moved {
            continue;
        }
        let wanted = !guard.spinners.is_empty() || clock::anyone_waits();
        if wanted && guard.outside == 0 && guard.current.is_none() {
            drop(guard);
            clock::hang();
        }
        break;
    }
    guard
}

/// The current thread polls: others go first.
pub(crate) fn pause() {
    let me = thread::current().id;
    let mut guard = session();
    guard.pauses += 1;
    let tick = guard.ready.is_empty() || guard.pauses.is_multiple_of(PAUSES_PER_TICK);
    if guard.pauses > MOST_PAUSES {
        drop(guard);
        clock::hang();
    }
    if tick {
        drop(guard);
        let _ = clock::advance();
        guard = session();
    }
    if guard.ready.is_empty() {
        return;
    }
    let polling = core::mem::replace(&mut guard.paused, vec![me]);
    let (next, _) = guard.decide(None);
    guard.ready.extend(polling);
    if let Some(next) = next {
        guard.give(next);
    }
    wait_for_turn(guard, me);
}

/// The current thread spins for a lock that another one holds.
pub(crate) fn block_on_lock(lock: usize) {
    let me = thread::current().id;
    session().spinners.push(Spinner { thread: me, lock });
    pass_on(Some(me));
}

/// A lock was released: who spins for it tries again.
pub(crate) fn lock_released(lock: usize) {
    let mut session = session();
    let (free, rest) = core::mem::take(&mut session.spinners)
        .into_iter()
        .partition(|spinner| spinner.lock == lock);
    session.spinners = rest;
    let free: Vec<Spinner> = free;
    session
        .ready
        .extend(free.into_iter().map(|spinner| spinner.thread));
}

/// Threads that spin, with the locks they spin for.
pub(crate) fn blocked_on_locks() -> Vec<(&'static Thread, usize)> {
    let session = session();
    let seat = |spinner: &Spinner| {
        let seat = session.seats.get(&spinner.thread)?;
        Some((seat.thread, spinner.lock))
    };
    session.spinners.iter().filter_map(seat).collect()
}

/// The current thread leaves the simulation for a while: host code that blocks.
pub(crate) fn begin_outside() {
    session().outside += 1;
    pass_on(None);
}

/// A thread of the host program has ended, and the program may go on with others, or end.
pub(crate) fn host_ended(thread: &Thread) {
    session().seats.remove(&thread.id);
    begin_outside();
}

/// It is back.
pub(crate) fn end_outside() {
    let me = thread::current().id;
    let mut guard = session();
    guard.outside -= 1;
    make_ready(&mut guard, me);
    wait_for_turn(guard, me);
}

/// A place at which a thread can be preempted.
pub(super) struct Place<'a> {
    /// The driver it is about; none: it counts whatever drivers are looked at.
    pub(super) image: Option<&'a str>,
    /// Identifies it in the hash.
    pub(super) mark: u64,
    /// Driver code runs next.
    pub(super) steppable: bool,
    /// A decision even if nothing is stepped.
    pub(super) calls: bool,
}

/// The current thread is at a place at which it can be preempted. Returns after how many steps it is to come to
/// [`preempt_for`], and for whom.
pub(super) fn point(place: &Place<'_>) -> Option<(u32, usize)> {
    let me = thread::current().id;
    let mut guard = session();
    if !deciding() || !(place.calls || (guard.stepping && place.steppable)) {
        return None;
    }
    if place.image.is_some_and(|image| !guard.looks_at(image)) {
        return None;
    }
    let polling = core::mem::take(&mut guard.paused);
    guard.ready.extend(polling);
    let number = guard.number(me);
    guard.mix(number as u64);
    guard.mix(place.mark);
    let (next, answer) = guard.decide(Some((me, place.steppable)));
    let next = next.filter(|&next| next != me)?;
    if answer.steps != 0 {
        return Some((next, answer.steps));
    }
    switch(guard, me, next);
    None
}

/// Whether the search is about this driver.
pub(super) fn looks_at(image: &str) -> bool {
    session().looks_at(image)
}

/// Preempts the current thread where it is. `mark` identifies the place in the hash.
pub(super) fn preempt_for(next: u32, mark: u64) {
    let me = thread::current().id;
    let mut guard = session();
    guard.mix(mark);
    if guard.ready.contains(&next) {
        switch(guard, me, next);
    }
}

fn switch(mut guard: Guard, me: u32, next: u32) {
    guard.preempted += 1;
    guard.ready.push_back(me);
    let name = guard.seats.get(&next).map(|seat| seat.thread.name.clone());
    if trace::is_on() {
        drop(guard);
        trace::event(EventKind::Thread, 0, || {
            format!(
                "preempted; thread {next} \"{}\" goes on",
                name.unwrap_or_default()
            )
        });
        guard = session();
    }
    guard.give(next);
    wait_for_turn(guard, me);
}

/// The steps of the current thread led to its next decision too soon.
pub(super) fn too_short() {
    if let Some(search) = &mut session().search {
        search.too_short();
    }
}

/// Sets the plan of the schedules to come.
pub(super) fn search(plan: Plan, images: &[&str]) {
    let mut session = session();
    session.stepping = plan.steps();
    session.search = Some(Search::new(plan));
    session.hash = 0xCBF2_9CE4_8422_2325;
    session.images = images.iter().map(|&image| image.to_owned()).collect();
}

/// Begins a schedule; false if there is none.
pub(super) fn begin() -> bool {
    let mut session = session();
    let more = session.search.as_mut().is_some_and(Search::begin);
    if more {
        DECIDING.store(true, Ordering::Relaxed);
        if super::tells() {
            trace::set_recording(true);
        }
        session.seen.clear();
        session.preempted = 0;
        let me = session.current;
        if let Some(me) = me {
            session.number(me);
        }
    }
    more
}

/// Ends a schedule; whether one ran.
pub(super) fn end() -> bool {
    let mut session = session();
    let ran = DECIDING.swap(false, Ordering::Relaxed);
    if ran && let Some(search) = &mut session.search {
        let last = search.schedule();
        search.end();
        session.last = last;
        if super::tells() {
            trace::set_recording(false);
        }
    }
    ran
}

pub(super) fn running_schedule() -> Option<String> {
    // A stop may be met while the session is in use by this thread.
    let session = SESSION.try_lock_for(core::time::Duration::from_millis(200))?;
    let session = session.as_ref()?;
    let search = session.search.as_ref()?;
    if deciding() {
        Some(search.schedule().to_string())
    } else {
        Some(session.last.to_string())
    }
}

pub(super) fn report() -> Report {
    let session = session();
    let Some(search) = &session.search else {
        return Report::default();
    };
    Report {
        schedules: search.schedules(),
        decisions: search.longest(),
        exhausted: search.exhausted(),
        diverged: search.diverged(),
        last: session.last.clone(),
        next: search.schedule(),
        hash: session.hash,
        preempted: session.preempted,
    }
}
