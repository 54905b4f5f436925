//! The 9P session: attach, walks, opens, reads.

use client_nt::pool::Bytes;
use p9::{
    Attr, MAX_WALK, NOFID, NONUNAME, Path, READ_OVERHEAD, Reply, Request, VERSION, getattr, open,
};
use p9probe_ioctl::{
    Connect, Connected, Counters, Disconnected, Entry, Listing, MAX_READ, Opened, Stat,
};
use wdk_sys::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_HANDLE, STATUS_INVALID_NETWORK_RESPONSE,
    STATUS_INVALID_PARAMETER, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_TOO_MANY_OPENED_FILES,
};

use crate::{
    exchange::{Circuit, REPLY_LEN, TAG_BYTES},
    status::Result,
};

/// The root's fid.
const ROOT: u32 = 0;
/// For one command.
const TEMPORARY: u32 = 1;
/// For a directory entry.
const ENTRY: u32 = 2;
/// The first of the open files.
const FIRST_FILE: u32 = 16;
/// How many files may be open.
const FILES: usize = 16;
/// A read's overhead plus some room, as every 9P client subtracts it.
const IO_HEADER: u32 = 24;
/// The shortest message size worth talking.
const LEAST_MSIZE: u32 = 4096;
/// Directory reads without a usable entry before the server is given up.
const PATIENCE: u32 = 64;

/// A session over a circuit.
pub(crate) struct Client {
    circuit: Circuit,
    msize: u32,
    open: [bool; FILES],
}

impl Client {
    /// A session that does not exist yet; [`Self::attach`] makes it.
    pub(crate) const fn new(circuit: Circuit) -> Self {
        Self {
            circuit,
            msize: LEAST_MSIZE,
            open: [false; FILES],
        }
    }

    /// Connects, agrees on version and message size, and attaches.
    ///
    /// # Errors
    ///
    /// The engine's status, or the server's; [`Self::disconnect`] cleans up.
    pub(crate) fn attach(&mut self, to: &Connect<'_>) -> Result<Connected> {
        self.circuit.connect(to.ip, to.port)?;
        let asked = to
            .msize
            .clamp(LEAST_MSIZE, MAX_READ.saturating_add(IO_HEADER));
        let granted = match self.circuit.ask(&Request::Version {
            msize: asked,
            version: VERSION,
        })? {
            Reply::Version {
                msize,
                version: VERSION,
            } if msize >= LEAST_MSIZE && msize <= asked => msize,
            _ => return Err(self.circuit.broken()),
        };
        self.msize = granted;
        let attach = Request::Attach {
            fid: ROOT,
            afid: NOFID,
            uname: to.uname,
            aname: to.aname,
            n_uname: if to.uid == u32::MAX { NONUNAME } else { to.uid },
        };
        match self.circuit.ask(&attach)? {
            Reply::Attach { .. } => Ok(Connected {
                msize: granted,
                max_read: self.max_read(),
            }),
            _ => Err(self.circuit.broken()),
        }
    }

    /// Most bytes of one read.
    fn max_read(&self) -> u32 {
        self.msize.saturating_sub(IO_HEADER).min(MAX_READ)
    }

    /// Attributes of a file.
    pub(crate) fn stat(&mut self, path: &[u8]) -> Result<Stat> {
        self.walk(path, TEMPORARY)?;
        let attr = self.getattr(TEMPORARY);
        self.clunk(TEMPORARY)?;
        attr.map(Stat::from)
    }

    /// Opens a file for reading.
    pub(crate) fn open(&mut self, path: &[u8]) -> Result<Opened> {
        let free = self
            .open
            .iter()
            .position(|open| !open)
            .ok_or(STATUS_TOO_MANY_OPENED_FILES)?;
        let slot = u32::try_from(free).map_err(|_| STATUS_TOO_MANY_OPENED_FILES)?;
        let fid = FIRST_FILE.saturating_add(slot);
        self.walk(path, fid)?;
        let opened = self
            .getattr(fid)
            .and_then(|attr| self.lopen(fid, open::RDONLY).map(|()| attr));
        match opened {
            Ok(attr) => {
                if let Some(open) = self.open.get_mut(free) {
                    *open = true;
                }
                Ok(Opened {
                    file: fid,
                    max_read: self.max_read(),
                    stat: attr.into(),
                })
            }
            Err(status) => {
                self.clunk(fid)?;
                Err(status)
            }
        }
    }

