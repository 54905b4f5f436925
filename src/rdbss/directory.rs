//! Enumeration of directories. Its state belongs to the handle.

use core::ptr;

use p9::{DirEntry, Entries, Request, open as flags};
use rxce_engine::Error;
use rxce_netfs::{
    attributes::Attributes,
    directory::{Added, Entries as Output},
    name::{self, MOST_BYTES, MOST_UNITS},
    pattern, status as statuses,
};
use wdk_sys::{NTSTATUS, STATUS_SUCCESS};

use super::{
    abi::{Fobx, RxContext},
    open::{self, Open},
    query, status,
};
use crate::nt::{
    irql::Pageable,
    mutex::Mutex,
    pool::{Bytes, Pooled, Tag},
    shared::{self, Shared},
    unicode,
};

/// The most bytes of entries that are asked for at once.
const PAGE: usize = 32 << 10;
/// Entries as the server sent them.
const PAGE_TAG: Tag = Tag::new(*b"RxDp");
/// Pages without a usable entry before a server that has nothing to say in many words is given up.
const PATIENCE: u32 = 1000;

/// The enumeration of one handle.
struct Enumeration(Mutex<State>);

impl Pooled for Enumeration {
    const TAG: Tag = Tag::new(*b"RxEn");
}

struct State {
    pattern: [u16; MOST_UNITS],
    pattern_length: usize,
    stage: Stage,
    /// The directory, opened for reading; as good as the session.
    fid: Option<(Shared<Open>, u32)>,
    page: Option<Bytes>,
    /// How much of the page is there, and how much of that was used.
    filled: usize,
    used: usize,
    /// Where the server goes on.
    cookie: u64,
    /// Whether anything was found since the scan began.
    found: bool,
}

/// A copy of an entry of the server's.
struct Listed {
    name: [u8; MOST_BYTES],
    /// `None` for a name that is too long here.
    name_length: Option<usize>,
    id: u64,
    kind: u8,
    /// What it takes in the page, and where the server goes on behind it.
    length: usize,
    cookie: u64,
}

impl Listed {
    fn new(entry: &DirEntry<'_>) -> Self {
        let mut name = [0; MOST_BYTES];
        let room = name.get_mut(..entry.name.len());
        let name_length = room.map(|room| {
            room.copy_from_slice(entry.name);
            room.len()
        });
        Self {
            name,
            name_length,
            id: entry.qid.path,
            kind: entry.kind,
            length: entry.encoded_len(),
            cookie: entry.offset,
        }
    }

    fn name(&self) -> &[u8] {
        let length = self.name_length.unwrap_or(0);
        self.name.get(..length).unwrap_or_default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was asked yet.
    Fresh,
    /// "." comes next.
    This,
    /// ".." comes next.
    Parent,
    /// What the server lists comes next.
    Listed,
    /// A name without wildcards comes next.
    Exact,
    Done,
}

impl State {
    const fn new() -> Self {
        Self {
            pattern: [0; MOST_UNITS],
            pattern_length: 0,
            stage: Stage::Fresh,
            fid: None,
            page: None,
            filled: 0,
            used: 0,
            cookie: 0,
            found: false,
        }
    }

    fn pattern(&self) -> &[u16] {
        self.pattern.get(..self.pattern_length).unwrap_or_default()
    }

    /// Begins again, with a pattern of its own or that of before.
    fn restart(&mut self, text: &[u16]) -> Result<(), Error> {
        if !text.is_empty() || self.stage == Stage::Fresh {
            let room = self
                .pattern
                .get_mut(..text.len())
                .ok_or(Error::Transport(statuses::OBJECT_NAME_INVALID))?;
            room.copy_from_slice(text);
            self.pattern_length = text.len();
        }
        let pattern = self.pattern();
        let is_exact = !pattern::is_everything(pattern) && !pattern::has_wildcards(pattern);
        self.stage = if is_exact { Stage::Exact } else { Stage::This };
        self.filled = 0;
        self.used = 0;
        self.cookie = 0;
        self.found = false;
        Ok(())
    }

    /// The directory, open for reading.
    fn open(&mut self, at: &Pageable, open: &Shared<Open>) -> Result<u32, Error> {
        if let Some((_, fid)) = &self.fid {
            return Ok(*fid);
        }
        let fid = open::child(at, &open.session, open.fid, b"")?;
        let flags = flags::RDONLY | flags::DIRECTORY;
        if let Err(error) = open::read_open(at, &open.session, fid, flags) {
            open.session.clunk(at, fid);
            return Err(error);
        }
        self.fid = Some((open.clone(), fid));
        Ok(fid)
    }

