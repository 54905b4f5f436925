//! What the callbacks note: received bytes and events. A program says before how indications are answered.

use core::{ptr, slice};

use client_nt::{
    event::Event as Signal, mdl::Mdl, pool::Bytes, spin_lock::SpinLock, status::Result,
};
use exchange_ioctl::{Answer, EVENTS, Event, Kind, Wait};
use wdk_sys::{NTSTATUS, PMDL, STATUS_CONNECTION_ACTIVE, STATUS_IO_TIMEOUT, ULONG};

/// `ExRo`: the room for received bytes.
const TAG_ROOM: ULONG = ULONG::from_le_bytes(*b"ExRo");
/// `ExEv`: the list of events.
const TAG_EVENTS: ULONG = ULONG::from_le_bytes(*b"ExEv");

/// What a session was told.
pub(crate) struct Record {
    state: SpinLock<State>,
    progress: Signal,
}

struct State {
    answer: Answer,
    room: Option<Room>,
    /// Encoded events, and how many bytes of them are used.
    events: Option<Bytes>,
    listed: usize,
    last: Option<Event>,
    /// What [`Wait`] compares with.
    totals: [u64; Kind::COUNT],
}

/// Room for received bytes: a part is used, a part may be lent to the engine, the rest is free.
struct Room {
    // First: it describes the bytes.
    mdl: Mdl,
    bytes: Bytes,
    used: usize,
    lent: Option<Mdl>,
}

/// What a receive callback answers.
pub(crate) enum Received {
    /// So many bytes were taken.
    Taken(usize),
    /// So many bytes were taken, and the following ones belong into this MDL.
    Further { taken: usize, mdl: PMDL, len: usize },
    /// Nothing may be taken now.
    Refused,
}

impl Room {
    fn try_new(len: usize) -> Result<Self> {
        let mut bytes = Bytes::try_new(len, TAG_ROOM)?;
        // SAFETY: Nonpaged pool, which is dropped after the MDL (order of the fields).
        let mdl = unsafe { Mdl::over(bytes.as_mut_ptr(), len) }?;
        Ok(Self {
            mdl,
            bytes,
            used: 0,
            lent: None,
        })
    }

    /// Copies what fits; the number of bytes.
    fn copy(&mut self, input: &[u8]) -> usize {
        let free = self.bytes.get_mut(self.used..).unwrap_or_default();
        let len = free.len().min(input.len());
        for (place, byte) in free.iter_mut().zip(input) {
            *place = *byte;
        }
        self.used = self.used.saturating_add(len);
        len
    }

    /// Lends as much of the next `len` bytes as there is.
    fn lend(&mut self, len: usize) -> Option<(PMDL, usize)> {
        let len = len.min(self.bytes.len().saturating_sub(self.used));
        let mut mdl = self.mdl.for_a_part().ok()?;
        let raw = mdl.describe(&self.mdl, self.used, len).ok()?;
        self.lent = Some(mdl);
        Some((raw, len))
    }
}

impl Record {
    /// A record of nothing. [`Self::initialise`] must follow once it lies at its place.
    pub(crate) const fn new() -> Self {
        Self {
            state: SpinLock::new(State {
                answer: Answer::Refuse,
                room: None,
                events: None,
                listed: 0,
                last: None,
                totals: [0; Kind::COUNT],
            }),
            progress: Signal::uninitialised(),
        }
    }

