//! Open files: `MRX_SRV_OPEN`.

use core::ptr;

use p9::{Attr, MAX_WALK, Reply, Request, getattr, open as flags};
use rxce_engine::Error;
use rxce_netfs::{
    attributes::Attributes,
    name::{self, MOST_BYTES},
    status as statuses,
};
use wdk_sys::{
    FILE_APPEND_DATA, FILE_CREATE, FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE, FILE_EXECUTE,
    FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_BY_FILE_ID, FILE_OPEN_IF, FILE_OPENED,
    FILE_OVERWRITE, FILE_READ_DATA, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA, FILE_WRITE_EA,
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_NOT_SUPPORTED, STATUS_SUCCESS,
};

use super::{
    abi::{MrxFcb, RxContext, SrvOpen},
    imports::{FcbInitPacket, RxCreateNetFobx, RxFinishFcbInitialization},
    root::{self, Attached},
    session::Session,
    status,
};
use crate::nt::{
    irql::Pageable,
    pool::{Bytes, Pooled, Tag},
    shared::{self, Shared},
    unicode,
};

/// `RDBSS_NTC_STORAGE_TYPE_DIRECTORY` and `_FILE`.
const STORAGE_DIRECTORY: u32 = 0xEC02;
const STORAGE_FILE: u32 = 0xEC03;

/// `DELETE`, `WRITE_DAC`, `WRITE_OWNER`, and what writes to a file. A directory's `FILE_ADD_FILE` and `FILE_ADD_SUBDIRECTORY`
/// have the bits of the first two.
const WRITES: u32 = FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_WRITE_EA
    | FILE_WRITE_ATTRIBUTES
    | wdk_sys::DELETE
    | wdk_sys::WRITE_DAC
    | wdk_sys::WRITE_OWNER;

/// Names on their way to the server.
const NAMES_TAG: Tag = Tag::new(*b"RxNm");

/// An open file, as the driver keeps it.
pub(super) struct Open {
    pub(super) session: Shared<Session>,
    /// The file; a plain file is open for reading by it, if that was asked for.
    pub(super) fid: u32,
    /// What it was when it was opened.
    pub(super) is_directory: bool,
}

impl Pooled for Open {
    const TAG: Tag = Tag::new(*b"RxOp");
}

/// The driver's part of an open file.
///
/// # Safety
///
/// RDBSS's object, which is not closed meanwhile.
pub(super) unsafe fn of(open: *mut SrvOpen) -> Result<Shared<Open>, Error> {
    // SAFETY: Forwarded.
    let context = unsafe { open.as_ref() }.map_or(ptr::null_mut(), |open| open.Context);
    // SAFETY: Forwarded: the part that the context stands for lives.
    unsafe { shared::share(context) }.ok_or(Error::InvalidParameter)
}

/// What a create asks for.
struct Wanted {
    access: u32,
    disposition: u32,
    options: u32,
}

impl Wanted {
    /// Refuses what would change something, and what is not offered, whether or not there is such a file.
    fn check(&self) -> Result<(), Error> {
        if self.options & FILE_OPEN_BY_FILE_ID != 0 {
            return Err(Error::Transport(STATUS_NOT_SUPPORTED));
        }
        if self.access & WRITES != 0 || self.options & FILE_DELETE_ON_CLOSE != 0 {
            return Err(Error::Transport(statuses::MEDIA_WRITE_PROTECTED));
        }
        Ok(())
    }

    /// What becomes of it where there is such a file.
    fn check_found(&self, file: &Attributes) -> Result<(), Error> {
        let refused = match self.disposition {
            FILE_CREATE => statuses::OBJECT_NAME_COLLISION,
            FILE_OPEN | FILE_OPEN_IF => {
                if file.is_link() {
                    statuses::IO_REPARSE_TAG_NOT_HANDLED
                } else if file.is_device() {
                    statuses::ACCESS_DENIED
                } else if self.options & FILE_DIRECTORY_FILE != 0 && !file.is_directory() {
                    statuses::NOT_A_DIRECTORY
                } else if self.options & FILE_NON_DIRECTORY_FILE != 0 && file.is_directory() {
                    statuses::FILE_IS_A_DIRECTORY
                } else {
                    return Ok(());
                }
            }
            _ => statuses::MEDIA_WRITE_PROTECTED,
        };
        Err(Error::Transport(refused))
    }

