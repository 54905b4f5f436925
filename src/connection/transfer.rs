//! The receive of a stream that is in progress: there is one at most, since whoever begins it has the stream's guard.

use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use rxce_engine::receive::Channel;
use wdk_sys::MDL;

use crate::{
    nt::{
        mdl::Mdl,
        target::{Device, Target},
        thread,
    },
    tdi::bindings::{TDI_RECEIVE_EXPEDITED, TDI_RECEIVE_NORMAL},
};

/// Memory of the client's that is to be filled.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The chain.
    pub(super) chain: NonNull<MDL>,
    /// How many bytes of it, at least one.
    pub(super) bytes: u32,
    /// How many of those are there already.
    pub(super) copied: u32,
}

/// Where the bytes go.
pub(super) struct Destination {
    /// To the client's memory; to the backlog if there is none.
    pub(super) wanted: Option<Wanted>,
    /// Describes a part of the client's chain when a continuation needs one, or the free part of the backlog.
    pub(super) mdl: Option<Mdl>,
}

impl Destination {
    /// No receive is in progress.
    pub(super) const NOWHERE: Self = Self {
        wanted: None,
        mdl: None,
    };
}

/// The state of the receive in progress.
pub(super) struct Transfer {
    /// For whoever has the guard of the stream.
    inner: UnsafeCell<Inner>,
    /// The thread that is inside `IoCallDriver`, and whether it has seen the completion there.
    submission: AtomicUsize,
}

struct Inner {
    destination: Destination,
    /// Where continuations go, too: the packet has locations enough for it.
    device: Device,
}

/// Nobody is between hand-over and return.
const IDLE: usize = 0;
/// Set beside the submitting thread's number: the request was completed by the same thread, which goes on with it.
const COMPLETED: usize = 1;

impl Transfer {
    /// No receive is in progress.
    pub(super) const fn new() -> Self {
        Self {
            inner: UnsafeCell::new(Inner {
                destination: Destination::NOWHERE,
                device: Device::new(ptr::null_mut()),
            }),
            submission: AtomicUsize::new(IDLE),
        }
    }

    /// Begins a receive. An earlier one may still have its submitter inside `IoCallDriver`: that thread must not take an end
    /// of this one for its own.
    ///
    /// # Safety
    ///
    /// The caller has the guard of the stream.
    pub(super) unsafe fn begin(&self, destination: Destination, target: &Target) {
        // SAFETY: Forwarded: the guard makes the access exclusive.
        let inner = unsafe { &mut *self.inner.get() };
        inner.destination = destination;
        inner.device = target.device;
        self.submission.store(IDLE, Ordering::Release);
    }

    /// Ends it.
    ///
    /// # Safety
    ///
    /// The caller has the guard of the stream, and no request of it is in flight.
    pub(super) unsafe fn end(&self) {
        // SAFETY: Forwarded: the guard makes the access exclusive.
        let inner = unsafe { &mut *self.inner.get() };
        inner.destination = Destination::NOWHERE;
    }

    /// The device that takes its requests.
    ///
    /// # Safety
    ///
    /// The caller has the guard of the stream.
    pub(super) unsafe fn device(&self) -> Device {
        // SAFETY: Forwarded: the guard makes the access exclusive.
        unsafe { (*self.inner.get()).device }
    }

    /// # Safety
    ///
    /// The caller has the guard of the stream, and uses one such reference at a time.
    #[expect(
        clippy::mut_from_ref,
        reason = "the guard of the stream makes the access exclusive"
    )]
    pub(super) unsafe fn destination(&self) -> &mut Destination {
        // SAFETY: Forwarded.
        unsafe { &mut (*self.inner.get()).destination }
    }

    /// Notes that this thread is about to hand the request over.
    pub(super) fn begin_submission(&self) {
        self.submission.store(thread::current(), Ordering::Release);
    }

    /// Notes that this thread is back; `true` if it has completed the request itself meanwhile and goes on with it now.
    ///
    /// Another thread that completed the request has gone on with it, and may have submitted it again already.
    pub(super) fn end_submission(&self) -> bool {
        let own = thread::current();
        let completed = self.swap_if(own | COMPLETED, IDLE);
        if !completed {
            self.swap_if(own, IDLE);
        }
        completed
    }

    /// Leaves a completion to the submitter, if that is this very thread further up its stack.
    pub(super) fn leave_to_submitter(&self) -> bool {
        let own = thread::current();
        self.swap_if(own, own | COMPLETED)
    }

    fn swap_if(&self, old: usize, new: usize) -> bool {
        self.submission
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// The `ReceiveFlags` of a stream.
pub(super) const fn receive_flags(channel: Channel) -> u32 {
    match channel {
        Channel::Normal => TDI_RECEIVE_NORMAL,
        Channel::Expedited => TDI_RECEIVE_EXPEDITED,
    }
}
