//! The file system: inodes are paths, handles are the machine's files.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, Request,
};
use ntsim::{File, HowToOpen, NtStatus, io::status};

use super::name;

/// How long the kernel may believe what it was told.
const TTL: Duration = Duration::from_secs(1);
/// FileNetworkOpenInformation, all of it by one question to the server, and where its members are.
const NETWORK_OPEN: u32 = 34;
const NETWORK_OPEN_BYTES: usize = 0x38;
const CREATION: usize = 0x00;
const LAST_ACCESS: usize = 0x08;
const LAST_WRITE: usize = 0x10;
const CHANGE: usize = 0x18;
const ALLOCATED: usize = 0x20;
const END_OF_FILE: usize = 0x28;
const ATTRIBUTES: usize = 0x30;
/// FileFsSizeInformation.
const FS_SIZE: u32 = 3;
const FS_SIZE_BYTES: usize = 0x18;
/// FILE_ATTRIBUTE_DIRECTORY.
const DIRECTORY: u32 = 0x10;
/// FILE_READ_ATTRIBUTES and SYNCHRONIZE.
const READ_ATTRIBUTES: u32 = 0x10_0080;
/// 1970 in 100 ns units since 1601.
const UNIX_TIME: u64 = 116_444_736_000_000_000;
/// Most bytes of one read, as Windows' cache manager asks for.
const MOST: u32 = 1 << 20;

/// A directory that is being read.
struct Listing(Vec<(OsString, FileType)>);

enum Open {
    File(File),
    Directory(Listing),
}

#[derive(Default)]
struct Inodes {
    /// Path below the root of each inode, from inode 2 on.
    paths: Vec<String>,
    numbers: HashMap<String, u64>,
}