    /// The status where there is no such file.
    fn missing(&self, error: Error) -> Error {
        let would_create = !matches!(self.disposition, FILE_OPEN | FILE_OVERWRITE);
        match error {
            Error::Transport(statuses::OBJECT_NAME_NOT_FOUND) if would_create => {
                Error::Transport(statuses::MEDIA_WRITE_PROTECTED)
            }
            other => other,
        }
    }

    const fn reads(&self) -> bool {
        self.access & (FILE_READ_DATA | FILE_EXECUTE) != 0
    }
}

/// `MRxCreate`.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn create(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let request = unsafe { RxContext::of(context) };
    // SAFETY: Forwarded.
    match unsafe { create_file(&at, request) } {
        Ok(()) => STATUS_SUCCESS,
        Err(error) => status(error),
    }
}

/// # Safety
///
/// As [`create`].
unsafe fn create_file(at: &Pageable, context: &mut RxContext) -> Result<(), Error> {
    // SAFETY: The parameters of a create.
    let create = unsafe { context.create() };
    let wanted = Wanted {
        access: create.DesiredAccess,
        disposition: create.Disposition,
        options: create.CreateOptions,
    };
    wanted.check()?;
    // SAFETY: A create has its open.
    let srv_open = unsafe { context.pRelevantSrvOpen.as_mut() }.ok_or(Error::InvalidParameter)?;
    // SAFETY: The open keeps its view, and that its tree.
    let root = unsafe { root::of(srv_open.pVNetRoot) }.ok_or(Error::InvalidParameter)?;
    // SAFETY: The open keeps its name.
    let path = unsafe { unicode::text(srv_open.pAlreadyPrefixedName) };
    let attached = root.attached(at)?;
    let file = File::walk(at, attached, path).map_err(|error| wanted.missing(error))?;
    let kept = file.prepare(at, &wanted).and_then(|attributes| {
        let open = Shared::new(Open {
            session: file.session.clone(),
            fid: file.fid,
            is_directory: attributes.is_directory(),
        })?;
        // Last: what RDBSS makes here is not taken back.
        // SAFETY: Forwarded.
        unsafe { announce(context, &attributes) }.map(|()| open)
    });
    match kept {
        Ok(open) => {
            srv_open.Context = open.into_context();
            // Nothing is cached: every read goes to the server.
            srv_open.BufferingFlags = 0;
            // SAFETY: The parameters of a create.
            let create = unsafe { context.create() };
            create.ReturnedCreateInformation = FILE_OPENED;
            Ok(())
        }
        Err(error) => {
            file.session.clunk(at, file.fid);
            Err(error)
        }
    }
}

/// Tells RDBSS what was opened, and has it make its object for the handle.
///
/// # Safety
///
/// As [`create`].
unsafe fn announce(context: &mut RxContext, file: &Attributes) -> Result<(), Error> {
    let mut now = *file;
    let mut links = file.links;
    let mut packet = FcbInitPacket {
        pAttributes: &raw mut now.flags,
        pNumLinks: &raw mut links,
        pCreationTime: &raw mut now.created,
        pLastAccessTime: &raw mut now.accessed,
        pLastWriteTime: &raw mut now.written,
        pLastChangeTime: &raw mut now.changed,
        pAllocationSize: &raw mut now.allocation,
        pFileSize: &raw mut now.size,
        pValidDataLength: &raw mut now.size,
    };
    let kind = if file.is_directory() {
        STORAGE_DIRECTORY
    } else {
        STORAGE_FILE
    };
    // SAFETY: The FCB of this create; the packet's pointers live across the call.
    unsafe { RxFinishFcbInitialization(context.pFcb, kind, &raw mut packet) };
    // SAFETY: The request and its open.
    let fobx = unsafe { RxCreateNetFobx(context, context.pRelevantSrvOpen) };
    context.pFobx = fobx;
    if fobx.is_null() {
        return Err(Error::Transport(STATUS_INSUFFICIENT_RESOURCES));
    }
    Ok(())
}

