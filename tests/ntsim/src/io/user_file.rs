//! Files by path, as user programs see them: open, read, list, ask.

use super::create::Open;
use super::file::{self, Sent};
use super::user::{File, NtStatus};
use super::{cancel, device, status};
use crate::arena::{self, Kind};
use crate::dispatcher::host;
use crate::layout::io::{
    Device, FileObject, Irp, MJ_DIRECTORY_CONTROL, MJ_QUERY_INFORMATION, MJ_QUERY_VOLUME, MJ_READ,
    MJ_SET_INFORMATION, MJ_WRITE, Stack,
};
use crate::layout::ke::UnicodeString;
use crate::mem;
use crate::rdbss::directory;

/// How a file is opened: the parameters of NtCreateFile that matter here. The default opens what exists, for reading,
/// synchronously, and lets others do everything.
#[derive(Debug, Clone, Copy)]
pub struct HowToOpen {
    /// DesiredAccess.
    pub access: u32,
    /// ShareAccess.
    pub share: u16,
    /// CreateDisposition.
    pub disposition: u32,
    /// CreateOptions.
    pub options: u32,
}

/// FILE_READ_DATA, FILE_READ_EA, FILE_READ_ATTRIBUTES, READ_CONTROL, SYNCHRONIZE: FILE_GENERIC_READ.
const GENERIC_READ: u32 = 0x12_0089;
/// FILE_SHARE_READ, _WRITE, _DELETE.
const SHARE_ALL: u16 = 7;
/// FILE_OPEN.
const OPEN: u32 = 1;
/// FILE_SYNCHRONOUS_IO_NONALERT.
const SYNCHRONOUS: u32 = 0x20;
/// UserMode.
const USER_MODE: u8 = 1;
/// IRP_MN_QUERY_DIRECTORY.
const QUERY_DIRECTORY: u8 = 1;
/// FileIdBothDirectoryInformation, and where its members are.
const ID_BOTH: u32 = 37;
/// Bytes of a buffer for entries, as programs use.
const ENTRIES_BYTES: usize = 64 * 1024;

impl Default for HowToOpen {
    fn default() -> Self {
        Self {
            access: GENERIC_READ,
            share: SHARE_ALL,
            disposition: OPEN,
            options: SYNCHRONOUS,
        }
    }
}

/// What a query answered: a success or a warning, and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status: a warning such as STATUS_BUFFER_OVERFLOW comes with bytes.
    pub status: NtStatus,
    /// The output.
    pub bytes: Vec<u8>,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// FileAttributes.
    pub attributes: u32,
    /// EndOfFile.
    pub bytes: u64,
    /// LastWriteTime, in 100 ns since 1601.
    pub written: u64,
    /// FileId.
    pub id: u64,
}

/// A buffer of a user program.
struct UserBuffer {
    at: usize,
    bytes: usize,
}

impl UserBuffer {
    fn new(bytes: usize) -> Self {
        Self {
            at: arena::map_user(bytes.max(1)),
            bytes: bytes.max(1),
        }
    }

    fn read(&self, length: usize) -> Vec<u8> {
        mem::read_bytes(self.at, length.min(self.bytes))
    }
}

impl Drop for UserBuffer {
    fn drop(&mut self) {
        arena::unmap(self.at, self.bytes);
    }
}

/// A read that was begun.
#[must_use = "a request is to be waited for"]
pub struct Pending {
    sent: Option<Sent>,
    buffer: UserBuffer,
}