    /// Reads from an open file; returns the number of bytes.
    ///
    /// # Safety
    ///
    /// `start` points to `len` bytes of nonpaged pool which nobody else uses during the call.
    pub(crate) unsafe fn read(
        &mut self,
        fid: u32,
        offset: u64,
        start: *mut u8,
        len: u32,
    ) -> Result<usize> {
        self.slot(fid)?;
        let len = len.min(self.max_read());
        if len == 0 {
            return Ok(0);
        }
        // SAFETY: Forwarded from this function's `# Safety` section.
        unsafe { self.circuit.read(fid, offset, start, len) }
    }

    /// Closes an open file.
    pub(crate) fn close(&mut self, fid: u32) -> Result {
        *self.slot(fid)? = false;
        self.clunk(fid)
    }

    /// Lists a part of a directory into `output`; returns the length of the encoded [`Listing`].
    pub(crate) fn list(&mut self, path: &[u8], cursor: u64, output: &mut [u8]) -> Result<usize> {
        self.walk(path, TEMPORARY)?;
        let listed = self
            .lopen(TEMPORARY, open::RDONLY | open::DIRECTORY)
            .and_then(|()| self.read_entries(cursor, output));
        self.clunk(TEMPORARY)?;
        listed
    }

    /// Disconnects and takes everything down.
    pub(crate) fn disconnect(self) -> Result<Disconnected> {
        self.circuit.disconnect()
    }

    /// What the engine counted.
    pub(crate) fn counters(&self) -> Result<Counters> {
        self.circuit.counters()
    }

    /// Why requests cannot be made any more.
    pub(crate) fn failure(&self) -> Option<NTSTATUS> {
        self.circuit.failure()
    }

    // ---- Parts of commands ----

    fn slot(&mut self, fid: u32) -> Result<&mut bool> {
        let slot = fid
            .checked_sub(FIRST_FILE)
            .and_then(|slot| usize::try_from(slot).ok());
        slot.and_then(|slot| self.open.get_mut(slot))
            .filter(|open| **open)
            .ok_or(STATUS_INVALID_HANDLE)
    }

    /// Walks from the root to a new fid.
    fn walk(&mut self, path: &[u8], fid: u32) -> Result {
        let mut steps = Path::new(path).steps();
        let mut names = [b"".as_slice(); MAX_WALK];
        let mut from = ROOT;
        loop {
            let run = steps.next_into(&mut names);
            if run.is_empty() && from == fid {
                return Ok(());
            }
            if let Err(status) = self.walk_once(from, fid, run) {
                if from == fid {
                    self.clunk(fid)?;
                }
                return Err(status);
            }
            from = fid;
        }
    }

    fn walk_once(&mut self, fid: u32, new_fid: u32, names: &[&[u8]]) -> Result {
        match self.circuit.ask(&Request::Walk {
            fid,
            new_fid,
            names,
        })? {
            // The new fid exists only if every name was found.
            Reply::Walk { qids } if qids.len() == names.len() => Ok(()),
            Reply::Walk { qids } if qids.len() < names.len() => Err(STATUS_OBJECT_NAME_NOT_FOUND),
            _ => Err(self.circuit.broken()),
        }
    }

    fn getattr(&mut self, fid: u32) -> Result<Attr> {
        match self.circuit.ask(&Request::Getattr {
            fid,
            mask: getattr::BASIC,
        })? {
            Reply::Getattr { attr } => Ok(attr),
            _ => Err(self.circuit.broken()),
        }
    }

    fn lopen(&mut self, fid: u32, flags: u32) -> Result {
        match self.circuit.ask(&Request::Lopen { fid, flags })? {
            Reply::Lopen { .. } => Ok(()),
            _ => Err(self.circuit.broken()),
        }
    }

