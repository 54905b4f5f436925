//! Whether an address takes whole packets as chains of MDLs: asked for once, before there are connections on it.

use core::{
    ffi::c_void,
    mem,
    sync::atomic::{AtomicPtr, Ordering},
};

use rxce_engine::Error;

use super::{Address, find};
use crate::{
    abi::{self, Client, extension::ChainedReceive},
    nt::irql::Pageable,
    tdi::bindings::TDI_EVENT_CHAINED_RECEIVE,
};

/// How far the client's wish has come, under the address's lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// There is none, or the transport has refused it.
    None,
    /// The transport is being asked: the address must stay.
    Asking,
    /// The transport makes chained indications.
    Granted,
}

/// The client's callback, NULL without one. The handler reads it without the lock.
pub(super) struct Callback(AtomicPtr<c_void>);

impl Callback {
    /// None.
    pub(super) const fn none() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    fn set(&self, callback: Option<ChainedReceive>) {
        let callback = callback.map_or(core::ptr::null_mut(), |callback| callback as *mut c_void);
        self.0.store(callback, Ordering::Release);
    }

    fn get(&self) -> Option<ChainedReceive> {
        let callback = self.0.load(Ordering::Acquire);
        // SAFETY: NULL, which is `None`, or what `set` has stored.
        unsafe { mem::transmute::<*mut c_void, Option<ChainedReceive>>(callback) }
    }
}

/// `RxCexAcceptChainedReceives`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for an address that is not built, damaged, in use, or has a callback;
/// [`Error::InsufficientResources`]; the status of the registration. Then nothing has changed.
pub(crate) fn accept(
    at: &Pageable,
    public: Client<abi::Address>,
    callback: ChainedReceive,
    handler: *const c_void,
) -> Result<(), Error> {
    let address = find(public)?;
    address.state.with(|state| {
        if state.chained != Wish::None || !state.pins.is_idle() {
            return Err(Error::InvalidParameter);
        }
        state.chained = Wish::Asking;
        Ok(())
    })?;
    // The handler may run during the registration.
    address.chained.set(Some(callback));
    let answer = address.register(at, TDI_EVENT_CHAINED_RECEIVE, handler);
    if answer.is_err() {
        address.chained.set(None);
    }
    address.state.with(|state| {
        state.chained = if answer.is_ok() {
            Wish::Granted
        } else {
            Wish::None
        };
    });
    answer
}

impl Address {
    /// The client's callback for chains.
    pub(in crate::connection) fn chained(&self) -> Option<ChainedReceive> {
        self.chained.get()
    }
}
