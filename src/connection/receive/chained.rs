//! Chained indications: a whole packet as a chain of MDLs, which the client may use in place and keep.
//!
//! The guard of the stream decides here as it does for other indications. A chain cannot be taken in part, so what
//! comes while older bytes wait, or are being fetched, is refused as a whole and fetched by a receive request.

use rxce_engine::{
    circuit::{self as engine, Circuit as _},
    mutant,
    receive::{Channel, Indication},
};
use wdk_sys::{NTSTATUS, PMDL, PVOID, STATUS_DATA_NOT_ACCEPTED, STATUS_PENDING, STATUS_SUCCESS};

use super::{
    fetch::{self, release},
    offer,
};
use crate::{
    abi::extension::ChainedReceive,
    connection::{circuit::Circuit, registry::ids},
    nt::report,
};

/// A chained indication, as the transport makes it.
pub(in crate::connection) struct Chain {
    pub(in crate::connection) flags: u32,
    pub(in crate::connection) length: u32,
    pub(in crate::connection) offset: u32,
    pub(in crate::connection) tsdu: PMDL,
    pub(in crate::connection) descriptor: PVOID,
}

/// A chained indication on the circuit that `token` names.
///
/// # Safety
///
/// The chain is valid during this call, and until the client gives it back if it keeps it.
pub(in crate::connection) unsafe fn indicate_chain(token: usize, chain: &Chain) -> NTSTATUS {
    let Some(circuit) = ids::find::<Circuit>(token) else {
        return STATUS_DATA_NOT_ACCEPTED;
    };
    // What is refused comes through Receive: without it, there would be nobody to give it to.
    let callback = offer::callback(&circuit, Channel::Normal)
        .and_then(|_| circuit.connection().address().chained());
    let decision = circuit.hold(|ledger| {
        if callback.is_none() && ledger.life.admits_receive() {
            return Indication::Refuse;
        }
        let life = ledger.life;
        ledger.streams.of(Channel::Normal).indicate(&life)
    });
    match (decision, callback) {
        (Indication::Discard, _) => STATUS_SUCCESS,
        // SAFETY: Forwarded; the guard is ours.
        (Indication::Offer, Some(callback)) => unsafe { offer_chain(&circuit, callback, chain) },
        (Indication::Offer, None) => {
            release(&circuit, Channel::Normal);
            refused(&circuit)
        }
        (Indication::Refuse, _) => refused(&circuit),
    }
}

/// # Safety
///
/// As [`indicate_chain`]; the caller has the stream's guard.
unsafe fn offer_chain(circuit: &Circuit, callback: ChainedReceive, chain: &Chain) -> NTSTATUS {
    let channel = Channel::Normal;
    // SAFETY: The guard is ours.
    let backlog = unsafe { circuit.stream(channel).backlog.get() };
    if let Some(wanted) = offer::offer_backlog(circuit, channel, chain.flags, backlog) {
        // The client wants what follows the older bytes in its memory, and this chain is what follows.
        // Without memory for that request, the refused bytes are fetched by the next one.
        engine::change(circuit, |ledger| ledger.streams.of(channel).hold_back());
        fetch::fetch_for_client(circuit, channel, wanted);
        return refused(circuit);
    }
    if !backlog.is_empty() {
        // It refuses the older bytes: these are fetched behind them, as far as there is room.
        engine::change(circuit, |ledger| ledger.streams.of(channel).hold_back());
        release(circuit, channel);
        return refused(circuit);
    }
    let (_, client) = circuit.connection().callbacks();
    // SAFETY: The client's callback; no lock is held, and the chain is valid by this function's contract.
    let status = circuit.in_callback(|| unsafe {
        callback(
            client,
            circuit.vc(),
            chain.flags,
            chain.length,
            chain.offset,
            chain.tsdu,
            chain.descriptor,
        )
    });
    // A chain that the client keeps is its own to give back: the stream goes on.
    let taken = matches!(status, STATUS_SUCCESS | STATUS_PENDING);
    if taken && mutant!(ChainTwice) {
        engine::change(circuit, |ledger| ledger.streams.of(channel).hold_back());
    }
    if taken {
        circuit.count_received(chain.length);
    } else if status != STATUS_DATA_NOT_ACCEPTED {
        report::misuse(
            c"PRXCEX_IND_CHAINED_RECEIVE",
            c"neither took the chain, nor kept nor refused it",
        );
    }
    release(circuit, channel);
    if taken { status } else { refused(circuit) }
}

fn refused(circuit: &Circuit) -> NTSTATUS {
    circuit.count_refused();
    STATUS_DATA_NOT_ACCEPTED
}
