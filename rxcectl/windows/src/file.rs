//! Files that are written.

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::ptr;

use rxcectl::{NewFile, Problem};
use windows_sys::Win32::{
    Foundation::{CloseHandle, GENERIC_WRITE, GetLastError, HANDLE, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{
        CREATE_ALWAYS, CreateFileW, DeleteFileW, FILE_ATTRIBUTE_NORMAL, MOVEFILE_REPLACE_EXISTING,
        MOVEFILE_WRITE_THROUGH, MoveFileExW,
    },
};

use crate::{stream, text::wide};

/// A file under a name of its own beside the one that it gets.
pub(crate) struct File {
    handle: HANDLE,
    path: String,
    part: String,
}

impl File {
    pub(crate) fn create(path: &str) -> Result<Self, Problem> {
        let part = format!("{path}.part");
        // SAFETY: The name ends with a zero; nothing else is passed.
        let handle = unsafe {
            CreateFileW(
                wide(&part).as_ptr(),
                GENERIC_WRITE,
                0,
                ptr::null(),
                CREATE_ALWAYS,
                FILE_ATTRIBUTE_NORMAL,
                ptr::null_mut(),
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(unwritten(path, last_error()));
        }
        Ok(Self {
            handle,
            path: path.to_string(),
            part,
        })
    }

    fn close(&mut self) -> bool {
        if self.handle == INVALID_HANDLE_VALUE {
            return false;
        }
        // SAFETY: Opened by us, closed once.
        unsafe { CloseHandle(self.handle) };
        self.handle = INVALID_HANDLE_VALUE;
        true
    }
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        stream::write(self.handle, bytes).map_err(|error| unwritten(&self.path, error))
    }

    fn finish(mut self) -> Result<(), Problem> {
        self.close();
        // SAFETY: Both names end with a zero.
        let moved = unsafe {
            MoveFileExW(
                wide(&self.part).as_ptr(),
                wide(&self.path).as_ptr(),
                MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH,
            )
        };
        if moved != 0 {
            return Ok(());
        }
        let problem = unwritten(&self.path, last_error());
        delete(&self.part);
        Err(problem)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Not finished: it must not be taken for the whole.
        if self.close() {
            delete(&self.part);
        }
    }
}

fn delete(path: &str) {
    // SAFETY: The name ends with a zero. A file that stays is named `.part`.
    unsafe { DeleteFileW(wide(path).as_ptr()) };
}

fn last_error() -> u32 {
    // SAFETY: No requirements.
    unsafe { GetLastError() }
}

fn unwritten(path: &str, error: u32) -> Problem {
    Problem::failed(format!("cannot write {path} (Windows error {error})"))
}