impl Pending {
    /// Asks for its cancellation (CancelIoEx); whether a cancel routine was called.
    pub fn cancel(&self) -> bool {
        host::attach();
        self.sent
            .as_ref()
            .is_some_and(|sent| cancel::cancel_irp(sent.irp(), 0))
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Vec<u8>, NtStatus> {
        host::attach();
        let Some(outcome) = self.sent.take().map(Sent::wait) else {
            return Err(NtStatus(status::INVALID_HANDLE));
        };
        if status::is_success(outcome.status) {
            Ok(self.buffer.read(outcome.information))
        } else {
            Err(NtStatus(outcome.status))
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The buffer must stay until the request is over.
        if let Some(sent) = self.sent.take() {
            let _ = cancel::cancel_irp(sent.irp(), 0);
            sent.wait();
        }
    }
}

/// The object manager's form of a path: `\\server\share\file` goes through the multiple UNC provider.
fn full_path(path: &str) -> String {
    path.strip_prefix(r"\\")
        .filter(|rest| !rest.starts_with(['?', '.']))
        .map_or_else(|| path.to_owned(), |rest| format!(r"\??\UNC\{rest}"))
}

impl File {
    /// Opens a file by its path: `\\server\share\file`, or a name of the object manager (NtCreateFile).
    pub fn create(path: &str, how: &HowToOpen) -> Result<Self, NtStatus> {
        Self::open_as(&Open {
            path: full_path(path),
            access: how.access,
            share: how.share,
            attributes: 0,
            options: how.disposition << 24 | how.options & 0x00ff_ffff,
            ea: Vec::new(),
            mode: USER_MODE,
        })
    }

    fn send(&self, prepare: impl FnOnce(Irp, Stack)) -> Sent {
        host::attach();
        let target = device::top(Device(FileObject(self.object).device().get()));
        file::send(target, USER_MODE, |irp, stack| {
            stack.file().set(self.object);
            prepare(irp, stack);
        })
    }

    /// Begins to read; only a file that was opened without [`HowToOpen::default`]'s synchronous option returns before the
    /// data is there.
    pub fn begin_read(&self, offset: u64, bytes: usize) -> Pending {
        let buffer = UserBuffer::new(bytes);
        let sent = self.send(|irp, stack| {
            stack.major().set(MJ_READ);
            stack.parameter::<u32>(0).set(length(bytes));
            stack.parameter::<u64>(0x10).set(offset);
            irp.user_buffer().set(buffer.at);
        });
        Pending {
            sent: Some(sent),
            buffer,
        }
    }

    /// Reads at an offset; the end of the file is STATUS_END_OF_FILE.
    pub fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, NtStatus> {
        self.begin_read(offset, bytes).wait()
    }

    /// Writes at an offset; how many bytes were written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, NtStatus> {
        let buffer = UserBuffer::new(bytes.len());
        mem::write_bytes(buffer.at, bytes);
        let outcome = self
            .send(|irp, stack| {
                stack.major().set(MJ_WRITE);
                stack.parameter::<u32>(0).set(length(bytes.len()));
                stack.parameter::<u64>(0x10).set(offset);
                irp.user_buffer().set(buffer.at);
            })
            .wait();
        if status::is_success(outcome.status) {
            Ok(outcome.information)
        } else {
            Err(NtStatus(outcome.status))
        }
    }

    /// NtQueryInformationFile.
    pub fn query_information(&self, class: u32, room: usize) -> Result<Answer, NtStatus> {
        self.buffered(MJ_QUERY_INFORMATION, class, &vec![0; room])
    }

    /// NtSetInformationFile.
    pub fn set_information(&self, class: u32, bytes: &[u8]) -> Result<(), NtStatus> {
        self.buffered(MJ_SET_INFORMATION, class, bytes).map(|_| ())
    }

    /// NtQueryVolumeInformationFile.
    pub fn query_volume(&self, class: u32, room: usize) -> Result<Answer, NtStatus> {
        self.buffered(MJ_QUERY_VOLUME, class, &vec![0; room])
    }

    fn buffered(&self, major: u8, class: u32, bytes: &[u8]) -> Result<Answer, NtStatus> {
        let system = arena::alloc(bytes.len().max(1), Kind::Pool);
        mem::write_bytes(system, bytes);
        let outcome = self
            .send(|irp, stack| {
                stack.major().set(major);
                stack.parameter::<u32>(0).set(length(bytes.len()));
                stack.parameter::<u32>(8).set(class);
                irp.system_buffer().set(system);
            })
            .wait();
        let output = mem::read_bytes(system, outcome.information.min(bytes.len()));
        arena::free(system);
        answer(outcome.status, output)
    }

    /// NtQueryDirectoryFile: `restart` begins anew, `single` asks for one entry.
    pub fn query_directory(
        &self,
        class: u32,
        pattern: Option<&str>,
        flags: DirectoryFlags,
        room: usize,
    ) -> Result<Answer, NtStatus> {
        let buffer = UserBuffer::new(room);
        let name = pattern.map(system_string);
        let outcome = self
            .send(|irp, stack| {
                stack.major().set(MJ_DIRECTORY_CONTROL);
                stack.minor().set(QUERY_DIRECTORY);
                stack.flags().set(flags.0);
                stack.parameter::<u32>(0).set(length(room));
                stack.parameter::<usize>(8).set(name.unwrap_or(0));
                stack.parameter::<u32>(0x10).set(class);
                irp.user_buffer().set(buffer.at);
            })
            .wait();
        if let Some(name) = name {
            arena::free(name);
        }
        answer(outcome.status, buffer.read(outcome.information))
    }

    /// All entries of a directory that match a pattern, with `.` and `..` if the file system has them.
    pub fn entries(&self, pattern: Option<&str>) -> Result<Vec<Entry>, NtStatus> {
        let mut entries = Vec::new();
        let mut flags = DirectoryFlags::RESTART;
        loop {
            match self.query_directory(ID_BOTH, pattern, flags, ENTRIES_BYTES) {
                Ok(answer) => entries.extend(parse(&answer.bytes)),
                Err(NtStatus(status::NO_MORE_FILES | status::NO_SUCH_FILE)) => return Ok(entries),
                Err(status) => return Err(status),
            }
            flags = DirectoryFlags::NONE;
        }
    }
}

/// SL_ flags of a directory query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryFlags(u8);

impl DirectoryFlags {
    /// Goes on where the last query ended.
    pub const NONE: Self = Self(0);
    /// SL_RESTART_SCAN.
    pub const RESTART: Self = Self(1);
    /// SL_RETURN_SINGLE_ENTRY.
    pub const SINGLE: Self = Self(2);
}

/// A UNICODE_STRING with its characters in one block.
fn system_string(text: &str) -> usize {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let string = UnicodeString(arena::alloc(16 + units.len() + 2, Kind::Object));
    mem::write_bytes(string.0 + 16, &units);
    let bytes = u16::try_from(units.len()).unwrap_or(u16::MAX);
    string.length().set(bytes);
    string.maximum().set(bytes);
    string.buffer().set(string.0 + 16);
    string.0
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A success or a warning is an answer.
fn answer(result: i32, bytes: Vec<u8>) -> Result<Answer, NtStatus> {
    let has_output = status::is_success(result) || result == status::BUFFER_OVERFLOW;
    if has_output {
        Ok(Answer {
            status: NtStatus(result),
            bytes,
        })
    } else {
        Err(NtStatus(result))
    }
}

/// Reads FILE_ID_BOTH_DIR_INFORMATION entries, which RDBSS has checked.
fn parse(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((entry, next)) = parse_one(rest) {
        entries.push(entry);
        if next == 0 {
            break;
        }
        rest = rest.get(next..).unwrap_or_default();
    }
    entries
}

fn parse_one(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length_at, name_at) = directory::layout(ID_BOTH)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
    let length = u32_at(length_at)? as usize;
    let name = bytes.get(name_at..name_at + length)?.as_chunks::<2>().0;
    let units: Vec<u16> = name.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let entry = Entry {
        name: String::from_utf16_lossy(&units),
        written: u64_at(0x18)?,
        bytes: u64_at(0x28)?,
        attributes: u32_at(0x38)?,
        id: u64_at(0x60)?,
    };
    Some((entry, u32_at(0)? as usize))
}
