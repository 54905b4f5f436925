//! Run-down protection, with one word and with one for each processor.

use crate::protocol::{self, Dispatcher, ONE, TooOften, Words};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::{Seen, explore};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;

const PROCESSORS: usize = 2;

/// A dispatcher for one waiter.
#[derive(Default)]
struct Sleeper {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    waits: bool,
    woken: bool,
}

impl<'a> Dispatcher for &'a Sleeper {
    type Hold = MutexGuard<'a, State>;
    type Waiter = ();

    fn lock(&self) -> Self::Hold {
        self.state.lock().expect("no thread panics")
    }

    fn enlist(&self, hold: &mut Self::Hold) {
        hold.waits = true;
    }

    fn wake(&self, hold: &mut Self::Hold) {
        if hold.waits {
            hold.woken = true;
            self.woken.notify_one();
        }
    }

    fn sleep(&self, (): ()) {
        let mut state = self.lock();
        while !state.woken {
            state = self.woken.wait(state).expect("no thread panics");
        }
    }
}

/// A reference, and an object that it protects.
struct Protected {
    plain: AtomicU64,
    count: AtomicUsize,
    words: [AtomicU64; PROCESSORS],
    /// The memory of all these words: who looks at one reads it, and who frees them writes it.
    memory: UnsafeCell<()>,
    /// Read by who has a reference, written when nobody has one any more.
    object: UnsafeCell<()>,
    sleeper: Sleeper,
}

// SAFETY: The checker looks whether the accesses to the cells have an order.
unsafe impl Sync for Protected {}

impl Words for Protected {
    fn plain(&self) -> &AtomicU64 {
        self.touch();
        &self.plain
    }

    fn count(&self) -> usize {
        self.touch();
        self.count.load(Ordering::Relaxed)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        self.touch();
        &self.words[at]
    }
}

/// Which routines are used.
#[derive(Clone, Copy)]
enum Kind {
    OneWord,
    /// A reference is taken on the first of these processors and given back on the second one.
    CacheAware(usize, usize),
}

impl Protected {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            plain: AtomicU64::new(0),
            count: AtomicUsize::new(PROCESSORS),
            words: [0; PROCESSORS].map(AtomicU64::new),
            memory: UnsafeCell::new(()),
            object: UnsafeCell::new(()),
            sleeper: Sleeper::default(),
        })
    }

    fn touch(&self) {
        self.memory.with(|_| ());
    }

    fn acquire(&self, kind: Kind) -> bool {
        match kind {
            Kind::OneWord => protocol::acquire(self.plain(), ONE),
            Kind::CacheAware(here, _) => protocol::acquire_on(self, here, ONE),
        }
    }

    fn release(&self, kind: Kind) {
        let released = match kind {
            Kind::OneWord => protocol::release(self.plain(), ONE, &&self.sleeper),
            Kind::CacheAware(_, there) => protocol::release_on(self, there, ONE, &&self.sleeper),
        };
        balanced(released);
    }

    fn wait(&self, kind: Kind) {
        let waited = match kind {
            Kind::OneWord => protocol::wait(self.plain(), &&self.sleeper),
            Kind::CacheAware(..) => protocol::wait_on_all(self, &&self.sleeper),
        };
        balanced(waited);
    }

    fn use_and_release(&self, kind: Kind) {
        self.object.with(|_| ());
        self.release(kind);
    }
}

fn balanced(result: Result<(), TooOften>) {
    if let Err(TooOften(value)) = result {
        panic!("released too often: {value:#x}");
    }
}

/// Two threads use the object, if they get a reference, while a third one waits for them and takes the object away.
fn users_and_a_waiter(kinds: [Kind; 2]) {
    static REFUSED: Seen = Seen::new();
    static TAKEN: Seen = Seen::new();
    static SLEPT: Seen = Seen::new();
    explore(Some(2), move || {
        let protected = Protected::new();
        let users = kinds.map(|kind| {
            let protected = Arc::clone(&protected);
            thread::spawn(move || {
                let taken = protected.acquire(kind);
                REFUSED.count(!taken);
                TAKEN.count(taken);
                if taken {
                    protected.use_and_release(kind);
                }
            })
        });
        protected.wait(kinds[0]);
        protected.object.with_mut(|_| ());
        assert!(!protected.acquire(kinds[1]), "acquired after the run-down");
        // Who waits again finds nobody.
        protected.wait(kinds[0]);
        for user in users {
            user.join().expect("no thread panics");
        }
        SLEPT.count((&protected.sleeper).lock().woken);
    });
    assert!(REFUSED.times() > 0 && TAKEN.times() > 0 && SLEPT.times() > 0);
}

/// The last two references are given back while a thread waits, which then frees the memory of the words.
fn last_references(kinds: [Kind; 2]) {
    explore(Some(2), move || {
        let protected = Protected::new();
        let users = kinds.map(|kind| {
            assert!(protected.acquire(kind));
            let protected = Arc::clone(&protected);
            thread::spawn(move || protected.use_and_release(kind))
        });
        protected.wait(kinds[0]);
        protected.object.with_mut(|_| ());
        protected.memory.with_mut(|_| ());
        for user in users {
            user.join().expect("no thread panics");
        }
    });
}

#[test]
fn nobody_has_a_reference_after_the_wait() {
    users_and_a_waiter([Kind::OneWord; 2]);
}

#[test]
fn nobody_has_a_reference_of_any_processor_after_the_wait() {
    users_and_a_waiter([Kind::CacheAware(0, 1), Kind::CacheAware(1, 1)]);
}

#[test]
fn the_word_may_be_freed_after_the_wait() {
    last_references([Kind::OneWord; 2]);
}

#[test]
fn the_words_of_all_processors_may_be_freed_after_the_wait() {
    last_references([Kind::CacheAware(0, 1), Kind::CacheAware(1, 0)]);
    last_references([Kind::CacheAware(0, 1), Kind::CacheAware(0, 0)]);
}
