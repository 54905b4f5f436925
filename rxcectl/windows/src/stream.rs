//! Output and error stream.

use alloc::vec::Vec;
use core::ptr;

use windows_sys::Win32::{
    Foundation::{GetLastError, HANDLE},
    Storage::FileSystem::WriteFile,
    System::Console::{
        GetConsoleMode, GetStdHandle, STD_ERROR_HANDLE, STD_HANDLE, STD_OUTPUT_HANDLE,
        WriteConsoleW,
    },
};

/// Where text goes: to a console as UTF-16, else (a file, a pipe) as UTF-8.
pub(crate) struct Stream {
    handle: HANDLE,
    console: bool,
}

impl Stream {
    /// The output stream.
    pub(crate) fn output() -> Self {
        Self::of(STD_OUTPUT_HANDLE)
    }

    /// The error stream.
    pub(crate) fn error() -> Self {
        Self::of(STD_ERROR_HANDLE)
    }

    fn of(standard: STD_HANDLE) -> Self {
        // SAFETY: No requirements.
        let handle = unsafe { GetStdHandle(standard) };
        let mut mode = 0;
        // SAFETY: Any handle may be asked; the mode is ours.
        let console = unsafe { GetConsoleMode(handle, &raw mut mode) } != 0;
        Self { handle, console }
    }

    /// Writes all of the text, or returns the Win32 error.
    pub(crate) fn write(&self, text: &str) -> Result<(), u32> {
        if self.console {
            let units: Vec<u16> = text.encode_utf16().collect();
            all(&units, |units, written| {
                // SAFETY: The units are readable, the count is ours.
                unsafe {
                    WriteConsoleW(
                        self.handle,
                        units.as_ptr().cast(),
                        length(units),
                        written,
                        ptr::null(),
                    )
                }
            })
        } else {
            write(self.handle, text.as_bytes())
        }
    }
}

/// Writes all of the bytes to a file or a pipe, or returns the Win32 error.
pub(crate) fn write(handle: HANDLE, bytes: &[u8]) -> Result<(), u32> {
    all(bytes, |bytes, written| {
        // SAFETY: The bytes are readable, the count is ours; the handle is synchronous.
        unsafe {
            WriteFile(
                handle,
                bytes.as_ptr(),
                length(bytes),
                written,
                ptr::null_mut(),
            )
        }
    })
}

fn all<T>(mut rest: &[T], write: impl Fn(&[T], *mut u32) -> i32) -> Result<(), u32> {
    while !rest.is_empty() {
        let mut written = 0;
        if write(rest, &raw mut written) == 0 {
            // SAFETY: No requirements.
            return Err(unsafe { GetLastError() });
        }
        rest = rest.get(written as usize..).unwrap_or_default();
    }
    Ok(())
}

/// How much to write at once.
fn length<T>(part: &[T]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}
