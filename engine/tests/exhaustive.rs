//! Every interleaving of two or three parties' decisions, tried without exception.
//!
//! The procedures are those that ship. Around them stands the least that they run over: a decision under the circuit's
//! lock is one step, and the transport completes inside the call. What has more orders than can be tried in seconds
//! (sends against a tear-down, a connect against a disconnect) is left to the tests in `circuit`, which have a real
//! surrounding: completions on other threads, time-outs, run-down. There the schedules are samples.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex as Bookkeeping,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
};

use rxce_engine::{
    Error,
    circuit::{self, Circuit, Prepared, Submission, Waited, change},
    ledger::{Handover, InFlight, Kind, Ledger},
    life::{Built, Closing, Life, Mode, State},
};
use shuttle::{
    Config, Runner,
    scheduler::DfsScheduler,
    sync::{Condvar, Mutex},
    thread,
};

const RELEASE: u32 = 4;
const ABORT: u32 = 2;

/// The requests in flight, by number.
#[derive(Default)]
struct List {
    listed: Vec<usize>,
    /// Those for which the transport is known to have been called.
    called: BTreeSet<usize>,
}

impl InFlight for List {
    type Request = usize;

    fn insert(&mut self, request: &usize) {
        assert!(!self.listed.contains(request), "listed twice");
        self.listed.push(*request);
    }

    fn remove(&mut self, request: &usize) {
        let at = self.listed.iter().position(|listed| listed == request);
        self.listed
            .swap_remove(at.expect("only what is listed ends"));
    }

    fn note_called(&mut self, request: &usize) -> bool {
        self.called.insert(*request)
    }
}

/// What the outside has seen. No thread is switched away from while it counts.
#[derive(Default)]
struct Seen {
    releases: AtomicUsize,
    aborts: AtomicUsize,
    connects: AtomicUsize,
    sends: AtomicUsize,
    notices: AtomicUsize,
    tear_downs: AtomicUsize,
    /// Of an initiate that was not refused.
    initiated: AtomicUsize,
    built: AtomicI32,
}

struct Bare {
    ledger: Mutex<Ledger<List>>,
    progress: Condvar,
    signalled: AtomicBool,
    next: AtomicUsize,
    /// What the transport says to a connect.
    connect: i32,
    statuses: Bookkeeping<Vec<i32>>,
    shadow: Bookkeeping<State>,
    /// The client has written to its structure.
    damaged: AtomicBool,
    seen: Seen,
}

const CONNECT: usize = 2;

impl Bare {
    fn new(closing: Closing, build: Build) -> Self {
        let mut life = Life::new(closing);
        if build == Build::Over {
            assert_eq!(life.end_build(true), Built::Alive(None));
        }
        Self {
            ledger: Mutex::new(Ledger::new(life, List::default())),
            progress: Condvar::new(),
            signalled: AtomicBool::new(false),
            next: AtomicUsize::new(CONNECT + 1),
            connect: match build {
                Build::Over | Build::Succeeds => 0,
                Build::Fails => -1,
            },
            statuses: Bookkeeping::new(vec![i32::MIN; 16]),
            shadow: Bookkeeping::new(State::Active),
            damaged: AtomicBool::new(false),
            seen: Seen::default(),
        }
    }

    fn complete(&self, request: usize, kind: Kind, status: i32) {
        self.statuses.lock().expect("no thread has panicked")[request] = status;
        change(self, |ledger| ledger.remove(&request, kind));
    }

    fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The state that the last decision left, without a step of its own.
    fn state(&self) -> State {
        *self.shadow.lock().expect("no thread has panicked")
    }
}

impl Circuit for Bare {
    type Request = usize;
    type List = List;
    type Level = ();

    fn hold<R>(&self, decide: impl FnOnce(&mut Ledger<List>) -> R) -> R {
        let mut ledger = self.ledger.lock().expect("no thread has panicked");
        let result = decide(&mut ledger);
        *self.shadow.lock().expect("no thread has panicked") = ledger.life.state();
        result
    }

    fn shows(&self, _state: State) -> bool {
        !self.damaged.load(Ordering::Relaxed)
    }

    fn signal(&self) {
        self.signalled.store(true, Ordering::Relaxed);
        self.progress.notify_one();
    }

    fn wait(&self, (): &(), _limit_100ns: Option<u64>) -> Waited {
        let mut ledger = self.ledger.lock().expect("no thread has panicked");
        while !self.signalled.swap(false, Ordering::Relaxed) {
            ledger = self.progress.wait(ledger).expect("no thread has panicked");
        }
        Waited::Signalled
    }

    fn now_100ns(&self) -> u64 {
        0
    }