/// The mounted directory.
pub(super) struct Tree {
    root: String,
    inodes: Mutex<Inodes>,
    open: Mutex<HashMap<u64, std::sync::Arc<Open>>>,
    next: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error that a Linux program gets.
fn errno(NtStatus(status): NtStatus) -> Errno {
    match status {
        status::OBJECT_NAME_NOT_FOUND | status::OBJECT_PATH_NOT_FOUND | status::NO_SUCH_FILE => {
            Errno::ENOENT
        }
        status::OBJECT_NAME_INVALID | status::INVALID_PARAMETER => Errno::EINVAL,
        status::ACCESS_DENIED | status::SHARING_VIOLATION => Errno::EACCES,
        status::NOT_A_DIRECTORY => Errno::ENOTDIR,
        status::FILE_IS_A_DIRECTORY => Errno::EISDIR,
        status::INSUFFICIENT_RESOURCES => Errno::ENOMEM,
        status::MEDIA_WRITE_PROTECTED => Errno::EROFS,
        status::IO_TIMEOUT => Errno::ETIMEDOUT,
        _ => Errno::EIO,
    }
}

impl Tree {
    pub(super) fn new(root: &str) -> Self {
        Self {
            root: root.to_owned(),
            inodes: Mutex::default(),
            open: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// The path below the root, and the whole one.
    fn path(&self, inode: INodeNo) -> Result<(String, String), Errno> {
        if inode == INodeNo::ROOT {
            return Ok((String::new(), self.root.clone()));
        }
        let inodes = locked(&self.inodes);
        let below = usize::try_from(inode.0 - 2)
            .ok()
            .and_then(|at| inodes.paths.get(at))
            .ok_or(Errno::ESTALE)?;
        Ok((below.clone(), format!("{}{below}", self.root)))
    }

    fn number(&self, below: &str) -> INodeNo {
        if below.is_empty() {
            return INodeNo::ROOT;
        }
        let mut inodes = locked(&self.inodes);
        if let Some(known) = inodes.numbers.get(below) {
            return INodeNo(*known);
        }
        inodes.paths.push(below.to_owned());
        let number = inodes.paths.len() as u64 + 1;
        inodes.numbers.insert(below.to_owned(), number);
        INodeNo(number)
    }

    fn attributes(&self, inode: INodeNo) -> Result<FileAttr, Errno> {
        let (_, path) = self.path(inode)?;
        let how = HowToOpen {
            access: READ_ATTRIBUTES,
            ..HowToOpen::default()
        };
        let file = File::create(&path, &how).map_err(errno)?;
        let known = file
            .query_information(NETWORK_OPEN, NETWORK_OPEN_BYTES)
            .map_err(errno)?
            .bytes;
        let number = |at: usize| {
            let bytes = known.get(at..).and_then(|rest| rest.first_chunk::<8>());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let attributes = u32::try_from(number(ATTRIBUTES) & 0xFFFF_FFFF).unwrap_or(0);
        let is_directory = attributes & DIRECTORY != 0;
        Ok(FileAttr {
            ino: inode,
            size: number(END_OF_FILE),
            blocks: number(ALLOCATED).div_ceil(512),
            atime: time(number(LAST_ACCESS)),
            mtime: time(number(LAST_WRITE)),
            ctime: time(number(CHANGE)),
            crtime: time(number(CREATION)),
            kind: kind(is_directory),
            perm: if is_directory { 0o555 } else { 0o444 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn keep(&self, open: Open) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.open).insert(number, std::sync::Arc::new(open));
        FileHandle(number)
    }

    fn opened(&self, handle: FileHandle) -> Result<std::sync::Arc<Open>, Errno> {
        locked(&self.open)
            .get(&handle.0)
            .cloned()
            .ok_or(Errno::EBADF)
    }

    fn forget_handle(&self, handle: FileHandle) {
        let open = locked(&self.open).remove(&handle.0);
        // Closed without the lock: it is a request that may take its time.
        drop(open);
    }

    fn list(&self, inode: INodeNo) -> Result<Listing, Errno> {
        let (_, path) = self.path(inode)?;
        let directory = File::create(&path, &HowToOpen::default()).map_err(errno)?;
        let mut entries: Vec<(OsString, FileType)> = [".", ".."]
            .map(|name| (OsString::from(name), FileType::Directory))
            .into();
        for entry in directory.entries(None).map_err(errno)? {
            if entry.name != "." && entry.name != ".." {
                let kind = kind(entry.attributes & DIRECTORY != 0);
                entries.push((name::to_linux(&entry.name), kind));
            }
        }
        Ok(Listing(entries))
    }

    fn read_file(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let open = self.opened(handle)?;
        let Open::File(file) = &*open else {
            return Err(Errno::EISDIR);
        };
        let mut bytes = Vec::new();
        while bytes.len() < size as usize {
            let left = size as usize - bytes.len();
            let wanted = left.min(MOST as usize);
            match file.read_at(offset + bytes.len() as u64, wanted) {
                Ok(more) => {
                    // A read stops early at the end of the file only.
                    let is_last = more.len() < wanted;
                    bytes.extend(more);
                    if is_last {
                        break;
                    }
                }
                Err(NtStatus(status::END_OF_FILE)) => break,
                Err(status) => return Err(errno(status)),
            }
        }
        Ok(bytes)
    }
}

fn kind(is_directory: bool) -> FileType {
    if is_directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

fn time(units: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(units.saturating_sub(UNIX_TIME).saturating_mul(100))
}

impl Filesystem for Tree {
    fn lookup(&self, _request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEntry) {
        let found = self.path(parent).and_then(|(below, _)| {
            let path = format!(r"{below}\{}", name::to_windows(child));
            let inode = self.number(&path);
            self.attributes(inode)
        });
        match found {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.attributes(inode) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        let opened = self
            .path(inode)
            .and_then(|(_, path)| File::create(&path, &HowToOpen::default()).map_err(errno));
        match opened {
            Ok(file) => reply.opened(self.keep(Open::File(file)), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_file(handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.forget_handle(handle);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.list(inode) {
            Ok(listing) => reply.opened(self.keep(Open::Directory(listing)), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let open = match (self.opened(handle), self.path(inode)) {
            (Ok(open), Ok((below, _))) => (open, below),
            (Err(error), _) | (_, Err(error)) => return reply.error(error),
        };
        let Open::Directory(Listing(entries)) = &*open.0 else {
            return reply.error(Errno::ENOTDIR);
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (entry, kind)) in entries.iter().enumerate().skip(from) {
            let inode = if at < 2 {
                INodeNo::ROOT
            } else {
                self.number(&format!(r"{}\{}", open.1, name::to_windows(entry)))
            };
            if reply.add(inode, at as u64 + 1, *kind, entry) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.forget_handle(handle);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        let size = File::create(&self.root, &HowToOpen::default())
            .and_then(|root| root.query_volume(FS_SIZE, FS_SIZE_BYTES));
        let bytes = match size {
            Ok(answer) => answer.bytes,
            Err(status) => return reply.error(errno(status)),
        };
        let word = |at: usize| {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let wide = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let unit = word(0x10).saturating_mul(word(0x14)).max(512);
        reply.statfs(wide(0), wide(8), wide(8), 0, 0, unit, 255, unit);
    }
}
