//! The control interface of p9probe.sys, typed.

use anyhow::{Context as _, Result, bail};
use p9probe_ioctl::{
    Close, Connect, Connected, Disconnected, List, Listing, Opened, Path, Read, Stat, Statistics,
    code,
};

use super::message::Failure;

/// Room for a part of a directory.
const LISTING_LEN: usize = 16 * 1024;

/// An open handle on the control device.
pub(crate) struct Probe(ntsim::File);

impl Probe {
    /// Opens the device.
    pub(crate) fn open() -> Result<Self> {
        match ntsim::File::open(p9probe_ioctl::DEVICE_NAME) {
            Ok(file) => Ok(Self(file)),
            Err(error) => bail!("cannot open {}: {error:?}", p9probe_ioctl::DEVICE_NAME),
        }
    }

    fn control(&self, code: u32, input: &[u8], output: usize) -> Result<Vec<u8>, Failure> {
        self.0
            .ioctl(code, input, output)
            .map_err(|status| Failure(status.0.cast_unsigned()))
    }

    /// Connects and attaches.
    pub(crate) fn connect(&self, to: &Connect<'_>) -> Result<Connected> {
        let mut buffer = [0; 4096];
        let output = self.control(code::CONNECT, to.encode(&mut buffer)?, 8)?;
        Ok(Connected::decode(&output)?)
    }

    /// Attributes of a file.
    pub(crate) fn stat(&self, path: &str) -> Result<Stat> {
        let mut buffer = [0; 2048];
        let output = self.control(
            code::STAT,
            Path {
                path: path.as_bytes(),
            }
            .encode(&mut buffer)?,
            64,
        )?;
        Ok(Stat::decode(&output)?)
    }

    /// All entries of a directory.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<(String, Stat)>> {
        let mut names = Vec::new();
        let mut cursor = 0;
        loop {
            let mut buffer = [0; 2048];
            let input = List {
                cursor,
                path: path.as_bytes(),
            };
            let output = self.control(code::LIST, input.encode(&mut buffer)?, LISTING_LEN)?;
            let listing = Listing::decode(&output)?;
            let before = names.len();
            for entry in listing.entries() {
                let entry = entry.context("the driver returned a damaged listing")?;
                names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.stat));
            }
            if names.len() == before {
                names.sort_by(|a, b| a.0.cmp(&b.0));
                return Ok(names);
            }
            cursor = listing.cursor;
        }
    }

    /// Opens a file.
    pub(crate) fn open_file(&self, path: &str) -> Result<Opened> {
        let mut buffer = [0; 2048];
        let output = self.control(
            code::OPEN,
            Path {
                path: path.as_bytes(),
            }
            .encode(&mut buffer)?,
            64,
        )?;
        Ok(Opened::decode(&output)?)
    }

    /// Reads from an open file; no bytes: the end.
    pub(crate) fn read(&self, file: u32, offset: u64, length: u32) -> Result<Vec<u8>> {
        let mut buffer = [0; 16];
        let room = usize::try_from(length)?;
        Ok(self.control(
            code::READ,
            Read {
                file,
                length,
                offset,
            }
            .encode(&mut buffer)?,
            room,
        )?)
    }

    /// Closes a file.
    pub(crate) fn close_file(&self, file: u32) -> Result<()> {
        let mut buffer = [0; 4];
        self.control(code::CLOSE, Close { file }.encode(&mut buffer)?, 0)?;
        Ok(())
    }

    /// Disconnects and tears everything down.
    pub(crate) fn disconnect(&self) -> Result<Disconnected> {
        Ok(Disconnected::decode(&self.control(
            code::DISCONNECT,
            &[],
            12,
        )?)?)
    }

    /// Counters.
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics::decode(&self.control(
            code::STATISTICS,
            &[],
            80,
        )?)?)
    }
}
