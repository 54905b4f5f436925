//! What the transport knows: its files, the requests it holds, its script, and the log.

use core::ffi::c_void;

use wdk_sys::{NTSTATUS, PIRP};

use crate::nt::{irql, status, watch::Watch};

/// The one transport state: vectors run one at a time.
pub(crate) static TRANSPORT: Watch<State> = Watch::new(State::new());

/// A kind of provider, one device each.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Personality {
    /// Streams with orderly release, expedited data.
    Orderly,
    /// Streams, abortive disconnect only.
    Abortive,
    /// Datagrams only.
    Datagram,
    /// Streams with orderly release and internal buffering: tells when a send is possible.
    Buffering,
    /// Streams with orderly release that refuse sends of no bytes.
    NoZeroLength,
}

impl Personality {
    pub(crate) const ALL: [Self; 5] = [
        Self::Orderly,
        Self::Abortive,
        Self::Datagram,
        Self::Buffering,
        Self::NoZeroLength,
    ];

    /// ServiceFlags of TDI_PROVIDER_INFO (tdi.md §6).
    pub(crate) const fn service_flags(self) -> u32 {
        const CONNECTION_MODE: u32 = 0x1;
        const ORDERLY_RELEASE: u32 = 0x2;
        const CONNECTIONLESS_MODE: u32 = 0x4;
        const ERROR_FREE_DELIVERY: u32 = 0x8;
        const EXPEDITED_DATA: u32 = 0x100;
        const INTERNAL_BUFFERING: u32 = 0x200;
        const NO_ZERO_LENGTH: u32 = 0x800;
        let stream = CONNECTION_MODE | ERROR_FREE_DELIVERY;
        match self {
            Self::Orderly => stream | ORDERLY_RELEASE | EXPEDITED_DATA,
            Self::Abortive => stream,
            Self::Datagram => CONNECTIONLESS_MODE,
            Self::Buffering => stream | ORDERLY_RELEASE | INTERNAL_BUFFERING,
            Self::NoZeroLength => stream | ORDERLY_RELEASE | NO_ZERO_LENGTH,
        }
    }
}

/// What a file object is (tdi.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Control,
    Address,
    Endpoint,
}

/// What is logged: each request, open and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open(FileKind),
    Cleanup(FileKind),
    Close(FileKind),
    Associate,
    Connect,
    Release,
    Abort,
    Send,
    Receive,
    SendDatagram,
    SetHandler,
    Query,
    Other,
}

const KINDS: usize = 19;

impl Kind {
    const fn index(self) -> usize {
        match self {
            Self::Open(kind) => kind as usize,
            Self::Cleanup(kind) => 3 + kind as usize,
            Self::Close(kind) => 6 + kind as usize,
            Self::Associate => 9,
            Self::Connect => 10,
            Self::Release => 11,
            Self::Abort => 12,
            Self::Send => 13,
            Self::Receive => 14,
            Self::SendDatagram => 15,
            Self::SetHandler => 16,
            Self::Query => 17,
            Self::Other => 18,
        }
    }

    /// A request in an IRP of the client's making, as opposed to opens and closes.
    pub(crate) const fn is_request(self) -> bool {
        !matches!(self, Self::Open(_) | Self::Cleanup(_) | Self::Close(_))
    }
}

/// What ends a pended request besides the script's author and the clean-up of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) abort: bool,
    pub(crate) cancel: bool,
}

/// What to do with requests of one kind.
#[derive(Clone, Copy)]
pub(crate) enum Script {
    /// Complete in the dispatch routine.
    Inline(NTSTATUS),
    /// Keep; the ends say what else may complete it.
    Pend(Ends),
    /// Keep as above, then run the hook inside the dispatch routine; it may complete the request.
    Hook(Ends, fn(usize)),
}

impl Script {
    /// Until told, or an ABORT, or a cancel: how a well-behaved transport pends.
    pub(crate) const PEND: Self = Self::Pend(Ends {
        abort: true,
        cancel: true,
    });
    /// Never until an ABORT.
    pub(crate) const UNTIL_ABORT: Self = Self::Pend(Ends {
        abort: true,
        cancel: false,
    });
    /// Only on cancel.
    pub(crate) const UNTIL_CANCEL: Self = Self::Pend(Ends {
        abort: false,
        cancel: true,
    });
    /// Only on the close of the handle.
    pub(crate) const UNTIL_CLOSE: Self = Self::Pend(Ends {
        abort: false,
        cancel: false,
    });
}

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
    /// Its place in the log.
    pub(crate) record: usize,
}

/// Bytes of data copied into a log record.
pub(crate) const DATA: usize = 64;

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
            data: [0; DATA],
            completed: None,
        }
    }
}

const FILES: usize = 96;
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
}

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
        }
    }

    const fn default_scripts() -> [Script; KINDS] {
        let mut scripts = [Script::Inline(status::SUCCESS); KINDS];
        // Data arrives when a vector says so.
        scripts[Kind::Receive.index()] = Script::PEND;
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
        self.restore_scripts();
        true
    }

    /// Back to a transport that does everything at once.
    pub(crate) fn restore_scripts(&mut self) {
        self.scripts = Self::default_scripts();
        self.handler_status = [status::SUCCESS; EVENTS];
        self.dispatch_allowed = false;
        self.complete_at = irql::DISPATCH;
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

    /// Requests held.
    pub(crate) fn held(&self) -> usize {
        self.pending.iter().flatten().count()
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

    /// Takes out the first held request (oldest first) that `which` accepts: it is the caller's to complete.
    pub(crate) fn claim(&mut self, mut which: impl FnMut(&Pending) -> bool) -> Option<Pending> {
        self.pending
            .iter_mut()
            .filter(|slot| slot.as_ref().is_some_and(&mut which))
            .min_by_key(|slot| slot.as_ref().map(|held| held.record))?
            .take()
    }

    /// Appends to the log; the place.
    pub(crate) fn append(&mut self, record: Record) -> usize {
        let place = self.logged;
        match self.log.get_mut(place) {
            Some(slot) => *slot = Some(record),
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
