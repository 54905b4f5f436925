//! Threads held at a call of the kernel: how a host program has a driver be at one place while something else goes on.
//!
//! A held thread counts as running. Its driver code is between two instructions: those before the call are done, those after
//! it are to come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::gate::Call;
use crate::image::Image;
use crate::trace::{self, EventKind};

/// When a thread is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the routine runs.
    Before,
    /// When it has run, before it returns to the driver.
    After,
}

/// A place at which the next thread is held, until this is dropped.
#[must_use]
pub struct Hold(Arc<Place>);

struct Place {
    image: u32,
    routine: &'static str,
    moment: Moment,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Armed,
    /// A thread of this processor is here.
    Held(u32),
    Open,
}

static PLACES: Mutex<Vec<Arc<Place>>> = Mutex::new(Vec::new());
/// How many there are, for those who only pass.
static ARMED: AtomicUsize = AtomicUsize::new(0);

/// Holds the next thread in which the image calls this routine.
pub fn next(image: &Image, routine: &'static str, moment: Moment) -> Hold {
    let place = Arc::new(Place {
        image: image.id,
        routine,
        moment,
        state: Mutex::new(State::Armed),
        changed: Condvar::new(),
    });
    PLACES.lock().push(Arc::clone(&place));
    ARMED.fetch_add(1, Ordering::SeqCst);
    Hold(place)
}

impl Hold {
    /// Waits for a thread to be here; its processor, or nothing if none comes in this (real) time.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<u32> {
        let mut state = self.0.state.lock();
        self.0
            .changed
            .wait_while_for(&mut state, |state| *state == State::Armed, patience);
        match *state {
            State::Held(processor) => Some(processor),
            State::Armed | State::Open => None,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        take(|place| Arc::ptr_eq(place, &self.0));
        *self.0.state.lock() = State::Open;
        self.0.changed.notify_all();
    }
}

/// Takes a place off the list: it is for one thread.
fn take(wanted: impl Fn(&Arc<Place>) -> bool) -> Option<Arc<Place>> {
    let mut places = PLACES.lock();
    let index = places.iter().position(wanted)?;
    ARMED.fetch_sub(1, Ordering::SeqCst);
    Some(places.swap_remove(index))
}

/// A driver's call comes by: holds its thread if it is waited for here.
#[inline]
pub(crate) fn pass(call: &Call, moment: Moment) {
    if ARMED.load(Ordering::SeqCst) != 0 {
        look(call, moment);
    }
}

/// Holds the thread if this is a place of the list.
#[cold]
fn look(call: &Call, moment: Moment) {
    let Some(image) = call.image() else { return };
    let routine = call.routine();
    let Some(place) =
        take(|place| (place.image, place.routine, place.moment) == (image.id, routine, moment))
    else {
        return;
    };
    trace::event(EventKind::Note, call.caller(), || {
        format!("held {moment:?} {routine}").to_lowercase()
    });
    let processor = call.thread().processor.load(Ordering::Relaxed);
    let mut state = place.state.lock();
    if *state == State::Armed {
        *state = State::Held(processor);
        place.changed.notify_all();
    }
    place
        .changed
        .wait_while(&mut state, |state| *state != State::Open);
}
