//! Reads a file: tells its hash, or writes it.

use alloc::{format, string::String};

use p9probe_ioctl::MAX_READ;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    Device, ExitCode, NewFile as _, Probe, Problem, System, arguments::Server, json, session,
};

#[derive(Serialize)]
struct Document<'a> {
    command: &'static str,
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    output: Option<&'a str>,
    microseconds: u64,
}

/// Reads a file through the circuit.
pub(crate) fn run<S: System>(
    system: &mut S,
    server: &Server<'_>,
    path: &str,
    output: Option<&str>,
    as_json: bool,
) -> Result<ExitCode, Problem> {
    let (bytes, hash, microseconds) = session::with(system, server, |system, probe| {
        let mut file = output.map(|output| system.create(output)).transpose()?;
        let began = system.microseconds();
        let (bytes, hash) = read(probe, path, |bytes| match &mut file {
            Some(file) => file.write(bytes),
            None => Ok(()),
        })?;
        if let Some(file) = file {
            file.finish()?;
        }
        Ok((bytes, hash, system.microseconds().saturating_sub(began)))
    })?;
    if as_json {
        json::print(
            system,
            &Document {
                command: "read",
                path,
                bytes,
                sha256: &hash,
                output,
                microseconds,
            },
        )?;
    } else {
        let to = output.map(|output| format!(" -> {output}"));
        system.print(&format!(
            "{hash}  {path}, {bytes} bytes{}\n",
            to.unwrap_or_default()
        ))?;
    }
    Ok(ExitCode::Done)
}

/// Reads to the end; returns how many bytes there were, and their SHA-256.
fn read<D: Device>(
    probe: &Probe<D>,
    path: &str,
    mut take: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<(u64, String), Problem> {
    let what = format!("cannot read {path}");
    let opened = probe
        .open_file(path)
        .map_err(|problem| problem.during(&what))?;
    let mut hash = Sha256::new();
    let mut offset = 0_u64;
    loop {
        let part = probe.read(opened.file, offset, opened.max_read.min(MAX_READ));
        let part = part.map_err(|problem| {
            problem.during(&format!("{what}, at byte {offset} of {}", opened.stat.size))
        })?;
        if part.is_empty() {
            break;
        }
        hash.update(&part);
        take(&part)?;
        offset = offset.saturating_add(part.len() as u64);
    }
    probe
        .close_file(opened.file)
        .map_err(|problem| problem.during(&what))?;
    let hash = hash.finalize();
    Ok((
        offset,
        hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}