/// A file that was walked to.
struct File {
    session: Shared<Session>,
    fid: u32,
}

impl File {
    /// Walks from the root. Every name is checked before the server hears of the first.
    fn walk(at: &Pageable, root: Attached, path: &[u16]) -> Result<Self, Error> {
        // A character takes three bytes at most.
        let room = path.len().saturating_mul(3).max(1);
        let mut bytes = Bytes::new(room, NAMES_TAG)?;
        for component in name::components(path) {
            encode(component.map_err(Error::Transport)?, &mut [0; MOST_BYTES])?;
        }
        let Attached { session, fid: from } = root;
        let fid = session.new_fid()?;
        let mut components = name::components(path);
        let mut is_walked = false;
        loop {
            let run = Run::next(&mut components, &mut bytes)?;
            let is_last = components.clone().next().is_none();
            let start = if is_walked { fid } else { from };
            if let Err(error) = run.walk(at, &session, start, fid, is_last) {
                if is_walked {
                    session.clunk(at, fid);
                } else {
                    session.forget_fid(fid);
                }
                return Err(error);
            }
            is_walked = true;
            if is_last {
                return Ok(Self { session, fid });
            }
        }
    }

    /// Asks for the file's attributes, and opens it for reading if that is wanted. A directory is opened when it is listed.
    fn prepare(&self, at: &Pageable, wanted: &Wanted) -> Result<Attributes, Error> {
        let attributes = Attributes::new(&attributes(at, &self.session, self.fid)?);
        wanted.check_found(&attributes)?;
        if wanted.reads() && !attributes.is_directory() {
            read_open(at, &self.session, self.fid, flags::RDONLY)?;
        }
        Ok(attributes)
    }
}

/// As many names as one walk takes.
struct Run<'a> {
    names: [&'a [u8]; MAX_WALK],
    count: usize,
}

impl<'a> Run<'a> {
    fn next<'p>(
        components: &mut impl Iterator<Item = Result<&'p [u16], i32>>,
        mut bytes: &'a mut [u8],
    ) -> Result<Self, Error> {
        let mut names: [&[u8]; MAX_WALK] = [b""; MAX_WALK];
        let mut count = 0_usize;
        for (place, component) in names.iter_mut().zip(components) {
            let mut buffer = [0; MOST_BYTES];
            let length = encode(component.map_err(Error::Transport)?, &mut buffer)?;
            let (name, rest) = bytes
                .split_at_mut_checked(length)
                .ok_or(Error::InvalidParameter)?;
            for (to, from) in name.iter_mut().zip(&buffer) {
                *to = *from;
            }
            *place = name;
            bytes = rest;
            count = count.saturating_add(1);
        }
        Ok(Self { names, count })
    }

    fn walk(
        &self,
        at: &Pageable,
        session: &Session,
        from: u32,
        to: u32,
        is_last: bool,
    ) -> Result<(), Error> {
        let names = self.names.get(..self.count).unwrap_or_default();
        // A name that is missing on the way is a path that is missing.
        let missing = |walked: usize, is_below_directory: bool| {
            let at_the_end = is_last && walked.saturating_add(1) >= names.len();
            Error::Transport(if at_the_end && is_below_directory {
                statuses::OBJECT_NAME_NOT_FOUND
            } else {
                statuses::OBJECT_PATH_NOT_FOUND
            })
        };
        let request = Request::Walk {
            fid: from,
            new_fid: to,
            names,
        };
        let answer = session.ask(at, &request)?;
        match answer.reply() {
            Ok(Reply::Walk { qids }) if qids.len() == names.len() => Ok(()),
            Ok(Reply::Walk { qids }) if qids.len() < names.len() => {
                let is_below_directory = qids.iter().last().is_none_or(p9::Qid::is_dir);
                Err(missing(qids.len(), is_below_directory))
            }
            Ok(_) => Err(session.broken()),
            Err(Error::Transport(statuses::OBJECT_NAME_NOT_FOUND | statuses::NOT_A_DIRECTORY)) => {
                Err(missing(0, true))
            }
            Err(error) => Err(error),
        }
    }
}

