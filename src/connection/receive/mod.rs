//! Received data: indications, receives into the client's memory, and the bytes that were refused by mistake
//! (specification, section 6).
//!
//! Whoever has the guard of a stream (`rxce_engine::receive`) is the only one to offer bytes of it, and the only one to
//! touch the stream's [`Backlog`] and the [`Transfer`] in progress.

mod chained;
mod fetch;
mod offer;

use rxce_engine::{
    circuit::Circuit as _,
    receive::{Channel, Indication},
};
use wdk_sys::{
    NTSTATUS, PIRP, PVOID, STATUS_DATA_NOT_ACCEPTED, STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS,
};

pub(in crate::connection) use self::{
    chained::{Chain, indicate_chain},
    fetch::catch_up,
};
use self::{
    fetch::{Started, release},
    offer::Answer,
};
use super::{circuit::Circuit, registry::ids, transfer::Wanted};
use crate::nt::mdl;

/// An indication, as the transport makes it.
pub(super) struct Indicated {
    pub(super) channel: Channel,
    pub(super) flags: u32,
    pub(super) indicated: u32,
    pub(super) available: u32,
    pub(super) tsdu: PVOID,
}

/// What the transport is told: a status, and how many of the indicated bytes were taken.
struct Reply {
    status: NTSTATUS,
    taken: u32,
    packet: PIRP,
}

impl Reply {
    const REFUSED: Self = Self {
        status: STATUS_DATA_NOT_ACCEPTED,
        taken: 0,
        packet: core::ptr::null_mut(),
    };

    const fn taken(taken: u32) -> Self {
        Self {
            status: STATUS_SUCCESS,
            taken,
            packet: core::ptr::null_mut(),
        }
    }
}

/// A receive indication on the circuit that `token` names.
///
/// # Safety
///
/// The transport's buffers and result pointers are valid during this call.
pub(super) unsafe fn indicate(
    token: usize,
    event: &Indicated,
    taken: *mut u32,
    packet: *mut PIRP,
) -> NTSTATUS {
    let reply = ids::find::<Circuit>(token).map_or(Reply::REFUSED, |circuit| {
        // SAFETY: Forwarded.
        unsafe { reply(&circuit, event) }
    });
    if !taken.is_null() {
        // SAFETY: Forwarded.
        unsafe { taken.write(reply.taken) };
    }
    if !packet.is_null() {
        // SAFETY: Forwarded.
        unsafe { packet.write(reply.packet) };
    }
    reply.status
}

/// # Safety
///
/// As [`indicate`].
unsafe fn reply(circuit: &Circuit, event: &Indicated) -> Reply {
    let channel = event.channel;
    let has_callback = offer::callback(circuit, channel).is_some();
    let decision = circuit.hold(|ledger| {
        if !has_callback && ledger.life.admits_receive() {
            return Indication::Refuse;
        }
        let life = ledger.life;
        ledger.streams.of(channel).indicate(&life)
    });
    match decision {
        Indication::Discard => Reply::taken(event.indicated),
        Indication::Refuse => {
            circuit.count_refused();
            Reply::REFUSED
        }
        // SAFETY: Forwarded; the guard is ours.
        Indication::Offer => unsafe { offer_indication(circuit, event) },
    }
}

/// # Safety
///
/// As [`indicate`]; the caller has the stream's guard.
unsafe fn offer_indication(circuit: &Circuit, event: &Indicated) -> Reply {
    let channel = event.channel;
    // SAFETY: Forwarded.
    let bytes = unsafe { mdl::indicated(event.tsdu.cast(), event.indicated as usize) };
    // SAFETY: The guard is ours.
    let backlog = unsafe { circuit.stream(channel).backlog.get() };
    if !backlog.is_empty() {
        // Older bytes wait: these come behind them, as far as they fit, and all are offered together.
        let mut rest = bytes;
        let mut taken = 0_u32;
        loop {
            let appended = backlog.append(rest);
            taken = taken.saturating_add(appended);
            rest = rest.get(appended as usize..).unwrap_or(&[]);
            let before = backlog.bytes().len();
            let wanted = offer::offer_backlog(circuit, channel, event.flags, backlog);
            let consumed = backlog.bytes().len() < before;
            if wanted.is_some() || rest.is_empty() || !consumed {
                return conclude(circuit, channel, wanted, taken, event.indicated);
            }
        }
    }
    match offer::ask(circuit, channel, event.flags, bytes, event.available) {
        Answer::Refused => {
            release(circuit, channel);
            Reply::REFUSED
        }
        Answer::Taken(taken) => {
            release(circuit, channel);
            Reply::taken(taken)
        }
        Answer::More { taken, wanted } => {
            conclude(circuit, channel, Some(wanted), taken, event.indicated)
        }
    }
}

/// Ends an indication of which `taken` bytes were consumed, perhaps with a packet for what the client wants further.
fn conclude(
    circuit: &Circuit,
    channel: Channel,
    wanted: Option<Wanted>,
    taken: u32,
    indicated: u32,
) -> Reply {
    let Some(wanted) = wanted else {
        release(circuit, channel);
        return if taken == 0 {
            Reply::REFUSED
        } else {
            Reply::taken(taken)
        };
    };
    match fetch::hand_back(circuit, channel, wanted) {
        Started::Packet(packet) => Reply {
            status: STATUS_MORE_PROCESSING_REQUIRED,
            taken,
            packet,
        },
        // The client was told; the rest is indicated again.
        Started::NoMemory => {
            release(circuit, channel);
            Reply::taken(taken)
        }
        Started::TornDown => Reply::taken(indicated),
    }
}
