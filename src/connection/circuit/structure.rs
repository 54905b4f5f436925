//! What the client sees of a circuit: the members of its `RXCE_VC`.

use core::{
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use rxce_engine::{circuit::Circuit as _, life::State, mutant};
use wdk_sys::{KEVENT, PMDL};

use super::{Circuit, Rivals};
use crate::{
    abi::{self, Signed, write_field},
    connection::registry::{Ref, pointers},
    nt::{event, irql::Pageable},
};

impl Circuit {
    /// Makes the circuit known: to the client, to the transport's events, and to address errors. The peer may send before
    /// the connect is known to be over.
    pub(in crate::connection) fn publish(&self, this: &Ref<Self>) {
        // Somebody may have cancelled the build already.
        self.ledger
            .with(|ledger| self.show(ledger.life.state(), ptr::null_mut()));
        self.expose(this);
        pointers::set_usable(this);
    }

    /// Fills the client's structure, which this build has reserved.
    pub(super) fn show(&self, state: State, clean_up_event: *mut KEVENT) {
        let value = abi::Vc {
            Signature: 0,
            pConnection: self.connection().public().as_ptr(),
            hEndpoint: self.endpoint.handle(),
            pEndpointFileObject: self.endpoint.object(),
            State: state.code(),
            ConnectionId: self.id.raw(),
            pReceiveMdl: ptr::null_mut(),
            pCleanUpEvent: clean_up_event,
        };
        // SAFETY: The structure is reserved by this build.
        unsafe { self.public().publish(value) };
        self.announced.store(true, Ordering::Release);
    }

    /// Shows the winner of a competition in the client's structure; `rivals` says whether others still have to be closed.
    pub(in crate::connection) fn show_winner(&self, rivals: Rivals) {
        let clean_up = match rivals {
            Rivals::Gone => ptr::null_mut(),
            Rivals::Closing if mutant!(CleanUpEventMissing) => ptr::null_mut(),
            Rivals::Closing => self
                .competing
                .as_ref()
                .map_or(ptr::null_mut(), |competing| competing.clean_up.as_ptr()),
        };
        self.ledger
            .with(|ledger| self.show(ledger.life.state(), clean_up));
    }

    /// Whether the client's structure still says what the engine wrote.
    pub(super) fn is_intact(&self) -> bool {
        self.is_intact_but_for_state() && self.ledger.with(|ledger| self.shows(ledger.life.state()))
    }

    /// The same of every member but `State`, which can be compared under the lock only.
    pub(super) fn is_intact_but_for_state(&self) -> bool {
        self.shown_state().is_some()
    }

    /// Whether the client's structure is intact and shows a circuit that takes sends: an answer without the lock, of which
    /// only a "no" is final. The state only goes forward, and is shown before the lock is released under which it changes.
    pub(super) fn seems_active(&self) -> bool {
        self.shown_state() == Some(State::Active.code())
    }

    /// The state in the client's structure, if everything else there still is what the engine wrote.
    fn shown_state(&self) -> Option<i32> {
        // SAFETY: The structure is registered.
        let public = unsafe { self.public().snapshot() };
        let intact = mutant!(DamageAccepted)
            || (public.Signature == abi::Vc::SIGNATURE
                && public.pConnection == self.connection().public().as_ptr()
                && public.hEndpoint == self.endpoint.handle()
                && public.pEndpointFileObject == self.endpoint.object()
                && public.ConnectionId == self.id.raw());
        intact.then_some(public.State)
    }

    /// The public `State`, which is written under the lock and read by anybody.
    pub(super) fn state(&self) -> &AtomicI32 {
        let vc = self.public().as_ptr();
        // SAFETY: This only computes an address inside the registered structure.
        let state = unsafe { &raw mut (*vc).State };
        // SAFETY: The structure is registered, so it lives; the member is aligned and only ever accessed so.
        unsafe { AtomicI32::from_ptr(state) }
    }

    /// The public `pReceiveMdl`.
    pub(in crate::connection) fn set_receive_mdl(&self, mdl: PMDL) {
        // The structure is registered; only whoever has the guard of normal data writes the member.
        write_field!(self.public(), pReceiveMdl, mdl);
    }

    /// Waits for `pCleanUpEvent`, if there is one.
    pub(in crate::connection) fn wait_for_clean_up(&self, at: &Pageable) {
        // SAFETY: The structure is registered.
        let event = unsafe { self.public().snapshot() }.pCleanUpEvent;
        if event.is_null() || mutant!(CleanUpNotAwaited) {
            return;
        }
        // SAFETY: The member is NULL or an initialised event, by the client's contract.
        unsafe { event::wait_for(event.cast(), at) };
        // This tear-down owns the structure.
        write_field!(self.public(), pCleanUpEvent, ptr::null_mut());
    }
}
