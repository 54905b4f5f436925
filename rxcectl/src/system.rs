//! What a command needs of the machine it runs on.

use alloc::vec::Vec;

use crate::{NtStatus, Problem};

/// An open device. Dropping it closes it.
pub trait Device {
    /// Sends a METHOD_BUFFERED control code and waits for its end; returns what the driver wrote, at most `room` bytes.
    ///
    /// # Errors
    ///
    /// Every status but a success, warnings included.
    fn control(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NtStatus>;
}

/// A file that is being written. It takes its name when it is complete; dropped before, it is gone.
pub trait NewFile {
    /// Appends.
    ///
    /// # Errors
    ///
    /// What the reader is told.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem>;

    /// Gives the file its name, in place of an older one.
    ///
    /// # Errors
    ///
    /// What the reader is told; the older file is still there then.
    fn finish(self) -> Result<(), Problem>;
}

/// The machine.
pub trait System {
    /// Its devices.
    type Device: Device;
    /// Its files.
    type File: NewFile;

    /// Opens a device by its name in the kernel's namespace (`\Device\…`), to read and write.
    ///
    /// # Errors
    ///
    /// The status of the open.
    fn open(&mut self, name: &str) -> Result<Self::Device, NtStatus>;

    /// Begins a file.
    ///
    /// # Errors
    ///
    /// What the reader is told.
    fn create(&mut self, path: &str) -> Result<Self::File, Problem>;

    /// The IPv4 address of a host, by its name or as it is written.
    ///
    /// # Errors
    ///
    /// What the reader is told.
    fn resolve(&mut self, host: &str) -> Result<[u8; 4], Problem>;

    /// Microseconds since some moment.
    fn microseconds(&mut self) -> u64;

    /// Writes to the output stream.
    ///
    /// # Errors
    ///
    /// It cannot be written to: the reader would miss results.
    fn print(&mut self, text: &str) -> Result<(), Problem>;

    /// Writes to the error stream, if it can.
    fn complain(&mut self, text: &str);
}
