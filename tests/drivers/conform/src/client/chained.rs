//! The client's callback for chained receives.

use core::ffi::c_void;

use rxce_client::RXCE_VC;
use wdk_sys::{NTSTATUS, PMDL};

use super::{CLIENT, CONNECTION_CONTEXT};
use crate::{
    nt::{status, watch::Watch},
    transport::Chain,
};

/// The one recorder of chains.
pub(crate) static CHAINS: Watch<Chains> = Watch::new(Chains::new());

/// What came, and what to answer.
pub(crate) struct Chains {
    /// What to answer.
    pub(crate) answer: NTSTATUS,
    /// How many came.
    pub(crate) calls: usize,
    /// The last one, with its circuit.
    pub(crate) last: Option<(*mut RXCE_VC, Chain)>,
    /// How many bytes Receive had taken before it.
    pub(crate) received_before: usize,
    /// Whether one came with another context than its connection's.
    pub(crate) wrong_context: bool,
}

// SAFETY: The raw pointers are only compared.
unsafe impl Send for Chains {}

impl Chains {
    const fn new() -> Self {
        Self {
            answer: status::SUCCESS,
            calls: 0,
            last: None,
            received_before: 0,
            wrong_context: false,
        }
    }

    /// Forgets what came.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}

/// The callback.
pub(crate) unsafe extern "C" fn on_chained(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    flags: u32,
    length: u32,
    offset: u32,
    mdl: PMDL,
    descriptor: *mut c_void,
) -> NTSTATUS {
    let received = CLIENT.read(|client| client.stream().len());
    CHAINS.update(|chains| {
        // TDI_RECEIVE_NORMAL.
        chains.wrong_context |= context != CONNECTION_CONTEXT || flags != 0x20;
        chains.calls = chains.calls.saturating_add(1);
        chains.received_before = received;
        let chain = Chain {
            length,
            offset,
            mdl,
            descriptor,
        };
        chains.last = Some((vc, chain));
        chains.answer
    })
}