    fn new_disconnect(&self) -> Option<usize> {
        Some(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn discard(&self, _request: usize) {}

    fn prepared(&self, which: Prepared) -> Option<usize> {
        Some(match which {
            Prepared::First => 0,
            Prepared::Escalation => 1,
        })
    }

    fn call_driver(&self, request: usize, submission: Submission) {
        match submission {
            Submission::Connect => {
                Self::add(&self.seen.connects);
                self.complete(request, Kind::Connect, self.connect);
            }
            Submission::Disconnect(mode) => {
                Self::add(match mode {
                    Mode::Release => &self.seen.releases,
                    Mode::Abort => &self.seen.aborts,
                });
                self.complete(request, Kind::Other, 0);
            }
        }
    }

    /// A "no" may be late, and leads to one hold more.
    fn is_known_called(&self, _request: usize) -> bool {
        false
    }

    fn drop_part(&self, _request: usize) {}

    fn status(&self, request: usize) -> i32 {
        self.statuses.lock().expect("no thread has panicked")[request]
    }

    fn cancel_all(&self) {}

    fn close_endpoint(&self, (): &()) {
        panic!("nothing is kept that has to be closed");
    }
}

/// How far the circuit is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Over,
    /// One of the acts is [`Act::Connect`], and the transport lets it succeed.
    Succeeds,
    /// As above, and the transport lets it fail.
    Fails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Initiate,
    TearDown,
    Peer(u32),
    AddressError,
    Send,
    Connect,
}

impl Act {
    fn perform(self, vc: &Bare) {
        match self {
            Self::Initiate => match circuit::initiate_disconnect(vc).0 {
                Ok(()) => {
                    Bare::add(&vc.seen.initiated);
                    assert_ne!(vc.state(), State::Active, "SUCCESS, and still active");
                }
                Err(error) => {
                    assert_eq!(error, Error::InvalidParameter);
                    assert_eq!(vc.state(), State::TearDown, "refused, and no tear-down");
                }
            },
            Self::TearDown => match circuit::tear_down(vc, &(), || {}) {
                Ok(result) => {
                    assert_eq!(result, Ok(()));
                    Bare::add(&vc.seen.tear_downs);
                    assert!(vc.hold(|ledger| ledger.is_empty()), "not drained");
                }
                Err(error) => assert_eq!(error, Error::InvalidParameter),
            },
            Self::Peer(flags) => {
                let notice = change(vc, |ledger| ledger.life.remote_disconnect(flags));
                notice.inspect(|_| Bare::add(&vc.seen.notices));
            }
            Self::AddressError => {
                let notice = change(vc, |ledger| ledger.life.address_error(-7));
                notice.inspect(|_| Bare::add(&vc.seen.notices));
            }
            Self::Send => send(vc),
            Self::Connect => {
                let built = match circuit::connect(vc, &(), CONNECT) {
                    Ok(notice) => {
                        notice.inspect(|_| Bare::add(&vc.seen.notices));
                        1
                    }
                    Err(_) => -1,
                };
                vc.seen.built.store(built, Ordering::Relaxed);
            }
        }
    }
}

/// As the driver's `RxCeSend`.
fn send(vc: &Bare) {
    if !vc.hold(|ledger| ledger.life.admits_send()) {
        return;
    }
    let request = vc.next.fetch_add(1, Ordering::Relaxed);
    let admitted = vc.hold(|ledger| {
        let admitted = ledger.life.admits_send();
        if admitted {
            ledger.insert(&request, Kind::Other, Handover::Submitted);
        }
        admitted
    });
    if !admitted {
        return;
    }
    Bare::add(&vc.seen.sends);
    let drained = vc.seen.tear_downs.load(Ordering::Relaxed) > 0;
    assert!(!drained, "a send is submitted after the drain");
    vc.complete(request, Kind::Other, 0);
    circuit::note_return(vc, request);
}

/// What must be true of every interleaving.
fn judge(vc: &Bare, closing: Closing, acts: &[Act]) {
    let seen = &vc.seen;
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let has = |wanted: fn(&Act) -> bool| acts.iter().any(wanted);
    assert!(count(&seen.releases) <= 1, "two RELEASEs");
    assert!(count(&seen.aborts) <= 1, "two ABORTs");
    assert!(count(&seen.notices) <= 1, "the client is told twice");
    let built = seen.built.load(Ordering::Relaxed);
    let owners = count(&seen.tear_downs) + usize::from(built < 0);
    assert!(owners <= 1, "two own the circuit");
    assert!(closing == Closing::Orderly || count(&seen.releases) == 0);
    let (empty, quiet) = vc.hold(|ledger| (ledger.is_empty(), ledger.nobody_submits()));
    assert!(empty && quiet, "something is left");
    let peer = has(|act| matches!(act, Act::Peer(_) | Act::AddressError));
    let tear_down = has(|act| *act == Act::TearDown);
    if has(|act| *act == Act::Initiate) && !peer && !tear_down && built >= 0 {
        let disconnects = count(&seen.releases) + count(&seen.aborts);
        assert_eq!(disconnects, 1, "one disconnect for all initiates");
    }
    if tear_down && built == 0 {
        assert_eq!(count(&seen.tear_downs), 1, "one tear-down wins");
        if !peer {
            let disconnects = count(&seen.releases) + count(&seen.aborts);
            assert_eq!(disconnects, 1, "one disconnect for all");
        }
    }
    if built == 0 && peer && !tear_down && count(&seen.initiated) == 0 {
        assert_eq!(count(&seen.notices), 1, "the client is not told");
    }
}

/// Tries all interleavings, for either kind of provider.
fn exhaust(name: &str, build: Build, acts: &'static [Act]) {
    let mut schedules = 0;
    for closing in [Closing::Orderly, Closing::AbortOnly] {
        let scheduler = DfsScheduler::new(None, false);
        schedules += Runner::new(scheduler, Config::default()).run(move || {
            let vc = Arc::new(Bare::new(closing, build));
            let (first, others) = acts.split_first().expect("somebody acts");
            let threads: Vec<_> = others
                .iter()
                .map(|&act| {
                    let vc = vc.clone();
                    thread::spawn(move || act.perform(&vc))
                })
                .collect();
            first.perform(&vc);
            for thread in threads {
                thread.join().expect("no thread has panicked");
            }
            judge(&vc, closing, acts);
        });
    }
    evidence::record_with_note(
        evidence::Kind::Explored,
        &format!("all orders: {name}"),
        schedules as u64,
        "exhaustive",
    )
    .expect("figures can be written");
}

#[test]
fn a_state_that_the_client_has_damaged() {
    let runner = Runner::new(DfsScheduler::new(None, false), Config::new());
    runner.run(|| {
        let vc = Bare::new(Closing::Orderly, Build::Over);
        vc.damaged.store(true, Ordering::Relaxed);
        let (result, made) = circuit::initiate_disconnect(&vc);
        assert_eq!(result, Err(Error::InvalidParameter));
        assert_eq!(made, circuit::Made::Nothing);
        let cleaned_up = || panic!("not claimed, and waited for");
        let result = circuit::tear_down(&vc, &(), cleaned_up);
        assert_eq!(result, Err(Error::InvalidParameter));
        let (state, idle) = vc.hold(|ledger| (ledger.life.state(), ledger.is_empty()));
        assert_eq!((state, idle), (State::Active, true), "changed all the same");
    });
}

use Act::{AddressError, Connect, Initiate, Peer, Send, TearDown};

macro_rules! exhaust {
    ($($test:ident: $name:literal, $build:ident, [$($act:expr),*];)*) => {
        $(#[test]
        fn $test() {
            exhaust($name, Build::$build, &[$($act),*]);
        })*
    };
}

exhaust! {
    r1: "R1, two initiates", Over, [Initiate, Initiate];
    r2_release: "R2, initiate and a release", Over, [Initiate, Peer(RELEASE)];
    r2_abort: "R2, initiate and an abort", Over, [Initiate, Peer(ABORT)];
    r2_both: "R2, initiate, a release and an abort", Over, [Initiate, Peer(RELEASE), Peer(ABORT)];
    r3: "R3, initiate and tear-down", Over, [Initiate, TearDown];
    r4_release: "R4, a release and tear-down", Over, [Peer(RELEASE), TearDown];
    r5: "R5, two tear-downs", Over, [TearDown, TearDown];
    r6: "R6, send and initiate", Over, [Send, Initiate];
    r6_peer: "R6, send and an abort", Over, [Send, Peer(ABORT)];
    r10: "R10, an address error and initiate", Over, [AddressError, Initiate];
    r10_peer: "R10, an address error, a release and an abort", Over, [AddressError, Peer(RELEASE), Peer(ABORT)];
    r10_tear_down: "R10, an address error and tear-down", Over, [AddressError, TearDown];
    r14_peer: "R14, a connect that succeeds, and an abort", Succeeds, [Connect, Peer(ABORT)];
    r14_fails: "R14, a connect that fails, and a release", Fails, [Connect, Peer(RELEASE)];
    r14_tear_down: "R14, a connect that succeeds, and tear-down", Succeeds, [Connect, TearDown];
}
