//! The parts of a request, in every order of its holders and with every value that a weakly ordered memory may show: loom.
//!
//! Each test is the life of one request as the driver leads it. What belongs to the request is one cell, which a holder may only touch while
//! he has a part; loom reports two accesses that no part orders, and one after the last part was given up.

use std::panic;

use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};
use rxce_engine::parts::{Parts, Word};

/// loom's word, with the orders that it is told, or with none.
struct Modelled {
    word: AtomicU32,
    ordered: bool,
}

impl Modelled {
    fn order(&self, told: Ordering) -> Ordering {
        if self.ordered {
            told
        } else {
            Ordering::Relaxed
        }
    }
}

impl Word for Modelled {
    fn load(&self, order: Ordering) -> u32 {
        self.word.load(self.order(order))
    }

    fn store(&self, value: u32, order: Ordering) {
        self.word.store(value, self.order(order));
    }

    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.word.fetch_add(value, self.order(order))
    }

    fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.word.fetch_sub(value, self.order(order))
    }
}

/// A request: its parts, and what its holders use.
struct Request {
    parts: Parts<Modelled>,
    /// What loom watches: holders share it by reading it, and whoever has it alone writes it.
    contents: UnsafeCell<()>,
    /// Whether it is in the circuit's list. The lock is the circuit's.
    listed: Mutex<bool>,
    /// How many found that theirs was the last part.
    last: AtomicU32,
}

impl Request {
    /// One with so many parts.
    fn with(parts: u32, ordered: bool) -> Arc<Self> {
        let request = Self {
            parts: Parts::of(Modelled {
                word: AtomicU32::new(0),
                ordered,
            }),
            contents: UnsafeCell::new(()),
            listed: Mutex::new(true),
            last: AtomicU32::new(0),
        };
        request.parts.begin(parts);
        Arc::new(request)
    }

    /// What a holder does with it.
    fn using(&self) {
        self.contents.with(|_| ());
    }

    /// What only one may do who has it alone.
    fn renew(&self) {
        self.contents.with_mut(|_| ());
    }

    /// Gives a part up; whoever has the last one has the request alone, as it goes back to the pool or the shelf.
    fn give_up(&self) {
        if self.parts.give_up() {
            self.renew();
            self.last.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The submitter's way.
    fn submit(&self) {
        self.using();
        self.give_up();
    }

    /// The completion's way: out of the list, then the callback.
    fn complete(&self) {
        *self.listed.lock().expect("nobody panics with it") = false;
        self.using();
        self.give_up();
    }

    /// A canceller takes a part of what is listed.
    fn cancel(&self) {
        let found = {
            let listed = self.listed.lock().expect("nobody panics with it");
            if *listed {
                self.parts.add();
            }
            *listed
        };
        if found {
            self.using();
            self.give_up();
        }
    }

    fn ended_once(&self) {
        assert_eq!(self.last.load(Ordering::Relaxed), 1, "last parts");
        assert!(self.parts.is_none(), "somebody has a part");
    }
}

/// Something that a holder does.
type Way = fn(&Request);

/// Every order of threads with at most three preemptions: more take minutes with three holders.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut explorer = loom::model::Builder::new();
    explorer.preemption_bound = Some(3);
    explorer.check(model);
}

/// Runs the ways in threads of their own.
fn together(request: &Arc<Request>, ways: &[Way]) {
    let threads: Vec<_> = ways
        .iter()
        .map(|&way| {
            let request = Arc::clone(request);
            thread::spawn(move || way(&request))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no holder panics");
    }
}

#[test]
fn a_submitter_and_a_completion() {
    explore(|| {
        let request = Request::with(2, true);
        together(&request, &[Request::submit, Request::complete]);
        request.ended_once();
    });
}

#[test]
fn and_a_canceller() {
    explore(|| {
        let request = Request::with(2, true);
        together(
            &request,
            &[Request::submit, Request::complete, Request::cancel],
        );
        request.ended_once();
    });
}

#[test]
fn a_completion_alone_and_a_canceller() {
    explore(|| {
        let request = Request::with(1, true);
        together(&request, &[Request::complete, Request::cancel]);
        request.ended_once();
    });
}

/// A completion routine hands the request over again, and its submitter is not done with the first time.
#[test]
fn a_request_that_is_issued_again() {
    explore(|| {
        let request = Request::with(2, true);
        let again: Way = |request| {
            request.using();
            request.parts.add();
            request.submit();
            request.complete();
        };
        together(&request, &[Request::submit, again]);
        request.ended_once();
    });
}

/// A request that its circuit keeps: the last holder leaves it, and who finds that nobody has a part begins anew.
#[test]
fn a_kept_request_that_is_found_idle() {
    explore(|| {
        let request = Request::with(2, true);
        let hold: Way = |request| {
            request.using();
            let _ = request.parts.give_up();
        };
        let begin: Way = |request| {
            if request.parts.is_none() {
                request.renew();
                request.parts.begin(1);
                request.give_up();
            }
        };
        together(&request, &[hold, hold, begin]);
        assert!(request.parts.is_none(), "somebody has a part");
    });
}

/// What loom finds where the word orders nothing, and where a part is given up twice: the tests above can fail.
#[test]
fn what_is_wrong_is_found() {
    let without_order = || {
        let request = Request::with(2, false);
        together(&request, &[Request::submit, Request::complete]);
    };
    let used_without_a_part: fn() = || {
        let request = Request::with(2, true);
        let late: Way = |request| {
            request.give_up();
            request.using();
        };
        together(&request, &[late, Request::complete]);
    };
    let cancelled_unlisted: fn() = || {
        let request = Request::with(2, true);
        let cancel: Way = |request| {
            request.parts.add();
            request.using();
            request.give_up();
        };
        together(&request, &[Request::submit, Request::complete, cancel]);
        request.ended_once();
    };
    for (what, model) in [
        ("a word without order", without_order as fn()),
        ("use without a part", used_without_a_part),
        ("a part of what is not listed", cancelled_unlisted),
    ] {
        let found = panic::catch_unwind(|| explore(model));
        assert!(found.is_err(), "{what} is not found");
    }
}
