//! What the transport knows: its files, the requests it holds, its script, and the log.

use core::ffi::c_void;

use wdk_sys::{NTSTATUS, PIRP};

use super::{
    fault::Fault,
    kinds::{Ends, FileKind, KINDS, Kind, Personality, Script},
    query::Provider,
};
use crate::nt::{event::Event, irp, irql, status, watch::Watch};

/// The one transport state: vectors run one at a time.
pub(crate) static TRANSPORT: Watch<State> = Watch::new(State::new());

/// A TDI event handler as registered.
#[derive(Clone, Copy)]
pub(crate) struct Handler {
    pub(crate) routine: *mut c_void,
    pub(crate) context: *mut c_void,
}

/// One file object. Its record stays when it is closed, so that a late call can be made with its old context.
#[derive(Clone, Copy)]
pub(crate) struct File {
    pub(crate) kind: FileKind,
    pub(crate) personality: Personality,
    /// Between CREATE and CLEANUP.
    pub(crate) handle_open: bool,
    /// Between CREATE and CLOSE.
    pub(crate) open: bool,
    pub(crate) object: *mut c_void,
    /// ConnectionContext of an endpoint.
    pub(crate) token: *mut c_void,
    /// The address an endpoint is associated with.
    pub(crate) address: Option<usize>,
    /// Event handlers of an address, by event type.
    pub(crate) handlers: [Handler; EVENTS],
}

/// Event types that exist (tdi.md §5).
pub(crate) const EVENTS: usize = 11;

/// A request that the transport holds.
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) irp: PIRP,
    pub(crate) file: usize,
    pub(crate) kind: Kind,
    pub(crate) ends: Ends,
    /// The status it is to end with, if somebody is to end it by itself.
    pub(crate) due: Option<NTSTATUS>,
    /// Its place in the log.
    pub(crate) record: usize,
    /// Its cancel routine has been taken, and will complete it.
    pub(super) cancelled: bool,
}

impl Pending {
    /// A request that the transport has, and its place in the log.
    pub(super) const fn new(
        irp: PIRP,
        (kind, file): (Kind, usize),
        ends: Ends,
        record: usize,
    ) -> Self {
        Self {
            irp,
            file,
            kind,
            ends,
            due: None,
            record,
            cancelled: false,
        }
    }
}

/// Bytes of data copied into a log record.
pub(crate) const DATA: usize = 64;
/// Bytes of a datagram's remote address copied into a log record.
pub(crate) const REMOTE: usize = 22;

/// A deep copy of one request, open or close.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) file: usize,
    pub(crate) irql: u8,
    pub(crate) apcs_disabled: bool,
    /// RequestFlags, SendFlags or ReceiveFlags.
    pub(crate) flags: u32,
    /// SendLength or ReceiveLength; bytes of the remote address for a connect.
    pub(crate) length: u32,
    /// Event type, or query type.
    pub(crate) code: i32,
    pub(crate) timeout: *const i64,
    /// What `timeout` pointed to on arrival.
    pub(crate) timeout_value: Option<i64>,
    pub(crate) mdl: *mut c_void,
    /// The connection information of a datagram, and the address that it named on arrival.
    pub(crate) information: *const c_void,
    pub(crate) remote: [u8; REMOTE],
    /// First bytes of the data, the address, or the remote address.
    pub(crate) data: [u8; DATA],
    pub(crate) completed: Option<NTSTATUS>,
}

impl Record {
    /// A record of something that happens now, with nothing filled in.
    pub(crate) fn now(kind: Kind, file: usize) -> Self {
        Self {
            kind,
            file,
            irql: irql::current(),
            apcs_disabled: irql::all_apcs_disabled(),
            flags: 0,
            length: 0,
            code: 0,
            timeout: core::ptr::null(),
            timeout_value: None,
            mdl: core::ptr::null_mut(),
            information: core::ptr::null(),
            remote: [0; REMOTE],
            data: [0; DATA],
            completed: None,
        }
    }
}

