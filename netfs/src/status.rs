//! NTSTATUS values that are decided here, and what a server's error numbers stand for. The driver asserts that the values are
//! those of its headers.

use p9::errno;

/// A status of the system.
pub type Status = i32;

macro_rules! statuses {
    ($($name:ident = $value:literal $doc:literal),+ $(,)?) => {
        $(#[doc = $doc] pub const $name: Status = u32::cast_signed($value);)+
    };
}

statuses! {
    BUFFER_OVERFLOW = 0x8000_0005 "The result does not fit; a part of it is there.",
    NO_MORE_FILES = 0x8000_0006 "The directory has no more entries.",
    INVALID_INFO_CLASS = 0xC000_0003 "The class is not offered.",
    INFO_LENGTH_MISMATCH = 0xC000_0004 "The buffer is too short for the class.",
    INVALID_PARAMETER = 0xC000_000D "A parameter is wrong.",
    NO_SUCH_DEVICE = 0xC000_000E "There is no such device.",
    NO_SUCH_FILE = 0xC000_000F "No entry fits the pattern.",
    NO_MEMORY = 0xC000_0017 "The server has no memory.",
    ACCESS_DENIED = 0xC000_0022 "The server does not allow it.",
    BUFFER_TOO_SMALL = 0xC000_0023 "Not one entry fits.",
    OBJECT_NAME_INVALID = 0xC000_0033 "The name cannot be one.",
    OBJECT_NAME_NOT_FOUND = 0xC000_0034 "There is no such file.",
    OBJECT_NAME_COLLISION = 0xC000_0035 "There is such a file.",
    OBJECT_PATH_NOT_FOUND = 0xC000_003A "There is no such directory on the way.",
    SHARING_VIOLATION = 0xC000_0043 "The file is in use.",
    DISK_FULL = 0xC000_007F "The disk is full.",
    MEDIA_WRITE_PROTECTED = 0xC000_00A2 "Nothing can be written.",
    IO_TIMEOUT = 0xC000_00B5 "The server has waited too long.",
    FILE_IS_A_DIRECTORY = 0xC000_00BA "It is a directory.",
    NOT_SUPPORTED = 0xC000_00BB "The server cannot do that.",
    BAD_NETWORK_PATH = 0xC000_00BE "There is no such server.",
    BAD_NETWORK_NAME = 0xC000_00CC "There is no such share.",
    UNEXPECTED_NETWORK_ERROR = 0xC000_00C4 "The server says something unexpected.",
    NOT_A_DIRECTORY = 0xC000_0103 "It is no directory.",
    NAME_TOO_LONG = 0xC000_0106 "The name is too long.",
    TOO_MANY_OPENED_FILES = 0xC000_011F "The server has no room for another open file.",
    IO_DEVICE_ERROR = 0xC000_0185 "The server's device fails.",
    REPARSE_POINT_NOT_RESOLVED = 0xC000_0280 "Too many links.",
    IO_REPARSE_TAG_NOT_HANDLED = 0xC000_0279 "A symbolic link, which nobody follows.",
}

/// What an error number of Linux, as a 9P2000.L server sends it, stands for.
#[must_use]
pub const fn from_errno(number: u32) -> Status {
    match number {
        errno::EPERM | errno::EACCES => ACCESS_DENIED,
        errno::ENOENT => OBJECT_NAME_NOT_FOUND,
        errno::EIO => IO_DEVICE_ERROR,
        errno::ENOMEM => NO_MEMORY,
        errno::EBUSY | errno::ETXTBSY => SHARING_VIOLATION,
        errno::EEXIST => OBJECT_NAME_COLLISION,
        errno::ENODEV => NO_SUCH_DEVICE,
        errno::ENOTDIR => NOT_A_DIRECTORY,
        errno::EISDIR => FILE_IS_A_DIRECTORY,
        errno::EINVAL => INVALID_PARAMETER,
        errno::ENFILE | errno::EMFILE => TOO_MANY_OPENED_FILES,
        errno::ENOSPC | errno::EDQUOT => DISK_FULL,
        errno::EROFS => MEDIA_WRITE_PROTECTED,
        errno::ENAMETOOLONG => NAME_TOO_LONG,
        errno::ENOSYS | errno::EOPNOTSUPP => NOT_SUPPORTED,
        errno::ELOOP => REPARSE_POINT_NOT_RESOLVED,
        errno::ETIMEDOUT => IO_TIMEOUT,
        errno::ESTALE => OBJECT_NAME_NOT_FOUND,
        _ => UNEXPECTED_NETWORK_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_number_is_a_failure() {
        for number in (0..5000).chain([u32::MAX]) {
            assert!(from_errno(number) < 0, "{number}");
            assert_eq!(from_errno(number).cast_unsigned() >> 30, 3, "{number}");
        }
        assert_eq!(from_errno(2), OBJECT_NAME_NOT_FOUND);
        assert_eq!(from_errno(4999), UNEXPECTED_NETWORK_ERROR);
    }
}