    fn clunk(&mut self, fid: u32) -> Result {
        match self.circuit.ask(&Request::Clunk { fid })? {
            Reply::Clunk => Ok(()),
            _ => Err(self.circuit.broken()),
        }
    }

    /// Reads entries of the directory at [`TEMPORARY`], each with its attributes, until one does not fit.
    fn read_entries(&mut self, mut cursor: u64, output: &mut [u8]) -> Result<usize> {
        let overhead = Listing {
            cursor: 0,
            entries: &[],
        }
        .encode(output)
        .map_err(|_| STATUS_BUFFER_TOO_SMALL)?
        .len();
        let room = output.len().saturating_sub(overhead);
        let mut collected = Bytes::try_new(room, TAG_BYTES)?;
        let mut used = 0_usize;
        let mut page = Bytes::try_new(REPLY_LEN, TAG_BYTES)?;
        for _ in 0..PATIENCE {
            let page = self.read_page(cursor, &mut page)?;
            if page.is_empty() {
                break;
            }
            for entry in p9::Entries::new(page) {
                let entry = entry.map_err(|_| self.circuit.broken())?;
                if !matches!(entry.name, b"." | b"..") {
                    let stat = self.entry_stat(&entry)?;
                    let rest = collected.get_mut(used..).unwrap_or_default();
                    match (
                        Entry {
                            stat,
                            name: entry.name,
                        }
                        .encode(rest),
                        used,
                    ) {
                        (Ok(bytes), _) => used = used.saturating_add(bytes.len()),
                        (Err(_), 0) => return Err(STATUS_BUFFER_TOO_SMALL),
                        (Err(_), _) => return finish(cursor, collected.get(..used), output),
                    }
                }
                cursor = entry.offset;
            }
            if used > 0 {
                return finish(cursor, collected.get(..used), output);
            }
        }
        // The end, or a server that has nothing to say in many words.
        finish(cursor, Some(&[]), output)
    }

    /// One `Treaddir`, copied, because asking for attributes needs the reply buffer.
    fn read_page<'p>(&mut self, offset: u64, page: &'p mut [u8]) -> Result<&'p [u8]> {
        let room = u32::try_from(REPLY_LEN.saturating_sub(READ_OVERHEAD))
            .map_err(|_| STATUS_INVALID_PARAMETER)?;
        let count = room.min(self.msize.saturating_sub(IO_HEADER));
        match self.circuit.ask(&Request::Readdir {
            fid: TEMPORARY,
            offset,
            count,
        })? {
            Reply::Readdir { entries } => {
                let bytes = entries.as_bytes();
                let target = page
                    .get_mut(..bytes.len())
                    .ok_or(STATUS_INVALID_NETWORK_RESPONSE)?;
                target.copy_from_slice(bytes);
                Ok(target)
            }
            _ => Err(self.circuit.broken()),
        }
    }

    /// Attributes of an entry. One that the server does not show has zeroes; it is still a name in the directory.
    fn entry_stat(&mut self, entry: &p9::DirEntry<'_>) -> Result<Stat> {
        let attr = self
            .walk_once(TEMPORARY, ENTRY, &[entry.name])
            .and_then(|()| {
                let attr = self.getattr(ENTRY);
                self.clunk(ENTRY).and(attr)
            });
        match (attr, self.failure()) {
            (Ok(attr), _) => Ok(attr.into()),
            (Err(_), Some(failure)) => Err(failure),
            (Err(_), None) => Ok(Stat {
                inode: entry.qid.path,
                ..Stat::default()
            }),
        }
    }
}

fn finish(cursor: u64, entries: Option<&[u8]>, output: &mut [u8]) -> Result<usize> {
    let listing = Listing {
        cursor,
        entries: entries.unwrap_or_default(),
    };
    listing
        .encode(output)
        .map(<[u8]>::len)
        .map_err(|_| STATUS_BUFFER_TOO_SMALL)
}