/// What the transport answers to queries other than TDI_QUERY_PROVIDER_INFO; unsupported without one.
#[derive(Clone, Copy)]
pub(crate) struct QueryAnswer {
    pub(crate) bytes: [u8; ANSWER],
    /// How many of them it has; what does not fit into the client's buffer is BUFFER_OVERFLOW.
    pub(crate) length: usize,
    /// The status where all of it fits.
    pub(crate) status: NTSTATUS,
}

/// Most bytes of a query's answer.
pub(crate) const ANSWER: usize = 512;

pub(super) const FILES: usize = 96;
const HELD: usize = 64;
const LOG: usize = 512;

/// Everything behind the transport's lock.
pub(crate) struct State {
    files: [Option<File>; FILES],
    pending: [Option<Pending>; HELD],
    log: [Option<Record>; LOG],
    logged: usize,
    scripts: [Script; KINDS],
    /// Status for registering a handler of each event type.
    pub(crate) handler_status: [NTSTATUS; EVENTS],
    /// The first rule that a request broke.
    violation: Option<(&'static str, u64)>,
    /// Requests may arrive at DISPATCH_LEVEL (rxce.md §3.1.4).
    pub(crate) dispatch_allowed: bool,
    pub(crate) complete_at: u8,
    /// The answer to queries.
    pub(crate) answer: Option<QueryAnswer>,
    /// MaxDatagramSize of every provider.
    pub(crate) longest_datagram: u32,
    /// Service flags that every provider has besides its own.
    pub(crate) more_services: u32,
    /// Nobody reads the log to its end: what does not fit is not noted.
    pub(crate) log_may_end: bool,
    /// What providers say of themselves instead.
    pub(crate) provider: Option<Provider>,
    /// Scripts for one personality alone; they go before the others.
    overrides: [Option<(Personality, Kind, Script)>; 8],
    /// Where the next clean-up of an endpoint stops.
    gate: Option<Gate>,
    /// Which request is made to fail.
    pub(crate) fault: Fault,
    /// Somebody ends what is due.
    pub(crate) ends_due: bool,
}

/// The clean-up of one personality's endpoint sets the first event and waits for the second; both outlive it.
#[derive(Clone, Copy)]
pub(crate) struct Gate {
    personality: Personality,
    pub(crate) entered: *const Event,
    pub(crate) go_on: *const Event,
}

/// MaxDatagramSize as long as no vector asks for another.
pub(crate) const LONGEST_DATAGRAM: u32 = 1400;

// SAFETY: The raw pointers are addresses of objects that the I/O manager keeps valid until their close, or are only
// compared; all of it is reached under the lock.
unsafe impl Send for State {}

impl State {
    const fn new() -> Self {
        Self {
            files: [None; FILES],
            pending: [None; HELD],
            log: [None; LOG],
            logged: 0,
            scripts: Self::default_scripts(),
            handler_status: [status::SUCCESS; EVENTS],
            violation: None,
            dispatch_allowed: false,
            complete_at: irql::DISPATCH,
            answer: None,
            longest_datagram: LONGEST_DATAGRAM,
            more_services: 0,
            log_may_end: false,
            provider: None,
            overrides: [None; 8],
            gate: None,
            fault: Fault::NONE,
            ends_due: false,
        }
    }

    const fn default_scripts() -> [Script; KINDS] {
        let mut scripts = [Script::Inline(status::SUCCESS); KINDS];
        // Data arrives when a vector says so.
        scripts[Kind::Receive.index()] = Script::PEND;
        scripts[Kind::ReceiveDatagram.index()] = Script::PEND;
        scripts
    }

    /// Forgets everything; refused while anything is open or held, since those records are still needed.
    pub(crate) fn reset(&mut self) -> bool {
        if self.open_files() != 0 || self.held() != 0 {
            return false;
        }
        // In place: these tables are larger than a kernel stack.
        self.files.fill(None);
        self.log.fill(None);
        self.logged = 0;
        self.violation = None;
        self.log_may_end = false;
        self.restore_scripts();
        true
    }

