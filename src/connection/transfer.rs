//! What a receive request carries besides its packet.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU8, Ordering},
};

use rxce_engine::receive::Channel;
use wdk_sys::PMDL;

use crate::{
    nt::mdl::Mdl,
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
    submission: AtomicU8,
}

/// Nobody is between hand-over and return.
const IDLE: u8 = 0;
/// The submitter has not returned from `IoCallDriver`.
const SUBMITTING: u8 = 1;
/// The request was completed meanwhile; the submitter goes on with it.
const COMPLETED: u8 = 2;

impl Transfer {
    /// An unused transfer.
    pub(super) const fn new(channel: Channel) -> Self {
        Self {
            channel,
            destination: UnsafeCell::new(Destination::Nowhere),
            submission: AtomicU8::new(IDLE),
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

    /// Notes that the request is about to be handed over by a submitter.
    pub(super) fn begin_submission(&self) {
        self.submission.store(SUBMITTING, Ordering::Release);
    }

    /// Notes that the submitter is back; `true` if the request is over and its completion was left to the submitter.
    pub(super) fn end_submission(&self) -> bool {
        self.submission.swap(IDLE, Ordering::AcqRel) == COMPLETED
    }

    /// Leaves a completion to the submitter; `false` if there is none, or it is back already.
    pub(super) fn leave_to_submitter(&self) -> bool {
        self.submission
            .compare_exchange(SUBMITTING, COMPLETED, Ordering::AcqRel, Ordering::Acquire)
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