    /// The next entry of the server's, behind those that were used; `None` at the end. It is used by [`Self::advance`].
    fn peek(&mut self, at: &Pageable, open: &Shared<Open>) -> Result<Option<Listed>, Error> {
        let fid = self.open(at, open)?;
        if self.used >= self.filled {
            self.fill(at, open, fid)?;
        }
        let page = self.page.as_deref().unwrap_or_default();
        let rest = page.get(self.used..self.filled).unwrap_or_default();
        match Entries::new(rest).next() {
            None => Ok(None),
            Some(Ok(entry)) => Ok(Some(Listed::new(&entry))),
            Some(Err(_)) => Err(open.session.broken()),
        }
    }

    fn fill(&mut self, at: &Pageable, open: &Open, fid: u32) -> Result<(), Error> {
        let mut page = match self.page.take() {
            Some(page) => page,
            None => Bytes::new(PAGE, PAGE_TAG)?,
        };
        let count = open
            .session
            .most_data()
            .min(u32::try_from(PAGE).unwrap_or(u32::MAX));
        let request = Request::Readdir {
            fid,
            offset: self.cookie,
            count,
        };
        self.used = 0;
        self.filled = 0;
        // SAFETY: The page is nonpaged pool of at least that length, and is this call's.
        let filled = unsafe {
            open.session
                .fetch(at, &request, page.as_mut_ptr(), count as usize)
        };
        self.page = Some(page);
        self.filled = filled?;
        Ok(())
    }

    /// Uses an entry.
    fn advance(&mut self, entry: &Listed) {
        self.used = self.used.saturating_add(entry.length);
        self.cookie = entry.cookie;
    }
}

/// `MRxQueryDirectory`.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn query(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let request = unsafe { RxContext::of(context) };
    // SAFETY: Forwarded.
    unsafe { run(&at, request) }.unwrap_or_else(status)
}

