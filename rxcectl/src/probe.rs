//! The control interface of p9probe.sys, typed.

use alloc::{format, string::String, vec, vec::Vec};

use p9probe_ioctl::{
    Close, Connect, Connected, Counters, Disconnected, Error, INTERFACE_VERSION, List, Listing,
    MAX_NAME, Opened, Path, Read, Stat, Statistics, Version, code,
};

use crate::{Device, Driver, NtStatus, Problem, System};

/// Room for a part of a directory.
const LISTING_LEN: usize = 16 * 1024;
/// Room for the longest input: two names and a few numbers.
const INPUT_LEN: usize = 2 * MAX_NAME + 64;
/// Room for any output of a fixed length.
const OUTPUT_LEN: usize = Counters::SIZE;

/// An open handle on the control device. Its session, if it has one, ends with it.
pub struct Probe<D>(D);

impl<D: Device> Probe<D> {
    /// Opens the device and sees that driver and program speak the same version.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn open<S: System<Device = D>>(system: &mut S) -> Result<Self, Problem> {
        let probe = Self(Driver::P9Probe.open(system)?);
        let version = match probe.control(code::VERSION, &[], Version::SIZE) {
            Ok(output) => Version::decode(&output).map_err(damaged)?.version,
            // Older ones do not know the question.
            Err(NtStatus::INVALID_DEVICE_REQUEST) => 1,
            Err(status) => return Err(failed(status)),
        };
        if version == INTERFACE_VERSION {
            Ok(probe)
        } else {
            Err(Driver::P9Probe.wrong_version(version, INTERFACE_VERSION))
        }
    }

    fn control(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NtStatus> {
        self.0.control(code, input, room)
    }

    /// Sends a request whose answer has a fixed length.
    fn ask(&self, code: u32, input: &[u8]) -> Result<Vec<u8>, Problem> {
        self.control(code, input, OUTPUT_LEN).map_err(failed)
    }

    /// Connects and attaches.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn connect(&self, to: &Connect<'_>) -> Result<Connected, Problem> {
        if to.uname.len() > MAX_NAME || to.aname.len() > MAX_NAME {
            return Err(too_long());
        }
        let mut buffer = vec![0; INPUT_LEN];
        let input = to.encode(&mut buffer).map_err(damaged)?;
        match self.control(code::CONNECT, input, OUTPUT_LEN) {
            Ok(output) => Connected::decode(&output).map_err(damaged),
            Err(NtStatus::CONNECTION_ACTIVE) => Err(Problem::unusable(String::from(
                "p9probe.sys has a session of another program; it takes one at a time: wait for that program to end, or end it",
            ))),
            Err(status) => Err(failed(status)),
        }
    }

    /// Attributes of a file.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn stat(&self, path: &str) -> Result<Stat, Problem> {
        Stat::decode(&self.with_path(code::STAT, path)?).map_err(damaged)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn open_file(&self, path: &str) -> Result<Opened, Problem> {
        Opened::decode(&self.with_path(code::OPEN, path)?).map_err(damaged)
    }

    fn with_path(&self, code: u32, path: &str) -> Result<Vec<u8>, Problem> {
        let mut buffer = vec![0; INPUT_LEN];
        let input = Path { path: bytes(path)? };
        self.ask(code, input.encode(&mut buffer).map_err(damaged)?)
    }

    /// All entries of a directory, sorted by name.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn list(&self, path: &str) -> Result<Vec<(String, Stat)>, Problem> {
        let path = bytes(path)?;
        let mut names = Vec::new();
        let mut cursor = 0;
        loop {
            let mut buffer = vec![0; INPUT_LEN];
            let input = List { cursor, path };
            let input = input.encode(&mut buffer).map_err(damaged)?;
            let output = self
                .control(code::LIST, input, LISTING_LEN)
                .map_err(failed)?;
            let listing = Listing::decode(&output).map_err(damaged)?;
            let before = names.len();
            for entry in listing.entries() {
                let entry = entry.map_err(damaged)?;
                names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.stat));
            }
            if names.len() == before {
                names.sort_by(|(one, _), (other, _)| one.cmp(other));
                return Ok(names);
            }
            cursor = listing.cursor;
        }
    }

    /// Reads from an open file; no bytes: the end.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn read(&self, file: u32, offset: u64, length: u32) -> Result<Vec<u8>, Problem> {
        let mut buffer = [0; 16];
        let input = Read {
            file,
            length,
            offset,
        };
        let input = input.encode(&mut buffer).map_err(damaged)?;
        self.control(code::READ, input, length as usize)
            .map_err(failed)
    }

    /// Closes a file.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn close_file(&self, file: u32) -> Result<(), Problem> {
        let mut buffer = [0; 4];
        let input = Close { file }.encode(&mut buffer).map_err(damaged)?;
        self.control(code::CLOSE, input, 0)
            .map(drop)
            .map_err(failed)
    }

    /// Disconnects and tears everything down.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn disconnect(&self) -> Result<Disconnected, Problem> {
        Disconnected::decode(&self.ask(code::DISCONNECT, &[])?).map_err(damaged)
    }

    /// Counters since the driver was loaded.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn statistics(&self) -> Result<Statistics, Problem> {
        Statistics::decode(&self.ask(code::STATISTICS, &[])?).map_err(damaged)
    }

    /// What the engine counted for the session; nothing without one.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn counters(&self) -> Result<Option<Counters>, Problem> {
        match self.control(code::COUNTERS, &[], OUTPUT_LEN) {
            Ok(output) => Counters::decode(&output).map(Some).map_err(damaged),
            Err(NtStatus::CONNECTION_INVALID) => Ok(None),
            Err(status) => Err(failed(status)),
        }
    }
}

fn bytes(path: &str) -> Result<&[u8], Problem> {
    if path.len() > MAX_NAME {
        return Err(too_long());
    }
    Ok(path.as_bytes())
}

fn too_long() -> Problem {
    Problem::usage(format!(
        "a name or path is longer than {MAX_NAME} bytes, which p9probe.sys does not take"
    ))
}

fn failed(status: NtStatus) -> Problem {
    Problem::failed(format!("{status}"))
}

fn damaged(error: Error) -> Problem {
    Problem::failed(format!(
        "p9probe.sys answers in a format that this program does not know: {error:?}"
    ))
}
