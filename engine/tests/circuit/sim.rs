//! The world that a circuit lives in: threads that can be counted, virtual time, and the waits of a kernel.
//!
//! Everything is kept under one mutex of the model checker. A thread that waits is not *running*; when nobody runs, the
//! world is quiet, and time may pass.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rxce_engine::circuit::Waited;
use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

/// One second of virtual time in units of 100 ns.
pub(crate) const SECOND: u64 = 10_000_000;

/// When virtual time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// A time-out may strike at any moment, and what comes later comes at any moment.
    Hasty,
    /// Time passes only while nobody runs, from one due moment to the next.
    Patient,
}

/// What a thread does.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The one wait for progress.
struct Wait {
    deadline: Option<u64>,
    /// The time-out does not wait for a quiet world.
    early: bool,
    expired: bool,
}

struct State {
    clock: Clock,
    now: u64,
    running: usize,
    parked: usize,
    epoch: u64,
    future: Vec<(u64, Job)>,
    last_resort: Option<Job>,
    threads: Vec<JoinHandle<()>>,
    signalled: bool,
    wait: Option<Wait>,
    gates: Vec<bool>,
    references: usize,
    running_down: bool,
    over: bool,
}

impl State {
    /// What happens next once the world is quiet.
    fn next_due(&self) -> Option<u64> {
        let deadline = self
            .wait
            .as_ref()
            .filter(|wait| !wait.expired)
            .and_then(|wait| wait.deadline);
        let job = self.future.iter().map(|&(due, _)| due).min();
        deadline.into_iter().chain(job).min()
    }

    fn strikes_early(&self) -> bool {
        self.wait
            .as_ref()
            .is_some_and(|wait| wait.early && !wait.expired)
    }
}

/// One world; it lives for one execution.
pub(crate) struct Sim {
    state: Mutex<State>,
    changed: Condvar,
    clock: Condvar,
    moment: shuttle::sync::atomic::AtomicBool,
    started: AtomicBool,
}