/// # Safety
///
/// As [`query`].
unsafe fn run(at: &Pageable, context: &mut RxContext) -> Result<NTSTATUS, Error> {
    // SAFETY: Forwarded.
    let open = unsafe { open::of(context.pRelevantSrvOpen) }?;
    // SAFETY: A query of a directory has its handle.
    let fobx = unsafe { context.pFobx.as_mut() }.ok_or(Error::InvalidParameter)?;
    // SAFETY: The parameters of such a query.
    let wanted = unsafe { context.query_directory() };
    // SAFETY: Forwarded.
    let template = unsafe { unicode::text(&raw const fobx.UnicodeQueryTemplate) };
    if !open.is_directory {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: RDBSS lets one first query in at a time.
    let enumeration = unsafe { enumeration(fobx) }?;
    // SAFETY: Forwarded.
    let buffer = unsafe { query::buffer(context) };
    let mut output =
        Output::new(context.Info.InformationClass, buffer).map_err(Error::Transport)?;
    let is_single = wanted.ReturnSingleEntry != 0;
    let answer = enumeration.0.with(at, |state| {
        let is_first = state.stage == Stage::Fresh;
        if is_first || wanted.RestartScan != 0 || wanted.InitialQuery != 0 {
            state.restart(template)?;
        }
        list(at, &open, state, &mut output, is_single)
    })?;
    let used = output.used();
    query::report_used(context, used);
    Ok(answer)
}

/// The handle's enumeration, made by its first query.
///
/// # Safety
///
/// RDBSS's object; nobody else makes its enumeration.
unsafe fn enumeration(fobx: &mut Fobx) -> Result<Shared<Enumeration>, Error> {
    if fobx.Context.is_null() {
        let new = Shared::new(Enumeration(Mutex::uninit(State::new())))?;
        // SAFETY: The lock is at its place, and nobody uses it yet.
        unsafe { new.0.init() };
        fobx.Context = new.into_context();
    }
    // SAFETY: The context has a part of an enumeration.
    unsafe { shared::share(fobx.Context) }.ok_or(Error::InvalidParameter)
}

/// Fills the buffer; the status of the query.
fn list(
    at: &Pageable,
    open: &Shared<Open>,
    state: &mut State,
    output: &mut Output<'_>,
    is_single: bool,
) -> Result<NTSTATUS, Error> {
    let mut patience = PATIENCE;
    while !is_single || output.is_empty() {
        let added = match state.stage {
            Stage::Fresh | Stage::Done => break,
            Stage::This => add_dots(state, output, &[u16::from(b'.')], Stage::Parent),
            Stage::Parent => add_dots(state, output, &[u16::from(b'.'); 2], Stage::Listed),
            Stage::Exact => add_exact(at, open, state, output)?,
            Stage::Listed => {
                let before = state.cookie;
                let added = add_listed(at, open, state, output);
                if state.cookie == before
                    && matches!(added, Ok(None))
                    && state.stage == Stage::Listed
                {
                    // A server that stands still.
                    patience = patience.saturating_sub(1);
                    if patience == 0 {
                        return Err(open.session.broken());
                    }
                }
                match added {
                    Ok(added) => added,
                    // What was found is there: the next query meets the error, if it stays.
                    Err(_) if !output.is_empty() => break,
                    Err(error) => return Err(error),
                }
            }
        };
        match added {
            None | Some(Added::Whole) => {}
            Some(Added::NoRoom) => break,
            Some(Added::Cut) => return Ok(Added::Cut.status()),
        }
    }
    if !output.is_empty() {
        return Ok(STATUS_SUCCESS);
    }
    Ok(if state.found {
        statuses::NO_MORE_FILES
    } else {
        statuses::NO_SUCH_FILE
    })
}

/// Adds an entry that fits the pattern; the scan goes on behind it unless there was no room.
fn add(state: &mut State, output: &mut Output<'_>, name: &[u16], file: &Attributes) -> Added {
    let added = output.add(name, file);
    state.found |= added != Added::NoRoom;
    added
}

/// "." and "..", which are no business of the server's.
fn add_dots(
    state: &mut State,
    output: &mut Output<'_>,
    name: &[u16],
    next: Stage,
) -> Option<Added> {
    if !pattern::fits(state.pattern(), name) {
        state.stage = next;
        return None;
    }
    let added = add(state, output, name, &Attributes::of_directory(0));
    if added != Added::NoRoom {
        state.stage = next;
    }
    Some(added)
}

/// The one file that a pattern without wildcards names.
fn add_exact(
    at: &Pageable,
    open: &Open,
    state: &mut State,
    output: &mut Output<'_>,
) -> Result<Option<Added>, Error> {
    let mut buffer = [0; MOST_BYTES];
    let length = name::to_server(state.pattern(), &mut buffer).map_err(Error::Transport)?;
    let name = buffer.get(..length).unwrap_or_default();
    let found = match open::child(at, &open.session, open.fid, name) {
        Ok(fid) => {
            let attr = open::attributes(at, &open.session, fid);
            open.session.clunk(at, fid);
            attr
        }
        Err(error) => Err(error),
    };
    match found {
        Err(Error::Transport(statuses::OBJECT_NAME_NOT_FOUND)) => {
            state.stage = Stage::Done;
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(attr) => {
            let pattern = state.pattern;
            let text = pattern.get(..state.pattern_length).unwrap_or_default();
            let added = add(state, output, text, &Attributes::new(&attr));
            if added != Added::NoRoom {
                state.stage = Stage::Done;
            }
            Ok(Some(added))
        }
    }
}

/// What the server lists next; `None` if that does not fit the pattern, or cannot be a name here.
fn add_listed(
    at: &Pageable,
    open: &Shared<Open>,
    state: &mut State,
    output: &mut Output<'_>,
) -> Result<Option<Added>, Error> {
    let Some(entry) = state.peek(at, open)? else {
        state.stage = Stage::Done;
        return Ok(None);
    };
    let mut buffer = [0; MOST_UNITS];
    let text = name::to_windows(entry.name(), &mut buffer)
        .and_then(|length| buffer.get(..length))
        .filter(|text| pattern::fits(state.pattern(), text));
    let Some(text) = text else {
        state.advance(&entry);
        return Ok(None);
    };
    let file = if output.wants_attributes() {
        entry_attributes(at, open, entry.name())?
            .unwrap_or(Attributes::of_entry(entry.id, entry.kind))
    } else {
        Attributes::default()
    };
    let added = add(state, output, text, &file);
    if added != Added::NoRoom {
        state.advance(&entry);
    }
    Ok(Some(added))
}

/// Attributes of an entry; `None` for one that the server does not show: it is still a name in the directory.
fn entry_attributes(at: &Pageable, open: &Open, name: &[u8]) -> Result<Option<Attributes>, Error> {
    let session = &open.session;
    let attr = open::child(at, session, open.fid, name).and_then(|fid| {
        let attr = open::attributes(at, session, fid);
        session.clunk(at, fid);
        attr
    });
    match attr {
        Ok(attr) => Ok(Some(Attributes::new(&attr))),
        Err(error) if session.is_usable() && error != Error::InsufficientResources => Ok(None),
        Err(error) => Err(error),
    }
}

/// `MRxDeallocateForFobx`: the enumeration of a handle ends.
///
/// # Safety
///
/// RDBSS's call; nobody uses the handle any more.
pub(super) unsafe extern "C" fn deallocate_fobx(fobx: *mut Fobx) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let context = match unsafe { fobx.as_mut() } {
        Some(fobx) => core::mem::replace(&mut fobx.Context, ptr::null_mut()),
        None => ptr::null_mut(),
    };
    // SAFETY: The context has the part that the first query put there.
    if let Some(enumeration) = unsafe { Shared::<Enumeration>::from_context(context) }
        && let Some((open, fid)) = enumeration.0.with(&at, |state| state.fid.take())
    {
        open.session.clunk(&at, fid);
    }
    STATUS_SUCCESS
}
