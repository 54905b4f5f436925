//! What a program is judged by: counts, the first violation, and what each send and each piece of client memory is owed.

use alloc::{format, string::String, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use conform_ioctl::{FuzzCount, FuzzResult, Text};
use wdk_sys::PMDL;

use crate::nt::{mdl::Buffer, watch::Watch};

const COUNTS: usize = FuzzCount::NAMES.len();
/// What the memory of chains holds in the beginning.
pub(super) const UNWRITTEN: u8 = 0x5A;
/// Completion contexts count from here.
pub(super) const SEND_CONTEXT: usize = 0x7100_0000;

static COUNTED: [AtomicU32; COUNTS] = [const { AtomicU32::new(0) }; COUNTS];
static VIOLATED: AtomicBool = AtomicBool::new(false);
static FIRST: Watch<Option<String>> = Watch::new(None);
static DEBTS: Watch<Debts> = Watch::new(Debts {
    sends: Vec::new(),
    rooms: Vec::new(),
});

struct Debts {
    sends: Vec<Sent>,
    rooms: Vec<Room>,
}

/// A send with a completion context of its own.
#[derive(Clone, Copy, Default)]
struct Sent {
    accepted: bool,
    completed: u32,
    submitted: u32,
}

/// Client memory that was handed over in an indication.
struct Room {
    elements: Vec<Buffer>,
    /// Elements of no bytes.
    empty: usize,
    /// As many bytes as the client asked for and the chain has.
    most: u32,
    ready: u32,
}

/// Forgets everything. Nothing is under way.
pub(super) fn reset() {
    for count in &COUNTED {
        count.store(0, Ordering::Relaxed);
    }
    VIOLATED.store(false, Ordering::Relaxed);
    drop(FIRST.update(Option::take));
    let (sends, rooms) = DEBTS.update(|debts| {
        (
            core::mem::take(&mut debts.sends),
            core::mem::take(&mut debts.rooms),
        )
    });
    drop((sends, rooms));
}

/// Counts one event.
pub(super) fn count(what: FuzzCount) {
    if let Some(count) = COUNTED.get(what as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Something was seen that must not be. The first text is kept.
pub(super) fn violated(text: impl FnOnce() -> String) {
    if !VIOLATED.swap(true, Ordering::SeqCst) {
        let text = text();
        FIRST.update(|first| *first = Some(text));
    }
}

/// `condition` must hold.
pub(super) fn must(condition: bool, text: impl FnOnce() -> String) {
    if !condition {
        violated(text);
    }
}

/// Whether something was violated.
pub(super) fn is_violated() -> bool {
    VIOLATED.load(Ordering::Relaxed)
}

/// The record for whoever asked.
pub(super) fn result() -> FuzzResult {
    let mut counts = [0; COUNTS];
    for (to, from) in counts.iter_mut().zip(&COUNTED) {
        *to = from.load(Ordering::Relaxed);
    }
    let text = FIRST.read(Option::clone).unwrap_or_default();
    FuzzResult {
        violated: is_violated(),
        counts,
        text: Text::new(&text),
    }
}

/// Enters a send; its completion context.
pub(super) fn new_send() -> usize {
    DEBTS.update(|debts| {
        debts.sends.push(Sent::default());
        SEND_CONTEXT.saturating_add(debts.sends.len())
    })
}

/// The send was accepted: one SendComplete is owed.
pub(super) fn accepted(context: usize) {
    change_send(context, |sent| sent.accepted = true);
}

/// SendComplete came.
pub(super) fn completed(context: usize) {
    if !change_send(context, |sent| {
        sent.completed = sent.completed.saturating_add(1)
    }) {
        violated(|| format!("SendComplete for no send: {context:#x}"));
    }
}

/// SendSubmitted came.
pub(super) fn submitted(context: usize) {
    if !change_send(context, |sent| {
        sent.submitted = sent.submitted.saturating_add(1)
    }) {
        violated(|| format!("SendSubmitted for no send: {context:#x}"));
    }
}

fn change_send(context: usize, change: impl FnOnce(&mut Sent)) -> bool {
    DEBTS.update(|debts| {
        let place = context.wrapping_sub(SEND_CONTEXT).wrapping_sub(1);
        match debts.sends.get_mut(place) {
            Some(sent) => {
                change(sent);
                true
            }
            None => false,
        }
    })
}

/// Enters a chain that is handed over with room for `size` bytes: one DataReady is owed if that is any.
pub(super) fn new_room(elements: Vec<Buffer>, empty: usize, size: u32) {
    let length = elements
        .iter()
        .fold(0_u32, |sum, element| sum.saturating_add(element.length()));
    let most = length.min(size);
    count(FuzzCount::Rooms);
    let room = Room {
        elements,
        empty,
        most,
        ready: 0,
    };
    DEBTS.update(|debts| debts.rooms.push(room));
}

/// DataReady came for a chain.
pub(super) fn ready(chain: PMDL, copied: u32) {
    let most = DEBTS.update(|debts| {
        let room = debts.rooms.iter_mut().find(|room| {
            room.elements
                .first()
                .is_some_and(|first| first.mdl() == chain)
        })?;
        room.ready = room.ready.saturating_add(1);
        let bytes = room.elements.iter().flat_map(Buffer::bytes);
        // The chains of a program that have empty elements have a byte there that nobody can write.
        let missing = bytes
            .take(copied as usize)
            .filter(|&byte| byte == UNWRITTEN)
            .count();
        Some((room.most, missing > room.empty))
    });
    match most {
        None => violated(|| format!("DataReady for a chain that nobody gave: {chain:p}")),
        Some((most, missing)) => {
            must(copied <= most, || {
                format!("DataReady of {copied} bytes where {most} have room")
            });
            must(!missing, || {
                format!("DataReady of {copied} bytes, which nobody wrote")
            });
        }
    }
}

/// Every debt was paid exactly once. Nothing is under way.
pub(super) fn settle() {
    let trouble = DEBTS.read(|debts| {
        let wrong_send = debts.sends.iter().position(|sent| {
            let owed = u32::from(sent.accepted);
            sent.completed != owed || sent.submitted > owed
        });
        let wrong_room = debts
            .rooms
            .iter()
            .position(|room| room.ready != u32::from(room.most > 0));
        (
            wrong_send.and_then(|place| Some((place, *debts.sends.get(place)?))),
            wrong_room.and_then(|place| {
                let room = debts.rooms.get(place)?;
                Some((place, room.most, room.ready))
            }),
        )
    });
    if let Some((place, sent)) = trouble.0 {
        violated(|| {
            format!(
                "send {place}: accepted {}, SendComplete {} times, SendSubmitted {} times",
                sent.accepted, sent.completed, sent.submitted
            )
        });
    }
    if let Some((place, most, ready)) = trouble.1 {
        violated(|| format!("chain {place} with room for {most} bytes: DataReady {ready} times"));
    }
}