    /// Makes the event usable.
    ///
    /// # Safety
    ///
    /// The record lies in nonpaged memory, is not moved any more, and nobody uses it yet.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: Forwarded from this function's `# Safety` section.
        unsafe { self.progress.initialise(false) };
    }

    // ---- The side of the program (IRQL <= APC_LEVEL) ----

    /// Takes the memory. It stays until the handle goes, also when the circuit has ended.
    pub(crate) fn begin(&self, room: u32, answer: Answer) -> Result {
        let room = Room::try_new((room as usize).max(1))?;
        let events = Bytes::try_new(EVENTS.saturating_mul(Event::LEN), TAG_EVENTS)?;
        let mut state = self.state.lock();
        if state.room.is_some() {
            drop(state);
            return Err(STATUS_CONNECTION_ACTIVE);
        }
        state.answer = answer;
        state.room = Some(room);
        state.events = Some(events);
        Ok(())
    }

    pub(crate) fn set_answer(&self, answer: Answer) {
        self.state.lock().answer = answer;
    }

    /// Waits until enough has happened.
    pub(crate) fn wait(&self, wait: &Wait) -> Result {
        loop {
            let reached = {
                let state = self.state.lock();
                let total = state.totals.get(wait.kind as usize).copied();
                total.is_some_and(|total| total >= wait.at_least.into())
            };
            if reached {
                // Another thread may wait for something else.
                self.progress.set();
                return Ok(());
            }
            if !self.progress.wait_milliseconds(wait.milliseconds) {
                return Err(STATUS_IO_TIMEOUT);
            }
        }
    }

    pub(crate) fn copy_events(&self, output: &mut [u8]) -> usize {
        let state = self.state.lock();
        let bytes = state.events.as_deref().unwrap_or_default();
        copy(bytes.get(..state.listed).unwrap_or_default(), output)
    }

    pub(crate) fn copy_bytes(&self, offset: usize, output: &mut [u8]) -> usize {
        let (start, used) = match &self.state.lock().room {
            Some(room) => (room.bytes.as_ptr(), room.used),
            None => (ptr::null(), 0),
        };
        if start.is_null() {
            return 0;
        }
        // SAFETY: The room stays as long as the handle, and its used part is not written any more: no lock is needed for
        // what may be many bytes.
        let bytes = unsafe { slice::from_raw_parts(start, used) };
        copy(bytes.get(offset..).unwrap_or_default(), output)
    }

    // ---- The side of the callbacks (IRQL <= DISPATCH_LEVEL) ----

    /// Answers an indication of bytes, of `available` in all.
    pub(crate) fn indicated(&self, kind: Kind, input: &[u8], available: usize) -> Received {
        let answer = self.state.lock().indicated(kind, input, available);
        self.progress.set();
        answer
    }

    /// A lent buffer came back with `count` bytes.
    pub(crate) fn ready(&self, count: usize, status: NTSTATUS) {
        let mdl = self.state.lock().ready(count, status);
        self.progress.set();
        drop(mdl);
    }

    /// Notes something that carries no bytes.
    pub(crate) fn note(&self, kind: Kind, first: u32, second: usize) {
        self.state.lock().note(kind, first, second, 1);
        self.progress.set();
    }
}

impl State {
    fn indicated(&mut self, kind: Kind, input: &[u8], available: usize) -> Received {
        let Some(room) = self.room.as_mut().filter(|room| room.lent.is_none()) else {
            self.note(Kind::Refused, 1, available, 1);
            return Received::Refused;
        };
        let is_full = room.used == room.bytes.len() && !input.is_empty();
        let (most, further) = match self.answer {
            Answer::Take(most) => (most, None),
            Answer::Further(most, length) => (most, Some(length)),
            Answer::Refuse => (0, None),
        };
        if is_full || self.answer == Answer::Refuse {
            self.note(Kind::Refused, 1, available, 1);
            return Received::Refused;
        }
        let shown = input.len().min(most as usize);
        let taken = room.copy(input.get(..shown).unwrap_or_default());
        let lent = further.and_then(|length| room.lend(length as usize));
        let (first, amount) = if kind == Kind::Datagram {
            (u32::try_from(available).unwrap_or(u32::MAX), 1)
        } else {
            (1, taken)
        };
        self.note(kind, first, taken, amount);
        match lent {
            Some((mdl, len)) => Received::Further { taken, mdl, len },
            None => Received::Taken(taken),
        }
    }

    fn ready(&mut self, count: usize, status: NTSTATUS) -> Option<Mdl> {
        let mut mdl = None;
        if let Some(room) = &mut self.room {
            mdl = room.lent.take();
            let most = room.bytes.len().saturating_sub(room.used);
            room.used = room.used.saturating_add(count.min(most));
        }
        self.note(Kind::Ready, status.cast_unsigned(), count, 1);
        if let Some(total) = self.totals.get_mut(Kind::Received as usize) {
            *total = total.saturating_add(count as u64);
        }
        mdl
    }

    /// Adds an event to the list, or to the one before.
    fn note(&mut self, kind: Kind, first: u32, second: usize, amount: usize) {
        if let Some(total) = self.totals.get_mut(kind as usize) {
            *total = total.saturating_add(amount as u64);
        }
        let second = second as u64;
        let mut event = Event {
            kind,
            first,
            second,
        };
        match self.last {
            Some(last) if last.kind == kind && kind == Kind::Received => {
                event.first = last.first.saturating_add(first);
                event.second = last.second.saturating_add(second);
                self.listed = self.listed.saturating_sub(Event::LEN);
            }
            Some(last) if last.kind == kind && kind == Kind::Refused => {
                event.first = last.first.saturating_add(first);
                self.listed = self.listed.saturating_sub(Event::LEN);
            }
            _ => {}
        }
        let end = self.listed.saturating_add(Event::LEN);
        let events = self.events.as_deref_mut().unwrap_or_default();
        match events.get_mut(self.listed..end) {
            Some(place) => {
                place.copy_from_slice(&event.encode());
                self.listed = end;
                self.last = Some(event);
            }
            // The list is full: the event is in the totals only, and joins none.
            None => self.last = None,
        }
    }
}

/// Copies as much as fits.
fn copy(bytes: &[u8], output: &mut [u8]) -> usize {
    let len = bytes.len().min(output.len());
    if let (Some(from), Some(to)) = (bytes.get(..len), output.get_mut(..len)) {
        to.copy_from_slice(from);
    }
    len
}