    /// Back to a transport that does everything at once.
    pub(crate) fn restore_scripts(&mut self) {
        self.scripts = Self::default_scripts();
        self.handler_status = [status::SUCCESS; EVENTS];
        self.dispatch_allowed = false;
        self.complete_at = irql::DISPATCH;
        self.answer = None;
        self.longest_datagram = LONGEST_DATAGRAM;
        self.more_services = 0;
        self.provider = None;
        self.overrides = [None; 8];
        self.gate = None;
    }

    /// Stops the next clean-up of an endpoint of `personality` between the events, which outlive it.
    pub(crate) fn stop_clean_up(
        &mut self,
        personality: Personality,
        entered: &Event,
        go_on: &Event,
    ) {
        self.gate = Some(Gate {
            personality,
            entered,
            go_on,
        });
    }

    /// The stop for the clean-up of `file`, if there is one; it is taken.
    pub(crate) fn take_gate(&mut self, file: usize) -> Option<Gate> {
        let entry = self.file(file)?;
        let here = entry.kind == FileKind::Endpoint
            && self
                .gate
                .is_some_and(|gate| gate.personality == entry.personality);
        if here { self.gate.take() } else { None }
    }

    /// The endpoint of a personality that was opened last, closed or not.
    pub(crate) fn endpoint_on(&self, personality: Personality) -> Option<usize> {
        self.files.iter().rposition(|file| {
            file.as_ref().is_some_and(|file| {
                file.kind == FileKind::Endpoint && file.personality == personality
            })
        })
    }

    /// Sets the script of one kind of request to one personality.
    pub(crate) fn script_on(&mut self, personality: Personality, kind: Kind, script: Script) {
        let same = |slot: &&mut Option<(Personality, Kind, Script)>| {
            slot.is_none_or(|(at, of, _)| at == personality && of == kind)
        };
        match self.overrides.iter_mut().find(same) {
            Some(slot) => *slot = Some((personality, kind, script)),
            None => self.violated("more scripts than the transport can hold", 0),
        }
    }

    /// The script of one kind of request to a file, or to a device where there is no file yet.
    pub(crate) fn script_for(&self, personality: Option<Personality>, kind: Kind) -> Script {
        self.overrides
            .iter()
            .flatten()
            .find(|(at, of, _)| Some(*at) == personality && *of == kind)
            .map_or_else(|| self.script_of(kind), |(_, _, script)| *script)
    }

    /// The personality of a file.
    pub(crate) fn personality(&self, file: usize) -> Option<Personality> {
        self.file(file).map(|file| file.personality)
    }

    /// Sets the script of one kind of request.
    pub(crate) fn script(&mut self, kind: Kind, script: Script) {
        if let Some(slot) = self.scripts.get_mut(kind.index()) {
            *slot = script;
        }
    }

    /// The script of one kind of request.
    pub(crate) fn script_of(&self, kind: Kind) -> Script {
        self.scripts
            .get(kind.index())
            .copied()
            .unwrap_or(Script::Inline(status::SUCCESS))
    }

    /// Enters a file; its index.
    pub(crate) fn add_file(&mut self, file: File) -> Option<usize> {
        let (index, slot) = self
            .files
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| slot.is_none())?;
        *slot = Some(file);
        Some(index)
    }

    pub(crate) fn file(&self, index: usize) -> Option<&File> {
        self.files.get(index)?.as_ref()
    }

    pub(crate) fn file_mut(&mut self, index: usize) -> Option<&mut File> {
        self.files.get_mut(index)?.as_mut()
    }

    /// The file with this file object, open or closed; the latest one, since addresses come again.
    pub(crate) fn file_of(&self, object: *const c_void) -> Option<usize> {
        self.files.iter().rposition(|file| {
            file.as_ref()
                .is_some_and(|file| file.object.cast_const() == object)
        })
    }

    /// The routine of some handler of an address: code of the client's.
    pub(crate) fn any_handler(&self, address: usize) -> Option<*mut c_void> {
        let handlers = &self.file(address)?.handlers;
        handlers
            .iter()
            .map(|handler| handler.routine)
            .find(|routine| !routine.is_null())
    }

    /// Files that are not closed.
    pub(crate) fn open_files(&self) -> usize {
        self.files.iter().flatten().filter(|file| file.open).count()
    }

