//! The control codes, carried out in a system worker thread.

use core::ptr;

use client_nt::control::Output;
use p9probe_ioctl::{
    Close, Connect, Disconnected, Error, INTERFACE_VERSION, List, MAX_READ, Path, Read, Version,
    code,
};
use wdk_sys::{
    NTSTATUS, PFILE_OBJECT, STATUS_BUFFER_TOO_SMALL, STATUS_CONNECTION_ACTIVE,
    STATUS_CONNECTION_INVALID, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
};

use crate::{
    client::Client, counters::COUNTERS, driver::Device, exchange::Circuit, status::Result,
};

/// Carries a command out; returns the length of the output.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, in a system worker thread.
///
/// # Errors
///
/// The status for the caller; nothing was written then.
pub(crate) fn execute(
    device: &Device,
    file: PFILE_OBJECT,
    code: u32,
    input: &[u8],
    mut output: Output,
) -> Result<usize> {
    match code {
        code::CONNECT => connect(
            device,
            file,
            &Connect::decode(input).map_err(malformed)?,
            output.as_mut(),
        ),
        code::DISCONNECT => disconnect(device)?
            .encode(output.as_mut())
            .map(<[u8]>::len)
            .map_err(too_small),
        code::STATISTICS => COUNTERS
            .read()
            .encode(output.as_mut())
            .map(<[u8]>::len)
            .map_err(too_small),
        code::VERSION => Version {
            version: INTERFACE_VERSION,
        }
        .encode(output.as_mut())
        .map(<[u8]>::len)
        .map_err(too_small),
        // Also of a circuit that is of no use any more.
        code::COUNTERS => device.with_client(|client| {
            let counters = client
                .as_ref()
                .ok_or(STATUS_CONNECTION_INVALID)?
                .counters()?;
            counters
                .encode(output.as_mut())
                .map(<[u8]>::len)
                .map_err(too_small)
        }),
        _ => device.with_client(|client| {
            let client = client.as_mut().ok_or(STATUS_CONNECTION_INVALID)?;
            match client.failure() {
                Some(failure) => Err(failure),
                None => use_client(client, code, input, output),
            }
        }),
    }
}

fn use_client(client: &mut Client, code: u32, input: &[u8], mut output: Output) -> Result<usize> {
    match code {
        code::LIST => {
            let List { cursor, path } = List::decode(input).map_err(malformed)?;
            client.list(path, cursor, output.as_mut())
        }
        code::STAT => {
            let stat = client.stat(Path::decode(input).map_err(malformed)?.path)?;
            stat.encode(output.as_mut())
                .map(<[u8]>::len)
                .map_err(too_small)
        }
        code::OPEN => {
            let opened = client.open(Path::decode(input).map_err(malformed)?.path)?;
            opened
                .encode(output.as_mut())
                .map(<[u8]>::len)
                .map_err(too_small)
        }
        code::READ => {
            let Read {
                file,
                length,
                offset,
            } = Read::decode(input).map_err(malformed)?;
            let room = u32::try_from(output.room()).unwrap_or(u32::MAX);
            if length > MAX_READ || length > room {
                return Err(STATUS_BUFFER_TOO_SMALL);
            }
            // SAFETY: The system buffer is nonpaged pool of at least `length` bytes, and ours until the IRP completes.
            unsafe { client.read(file, offset, output.start(), length) }
        }
        code::CLOSE => client
            .close(Close::decode(input).map_err(malformed)?.file)
            .map(|()| 0),
        _ => Err(STATUS_INVALID_DEVICE_REQUEST),
    }
}

fn connect(
    device: &Device,
    file: PFILE_OBJECT,
    to: &Connect<'_>,
    output: &mut [u8],
) -> Result<usize> {
    device.with_client(|slot| {
        if slot.is_some() {
            return Err(STATUS_CONNECTION_ACTIVE);
        }
        let circuit = Circuit::new()?;
        device.publish(circuit.link());
        let mut client = Client::new(circuit);
        match client.attach(to) {
            Ok(connected) => {
                *slot = Some(client);
                device.give_to(file);
                connected.encode(output).map(<[u8]>::len).map_err(too_small)
            }
            Err(status) => {
                device.withdraw();
                // The reason for the failure matters more than how the cleaning up went.
                let _ = client.disconnect();
                Err(status)
            }
        }
    })
}

/// Ends a session, if there is one. A request that waits for the server is failed first.
pub(crate) fn disconnect(device: &Device) -> Result<Disconnected> {
    device.interrupt();
    device.with_client(|slot| match slot.take() {
        None => Ok(Disconnected::default()),
        Some(client) => {
            device.withdraw();
            device.give_to(ptr::null_mut());
            client.disconnect()
        }
    })
}

/// Ends the session of a handle that goes, if it has one.
pub(crate) fn end_of(device: &Device, file: PFILE_OBJECT) {
    if device.belongs_to(file) {
        // Nobody is left to tell; what the engine refuses to take down stays visible as a leak.
        let _ = disconnect(device);
    }
}

const fn malformed(_: Error) -> NTSTATUS {
    STATUS_INVALID_PARAMETER
}

const fn too_small(_: Error) -> NTSTATUS {
    STATUS_BUFFER_TOO_SMALL
}
