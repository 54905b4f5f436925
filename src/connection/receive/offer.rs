//! Offers of bytes to the client's Receive, and what it answers.

use core::ptr::NonNull;

use rxce_engine::{circuit::Circuit as _, mutant, receive::Channel};
use wdk_sys::{
    NTSTATUS, PMDL, PVOID, STATUS_INSUFFICIENT_RESOURCES, STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS,
};

use crate::{
    abi,
    connection::{backlog::Waiting, circuit::Circuit, transfer::Wanted},
    nt::{mdl, report},
};

/// What the client said.
pub(super) enum Answer {
    /// Nothing was consumed.
    Refused,
    /// So many of the offered bytes were consumed.
    Taken(u32),
    /// So many were consumed, and the following ones go to a chain.
    More { taken: u32, wanted: Wanted },
}

/// The client's Receive for a stream. There is none for expedited data unless the client gave one.
pub(super) const fn callback(circuit: &Circuit, channel: Channel) -> Option<abi::Receive> {
    let (callbacks, _) = circuit.connection().callbacks();
    match channel {
        Channel::Normal => callbacks.Receive,
        Channel::Expedited => callbacks.ReceiveExpedited,
    }
}

/// Offers bytes to the client, and counts what it took. The caller has the guard of the stream.
pub(super) fn ask(
    circuit: &Circuit,
    channel: Channel,
    flags: u32,
    bytes: &[u8],
    available: u32,
) -> Answer {
    let answer = answer(circuit, channel, flags, bytes, available);
    match &answer {
        Answer::Refused => circuit.count_refused(),
        Answer::Taken(taken) | Answer::More { taken, .. } => circuit.count_received(*taken),
    }
    answer
}

fn answer(circuit: &Circuit, channel: Channel, flags: u32, bytes: &[u8], available: u32) -> Answer {
    let Some(receive) = callback(circuit, channel) else {
        return Answer::Refused;
    };
    let (_, client) = circuit.connection().callbacks();
    let indicated = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut taken = 0_u32;
    let mut chain: PMDL = core::ptr::null_mut();
    let mut size = 0_u32;
    let tsdu: PVOID = bytes.as_ptr().cast_mut().cast();
    // SAFETY: The client's callback, as its table declares it; no lock is held, and the results outlive the call.
    let status = circuit.in_callback(|| unsafe {
        receive(
            client,
            circuit.vc(),
            flags,
            indicated,
            available,
            &raw mut taken,
            tsdu,
            &raw mut chain,
            &raw mut size,
        )
    });
    if taken > indicated {
        report::misuse(
            c"RxCeReceiveEventHandler",
            c"took more bytes than were indicated",
        );
    }
    // More than was offered would desynchronise the stream.
    let taken = if mutant!(TakenNotClamped) {
        taken
    } else {
        taken.min(indicated)
    };
    if status == STATUS_MORE_PROCESSING_REQUIRED {
        // SAFETY: The client hands over a valid chain, or NULL.
        let bytes = unsafe { mdl::length_up_to(chain, size) };
        if bytes < size || bytes == 0 {
            report::misuse(
                c"RxCeReceiveEventHandler",
                c"wants bytes without memory for them",
            );
        }
        let Some(chain) = NonNull::new(chain).filter(|_| bytes > 0) else {
            return Answer::Taken(taken);
        };
        return Answer::More {
            taken,
            wanted: Wanted {
                chain,
                bytes,
                copied: 0,
            },
        };
    }
    if wdk::nt_success(status) {
        Answer::Taken(taken)
    } else {
        Answer::Refused
    }
}

/// Offers the bytes that wait until nothing waits, nothing is taken, or the client wants more than there is. The caller
/// has the guard of the stream.
pub(super) fn offer_backlog(
    circuit: &Circuit,
    channel: Channel,
    flags: u32,
    backlog: &mut Waiting,
) -> Option<Wanted> {
    // A tear-down may claim the circuit at any time: the client hears no more of it then.
    while !backlog.is_empty() && circuit.hold(|ledger| ledger.life.admits_receive()) {
        let available = u32::try_from(backlog.bytes().len()).unwrap_or(u32::MAX);
        match ask(circuit, channel, flags, backlog.bytes(), available) {
            Answer::Refused | Answer::Taken(0) => {
                if mutant!(RefusedBytesLost) {
                    backlog.consume(backlog.bytes().len());
                }
                return None;
            }
            Answer::Taken(taken) => backlog.consume(taken as usize),
            Answer::More { taken, wanted } => {
                backlog.consume(taken as usize);
                match fill(circuit, wanted, backlog) {
                    Filled::Full => {}
                    Filled::Missing(missing) => return Some(missing),
                    Filled::Unmapped => return None,
                }
            }
        }
    }
    None
}

/// What became of an attempt to fill the client's memory from what waits.
enum Filled {
    /// It is full, and the client was told.
    Full,
    /// There is more to come.
    Missing(Wanted),
    /// The memory could not be reached, and the client was told.
    Unmapped,
}

/// Copies what waits into the client's memory.
fn fill(circuit: &Circuit, wanted: Wanted, backlog: &mut Waiting) -> Filled {
    let waiting = backlog.bytes();
    let (now, _) = waiting
        .split_at_checked(wanted.bytes as usize)
        .unwrap_or((waiting, &[]));
    let count = now.len();
    // SAFETY: The client's chain is valid, locked, and describes `wanted.bytes` bytes at least.
    if unsafe { mdl::copy_into(wanted.chain.as_ptr(), 0, now) }.is_err() {
        data_ready(circuit, wanted, STATUS_INSUFFICIENT_RESOURCES);
        return Filled::Unmapped;
    }
    backlog.consume(count);
    let wanted = Wanted {
        copied: u32::try_from(count).unwrap_or(wanted.bytes),
        ..wanted
    };
    if wanted.copied < wanted.bytes {
        return Filled::Missing(wanted);
    }
    data_ready(circuit, wanted, STATUS_SUCCESS);
    Filled::Full
}

/// Tells the client what became of its memory, once.
pub(super) fn data_ready(circuit: &Circuit, wanted: Wanted, status: NTSTATUS) {
    circuit.count_filled(wanted.copied);
    let (callbacks, client) = circuit.connection().callbacks();
    if let Some(ready) = callbacks.DataReady {
        // SAFETY: The client's callback, as its table declares it; no lock is held.
        circuit
            .in_callback(|| unsafe { ready(client, wanted.chain.as_ptr(), wanted.copied, status) });
    }
}