    /// The requests held.
    pub(super) fn all_held(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter().flatten()
    }

    /// How many requests are held.
    pub(crate) fn held(&self) -> usize {
        self.all_held().count()
    }

    /// Requests of one kind held.
    pub(crate) fn held_of(&self, kind: Kind) -> usize {
        self.pending
            .iter()
            .flatten()
            .filter(|held| held.kind == kind)
            .count()
    }

    /// Holds a request; refused where its file's handle is closed, since no clean-up would end it any more.
    pub(crate) fn hold(&mut self, pending: Pending) -> bool {
        if self.file(pending.file).is_none_or(|file| !file.handle_open) {
            return false;
        }
        let Some(slot) = self.pending.iter_mut().find(|slot| slot.is_none()) else {
            self.violated("more requests than the transport can hold", 0);
            return false;
        };
        *slot = Some(pending);
        true
    }

    /// Takes out the first held request (oldest first) that `which` accepts: it is the caller's to complete. One whose cancel routine
    /// has been taken already is left to that routine (`IoSetCancelRoutine`).
    pub(crate) fn claim(&mut self, mut which: impl FnMut(&Pending) -> bool) -> Option<Pending> {
        loop {
            let slot = self
                .pending
                .iter_mut()
                .filter(|slot| {
                    slot.as_ref()
                        .is_some_and(|held| !held.cancelled && which(held))
                })
                .min_by_key(|slot| slot.as_ref().map(|held| held.record))?;
            let held = slot.as_mut()?;
            // SAFETY: It is in the table, so the transport owns it.
            held.cancelled =
                held.ends.cancel && !unsafe { irp::set_cancel_routine(held.irp, None) };
            if !held.cancelled {
                return slot.take();
            }
        }
    }

    /// What the cancel routine takes out.
    pub(super) fn claim_cancelled(&mut self, irp: PIRP) -> Option<Pending> {
        self.pending
            .iter_mut()
            .find(|slot| slot.as_ref().is_some_and(|held| held.irp == irp))?
            .take()
    }

    /// Place in the log of the oldest held request that `which` accepts.
    pub(crate) fn oldest(&self, which: impl Fn(&Self, &Pending) -> bool) -> Option<usize> {
        let held = self.pending.iter().flatten();
        held.filter(|held| !held.cancelled && which(self, held))
            .map(|held| held.record)
            .min()
    }

    /// Appends to the log; the place.
    pub(crate) fn append(&mut self, record: Record) -> usize {
        let place = self.logged;
        match self.log.get_mut(place) {
            Some(slot) => *slot = Some(record),
            None if self.log_may_end => {}
            None => self.violated("the log is full", 0),
        }
        self.logged = self.logged.saturating_add(1);
        place
    }

    /// Notes a completion in the log.
    pub(crate) fn completed(&mut self, place: usize, status: NTSTATUS) {
        let Some(Some(record)) = self.log.get_mut(place) else {
            return;
        };
        if record.completed.is_some() {
            self.violated("the transport completed a request twice", place as u64);
            return;
        }
        record.completed = Some(status);
    }

    pub(crate) fn record(&self, place: usize) -> Option<Record> {
        self.log.get(place).copied().flatten()
    }

    /// Log records, oldest first.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.log.iter().flatten()
    }

    /// How many of one kind were logged.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.records().filter(|record| record.kind == kind).count()
    }

    /// How many requests were logged (opens and closes are none).
    pub(crate) fn requests(&self) -> usize {
        self.records()
            .filter(|record| record.kind.is_request())
            .count()
    }

    /// The last record of one kind.
    pub(crate) fn last(&self, kind: Kind) -> Option<Record> {
        self.records()
            .filter(|record| record.kind == kind)
            .last()
            .copied()
    }

    /// Notes that a request broke a rule.
    pub(crate) fn violated(&mut self, rule: &'static str, value: u64) {
        self.violation.get_or_insert((rule, value));
    }

    pub(crate) const fn violation(&self) -> Option<(&'static str, u64)> {
        self.violation
    }
}
