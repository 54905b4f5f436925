//! What a client asks for.

use core::ptr::NonNull;

use rxce_engine::race::Choice;
use wdk_sys::PVOID;

use crate::{
    abi::{self, Client},
    connection::information::Remote,
};

/// More addresses than a machine has.
pub(crate) const MOST_ADDRESSES: u32 = 1024;

/// What the client asks for.
pub(crate) struct Request<'a> {
    /// The redirector's device, whose pending requests are counted; may be NULL.
    pub(crate) device: *mut u8,
    /// How the winner is chosen.
    pub(crate) choice: Choice,
    /// The local addresses, the preferred one first.
    pub(crate) addresses: &'a [*mut abi::Address],
    /// The peer.
    pub(crate) remote: Remote<'a>,
    /// The callbacks.
    pub(crate) handler: abi::ConnectionEventHandler,
    /// Their context.
    pub(crate) context: PVOID,
    /// Called if the decision takes longer than the routine.
    pub(crate) routine: abi::CompletionRoutine,
    /// Where the result goes.
    pub(crate) completion: NonNull<abi::CompletionContext>,
    /// The structures for the winner.
    pub(crate) connection: Client<abi::Connection>,
    /// As above.
    pub(crate) vc: Client<abi::Vc>,
}