impl Sim {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                clock,
                now: 0,
                running: 0,
                parked: 0,
                epoch: 0,
                future: Vec::new(),
                last_resort: None,
                threads: Vec::new(),
                signalled: false,
                wait: None,
                gates: Vec::new(),
                references: 0,
                running_down: false,
                over: false,
            }),
            changed: Condvar::new(),
            clock: Condvar::new(),
            moment: shuttle::sync::atomic::AtomicBool::new(false),
            started: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }

    /// A moment at which another thread may run.
    pub(crate) fn step(&self) {
        self.moment.load(Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.lock().now
    }

    /// Runs each job on a thread of its own; time does not pass before all are there.
    pub(crate) fn spawn_all(self: &Arc<Self>, jobs: impl IntoIterator<Item = Job>) {
        let mut state = self.lock();
        for job in jobs {
            self.spawn_locked(&mut state, job);
        }
    }

    fn spawn_locked(self: &Arc<Self>, state: &mut State, job: Job) {
        state.running += 1;
        let sim = self.clone();
        let thread = thread::spawn(move || {
            job();
            let mut state = sim.lock();
            state.running -= 1;
            if state.running == 0 {
                sim.clock.notify_one();
            }
        });
        state.threads.push(thread);
    }

    /// Runs `job` on a thread of its own after `delay`, or at any moment if the clock is hasty.
    pub(crate) fn later(self: &Arc<Self>, delay: u64, job: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        match state.clock {
            Clock::Hasty => self.spawn_locked(&mut state, Box::new(job)),
            Clock::Patient => {
                let due = state.now + delay;
                state.future.push((due, Box::new(job)));
            }
        }
    }

    /// Runs `job` on a thread of its own if the world comes to a halt: nobody runs, and nothing is going to happen.
    pub(crate) fn as_last_resort(&self, job: impl FnOnce() + Send + 'static) {
        self.lock().last_resort = Some(Box::new(job));
    }

    /// Lets everything that was started come to its end, whatever it starts itself included.
    pub(crate) fn settle(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            let sim = self.clone();
            thread::spawn(move || sim.run_clock());
        }
        loop {
            let threads = {
                let mut state = self.lock();
                while state.threads.is_empty() && !state.future.is_empty() {
                    state = self.changed.wait(state).expect("no thread has panicked");
                }
                mem::take(&mut state.threads)
            };
            if threads.is_empty() {
                return;
            }
            for thread in threads {
                thread.join().expect("no thread has panicked");
            }
        }
    }

    /// Stops the clock.
    pub(crate) fn stop(&self) {
        self.lock().over = true;
        self.clock.notify_one();
    }

    fn run_clock(self: &Arc<Self>) {
        let mut state = self.lock();
        while !state.over {
            if state.strikes_early() {
                self.expire(&mut state);
                continue;
            }
            let due = state.next_due();
            if let Some(due) = due.filter(|_| state.running == 0) {
                self.pass_to(&mut state, due);
                continue;
            }
            if state.running == 0
                && state.parked > 0
                && let Some(job) = state.last_resort.take()
            {
                self.spawn_locked(&mut state, job);
                continue;
            }
            state = self.clock.wait(state).expect("no thread has panicked");
        }
    }

    fn pass_to(self: &Arc<Self>, state: &mut State, due: u64) {
        state.now = due;
        // What the transport does at the moment of a deadline comes in time.
        if let Some(at) = state.future.iter().position(|&(when, _)| when == due) {
            let (_, job) = state.future.swap_remove(at);
            self.spawn_locked(state, job);
            self.changed.notify_all();
        } else {
            self.expire(state);
        }
    }

    fn expire(&self, state: &mut State) {
        if let Some(wait) = &mut state.wait {
            wait.expired = true;
            let deadline = wait.deadline;
            state.now = deadline.unwrap_or(state.now).max(state.now);
            self.wake(state);
        }
    }

    fn wake(&self, state: &mut State) {
        if state.parked > 0 {
            state.epoch += 1;
            state.running += mem::take(&mut state.parked);
            self.changed.notify_all();
        }
    }

    fn block_until<R>(&self, mut ready: impl FnMut(&mut State) -> Option<R>) -> R {
        let mut state = self.lock();
        loop {
            if let Some(result) = ready(&mut state) {
                return result;
            }
            let epoch = state.epoch;
            state.running -= 1;
            state.parked += 1;
            if state.running == 0 || state.strikes_early() {
                self.clock.notify_one();
            }
            while state.epoch == epoch {
                state = self.changed.wait(state).expect("no thread has panicked");
            }
        }
    }

    /// Sets the auto-reset event.
    pub(crate) fn signal(&self) {
        let mut state = self.lock();
        state.signalled = true;
        self.wake(&mut state);
    }

    /// Waits for the auto-reset event, which has one waiter at most.
    pub(crate) fn wait(&self, limit: Option<u64>) -> Waited {
        let mut entered = false;
        self.block_until(|state| {
            if !entered {
                assert!(state.wait.is_none(), "two threads wait for progress");
                entered = true;
                let hasty = state.clock == Clock::Hasty;
                state.wait = Some(Wait {
                    deadline: limit.map(|limit| state.now + limit),
                    early: limit.is_some() && hasty && thread_rng().gen_bool(0.5),
                    expired: false,
                });
            }
            let result = if mem::take(&mut state.signalled) {
                Waited::Signalled
            } else if state.wait.as_ref().is_some_and(|wait| wait.expired) {
                Waited::TimedOut
            } else {
                return None;
            };
            state.wait = None;
            Some(result)
        })
    }

    /// A new event that stays set.
    pub(crate) fn gate(&self) -> usize {
        let mut state = self.lock();
        state.gates.push(false);
        state.gates.len() - 1
    }

    pub(crate) fn open_gate(&self, gate: usize) {
        let mut state = self.lock();
        state.gates[gate] = true;
        self.wake(&mut state);
    }

    pub(crate) fn pass_gate(&self, gate: usize) {
        self.block_until(|state| state.gates[gate].then_some(()));
    }

    /// Takes a reference to the circuit; fails once the run-down has begun.
    pub(crate) fn acquire(&self) -> bool {
        let mut state = self.lock();
        if !state.running_down {
            state.references += 1;
        }
        !state.running_down
    }

    pub(crate) fn release(&self) {
        let mut state = self.lock();
        assert!(state.references > 0, "a reference was released twice");
        state.references -= 1;
        if state.references == 0 {
            self.wake(&mut state);
        }
    }

    /// Waits until every reference is released; no new ones are given.
    pub(crate) fn run_down(&self) {
        self.block_until(|state| {
            state.running_down = true;
            (state.references == 0).then_some(())
        });
    }

    /// Whether nobody has a reference.
    pub(crate) fn is_free(&self) -> bool {
        self.lock().references == 0
    }
}
