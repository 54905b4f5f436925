//! Event Tracing for Windows: drivers register providers and write, sessions of the host listen.
//!
//! [`Session::start`] is what `logman start` is on Windows. A provider is told through its callback what all sessions ask for together;
//! an event reaches a session whose level and keywords fit. Events in the encoding of TraceLogging become an [`Event`] with names.

mod event;
mod routines;

use crate::dispatcher::host::on_system_thread;
use crate::gate;
use crate::image::{self, Image};
use core::sync::atomic::{AtomicU64, Ordering};
use parking_lot::Mutex;

pub use event::{Event, Value};
pub use routines::ROUTINES;

/// A provider's number, as it lies in memory.
pub type Guid = [u8; 16];

/// `EVENT_CONTROL_CODE_DISABLE_PROVIDER` and `EVENT_CONTROL_CODE_ENABLE_PROVIDER`.
const DISABLE: u64 = 0;
const ENABLE: u64 = 1;

/// A provider that a driver has registered.
#[derive(Clone, Copy, Debug)]
struct Registration {
    handle: u64,
    id: Guid,
    callback: usize,
    context: u64,
    /// Who registered it.
    caller: usize,
}

/// Somebody who listens.
#[derive(Debug)]
struct Listener {
    number: u64,
    id: Guid,
    level: u8,
    any: u64,
    events: Vec<Event>,
}

impl Listener {
    /// Whether it wants events like this. Level 0 and no keywords stand for all.
    fn wants(&self, id: &Guid, level: u8, keyword: u64) -> bool {
        self.id == *id
            && (self.level == 0 || level <= self.level)
            && (self.any == 0 || keyword == 0 || keyword & self.any != 0)
    }
}

#[derive(Debug)]
struct State {
    registrations: Vec<Registration>,
    listeners: Vec<Listener>,
}

static STATE: Mutex<State> = Mutex::new(State {
    registrations: Vec::new(),
    listeners: Vec::new(),
});
/// Handles of registrations and numbers of sessions.
static NEXT: AtomicU64 = AtomicU64::new(1);
/// Events that drivers have handed over.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// How many events drivers have handed over so far, whether somebody wanted them or not.
#[must_use]
pub fn written() -> u64 {
    WRITTEN.load(Ordering::Relaxed)
}

/// Whether a provider is registered.
#[must_use]
pub fn is_registered(id: &Guid) -> bool {
    STATE
        .lock()
        .registrations
        .iter()
        .any(|registration| registration.id == *id)
}

/// A session that listens to one provider. It ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    number: u64,
    id: Guid,
}

impl Session {
    /// Listens to a provider, registered or not: up to this level, 0 for all; to events with one of these keywords, 0 for all.
    #[must_use]
    pub fn start(id: Guid, level: u8, keywords: u64) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        STATE.lock().listeners.push(Listener {
            number,
            id,
            level,
            any: keywords,
            events: Vec::new(),
        });
        tell(&id);
        Self { number, id }
    }

    /// Takes the events that have come since the last time.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut state = STATE.lock();
        let own = state
            .listeners
            .iter_mut()
            .find(|listener| listener.number == self.number);
        own.map(|listener| core::mem::take(&mut listener.events))
            .unwrap_or_default()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        STATE
            .lock()
            .listeners
            .retain(|listener| listener.number != self.number);
        tell(&self.id);
    }
}

/// Tells a provider's registrations what is asked for now.
fn tell(id: &Guid) {
    let registrations: Vec<Registration> = {
        let state = STATE.lock();
        let of_provider = state.registrations.iter();
        of_provider
            .filter(|registration| registration.id == *id && registration.callback != 0)
            .copied()
            .collect()
    };
    for registration in registrations {
        on_system_thread("etw", move || control(&registration));
    }
}

/// What all sessions ask a provider for together: the highest level and all keywords; nothing if none listens.
fn wish(id: &Guid) -> Option<(u8, u64)> {
    let state = STATE.lock();
    let mut own = state
        .listeners
        .iter()
        .filter(|listener| listener.id == *id)
        .map(|listener| (listener.level, listener.any));
    let first = own.next()?;
    Some(own.fold(first, |(level, any), (other, more)| {
        let level = if level == 0 || other == 0 {
            0
        } else {
            level.max(other)
        };
        let any = if any == 0 || more == 0 { 0 } else { any | more };
        (level, any)
    }))
}

/// Calls a provider's callback, on the current thread. No lock is held.
fn control(registration: &Registration) {
    let id = Box::new(registration.id);
    let (code, level, any) = match wish(&registration.id) {
        Some((level, any)) => (ENABLE, level, any),
        None => (DISABLE, 0, 0),
    };
    let arguments = [
        id.as_ptr() as u64,
        code,
        level.into(),
        any,
        0,
        0,
        registration.context,
    ];
    gate::call_named("EnableCallback", registration.callback, &arguments);
}

/// One line for each provider that an image has registered and not unregistered; they are forgotten.
pub(crate) fn forget(image: &Image) -> Vec<(u64, String)> {
    let is_own = |registration: &Registration| {
        image::find(registration.caller).is_some_and(|found| found.id == image.id)
    };
    let mut state = STATE.lock();
    let left = state
        .registrations
        .iter()
        .filter(|registration| is_own(registration))
        .map(|registration| {
            let who = crate::stop::describe(registration.caller);
            (
                registration.handle,
                format!("provider {}, registered by {who}", text(&registration.id)),
            )
        })
        .collect();
    state
        .registrations
        .retain(|registration| !is_own(registration));
    left
}

/// A provider's number as people write it.
#[must_use]
pub fn text(id: &Guid) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = id;
    let number = u32::from_le_bytes([*a, *b, *c, *d]);
    let (second, third) = (u16::from_le_bytes([*e, *f]), u16::from_le_bytes([*g, *h]));
    let hexadecimal =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let (head, tail) = rest.split_at(2);
    format!(
        "{number:08x}-{second:04x}-{third:04x}-{}-{}",
        hexadecimal(head),
        hexadecimal(tail)
    )
}
