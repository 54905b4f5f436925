//! The simulated machine, as rxcectl wants it.

use std::{
    io::{self, Write as _},
    net::{IpAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::Instant,
};

use ntsim::File;
use rxcectl::{NewFile, NtStatus, Problem, System};
use tempfile::NamedTempFile;

use crate::watchdog;

/// The one machine of this process. Files, names and time are the host's.
pub struct Machine {
    booted: Instant,
}

/// An open device of it.
pub struct Device(File);

/// A file of the host.
pub struct Output {
    part: NamedTempFile,
    path: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            booted: Instant::now(),
        }
    }
}

impl System for Machine {
    type Device = Device;
    type File = Output;

    fn open(&mut self, name: &str) -> Result<Device, NtStatus> {
        File::open(name).map(Device).map_err(status)
    }

    fn create(&mut self, path: &str) -> Result<Output, Problem> {
        let path = PathBuf::from(path);
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        match NamedTempFile::new_in(folder) {
            Ok(part) => Ok(Output { part, path }),
            Err(error) => Err(unwritten(&path, &error)),
        }
    }

    fn resolve(&mut self, host: &str) -> Result<[u8; 4], Problem> {
        let addresses = (host, 0).to_socket_addrs();
        let mut addresses = addresses
            .map_err(|error| Problem::failed(format!("cannot find the host {host}: {error}")))?;
        addresses
            .find_map(|address| match address.ip() {
                IpAddr::V4(ip) => Some(ip.octets()),
                IpAddr::V6(_) => None,
            })
            .ok_or_else(|| Problem::failed(format!("the host {host} has no IPv4 address")))
    }

    fn microseconds(&mut self) -> u64 {
        u64::try_from(self.booted.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn print(&mut self, text: &str) -> Result<(), Problem> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Problem::failed(format!("cannot write the output: {error}")))
    }

    fn complain(&mut self, text: &str) {
        // Nobody is left to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl rxcectl::Device for Device {
    fn control(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NtStatus> {
        watchdog::watch(|| self.0.ioctl(code, input, room)).map_err(status)
    }
}

impl NewFile for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let written = self.part.write_all(bytes);
        written.map_err(|error| unwritten(&self.path, &error))
    }

    fn finish(self) -> Result<(), Problem> {
        let Self { part, path } = self;
        let kept = part.persist(&path);
        kept.map(drop)
            .map_err(|error| unwritten(&path, &error.error))
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Problem {
    Problem::failed(format!("cannot write {}: {error}", path.display()))
}

const fn status(status: ntsim::NtStatus) -> NtStatus {
    NtStatus(status.0.cast_unsigned())
}