fn encode(component: &[u16], buffer: &mut [u8; MOST_BYTES]) -> Result<usize, Error> {
    name::to_server(component, buffer).map_err(Error::Transport)
}

/// Walks from a directory to a file in it, to a fid of its own.
///
/// # Errors
///
/// As those of a walk.
pub(super) fn child(at: &Pageable, session: &Session, fid: u32, name: &[u8]) -> Result<u32, Error> {
    let new_fid = session.new_fid()?;
    let names = [name];
    let run = Run {
        names: core::array::from_fn(|index| names.get(index).copied().unwrap_or_default()),
        count: usize::from(!name.is_empty()),
    };
    match run.walk(at, session, fid, new_fid, true) {
        Ok(()) => Ok(new_fid),
        Err(error) => {
            session.forget_fid(new_fid);
            Err(error)
        }
    }
}

/// Asks for a file's attributes.
///
/// # Errors
///
/// As [`Session::ask`], and what the server's error number stands for.
pub(super) fn attributes(at: &Pageable, session: &Session, fid: u32) -> Result<Attr, Error> {
    let request = Request::Getattr {
        fid,
        mask: getattr::BASIC | getattr::BTIME,
    };
    let answer = session.ask(at, &request)?;
    match answer.reply()? {
        Reply::Getattr { attr } => Ok(attr),
        _ => Err(session.broken()),
    }
}

/// Opens a fid for reading.
///
/// # Errors
///
/// As [`attributes`].
pub(super) fn read_open(
    at: &Pageable,
    session: &Session,
    fid: u32,
    flags: u32,
) -> Result<(), Error> {
    let answer = session.ask(at, &Request::Lopen { fid, flags })?;
    match answer.reply()? {
        Reply::Lopen { .. } => Ok(()),
        _ => Err(session.broken()),
    }
}

/// `MRxShouldTryToCollapseThisOpen`: no two opens share a fid.
///
/// # Safety
///
/// RDBSS's request.
pub(super) const unsafe extern "C" fn try_to_collapse(_: *mut RxContext) -> NTSTATUS {
    wdk_sys::STATUS_MORE_PROCESSING_REQUIRED
}

/// `MRxCleanupFobx`: what there is to do is done at the close.
///
/// # Safety
///
/// RDBSS's request.
pub(super) const unsafe extern "C" fn cleanup(_: *mut RxContext) -> NTSTATUS {
    STATUS_SUCCESS
}

/// `MRxCloseSrvOpen`: gives the fid back.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn close(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: Forwarded.
    let open = unsafe { RxContext::of(context) }.pRelevantSrvOpen;
    // SAFETY: Forwarded.
    unsafe { force_closed(open) }
}

/// `MRxForceClosed`: the same, without a request.
///
/// # Safety
///
/// RDBSS's call.
pub(super) unsafe extern "C" fn force_closed(open: *mut SrvOpen) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    if let Some(srv_open) = unsafe { open.as_mut() } {
        let context = core::mem::replace(&mut srv_open.Context, ptr::null_mut());
        // SAFETY: The context has the part that the create put there, and nobody has taken it back.
        if let Some(open) = unsafe { Shared::<Open>::from_context(context) } {
            open.session.clunk(&at, open.fid);
        }
    }
    STATUS_SUCCESS
}

/// `MRxDeallocateForFcb`: nothing is kept there.
///
/// # Safety
///
/// RDBSS's call.
pub(super) const unsafe extern "C" fn deallocate_fcb(_: *mut MrxFcb) -> NTSTATUS {
    STATUS_SUCCESS
}
