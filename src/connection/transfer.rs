//! What a receive request carries besides its packet.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
};

use rxce_engine::receive::Channel;
use wdk_sys::PMDL;

use crate::{
    nt::{mdl::Mdl, thread},
    tdi::bindings::{TDI_RECEIVE_EXPEDITED, TDI_RECEIVE_NORMAL},
};

/// Memory of the client's that is to be filled.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The chain.
    pub(super) chain: PMDL,
    /// How many bytes of it, at least one.
    pub(super) bytes: u32,
    /// How many of those are there already.
    pub(super) copied: u32,
}

/// Where the bytes go.
pub(super) enum Destination {
    /// Nowhere: the request is not in use.
    Nowhere,
    /// To the client, and an MDL for the parts of its chain that continuations need.
    Client { wanted: Wanted, part: Mdl },
    /// To the backlog.
    Backlog { free: Mdl },
}

/// The state of a receive request.
pub(super) struct Transfer {
    channel: Channel,
    /// For whoever has the guard of the stream.
    destination: UnsafeCell<Destination>,
    /// The thread that is inside `IoCallDriver`, and whether it has seen the completion there.
    submission: AtomicUsize,
}

/// Nobody is between hand-over and return.
const IDLE: usize = 0;
/// Set beside the submitting thread's number: the request was completed by the same thread, which goes on with it.
const COMPLETED: usize = 1;

impl Transfer {
    /// An unused transfer.
    pub(super) const fn new(channel: Channel) -> Self {
        Self {
            channel,
            destination: UnsafeCell::new(Destination::Nowhere),
            submission: AtomicUsize::new(IDLE),
        }
    }

    /// The stream.
    pub(super) const fn channel(&self) -> Channel {
        self.channel
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
        unsafe { &mut *self.destination.get() }
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

    /// The `ReceiveFlags` of the request.
    pub(super) const fn flags(&self) -> u32 {
        receive_flags(self.channel)
    }
}

/// The `ReceiveFlags` of a stream.
pub(super) const fn receive_flags(channel: Channel) -> u32 {
    match channel {
        Channel::Normal => TDI_RECEIVE_NORMAL,
        Channel::Expedited => TDI_RECEIVE_EXPEDITED,
    }
}
