//! A session with a server, by p9probe.sys.

use alloc::format;

use p9probe_ioctl::{Connect, Disconnected, MAX_READ};

use crate::{Device, Probe, Problem, System, arguments::Server};

/// The longest message to ask for: the longest read, and what 9P puts in front of it.
const MESSAGE_LEN: u32 = MAX_READ + 24;

/// Connects, does something, and disconnects, however it went.
pub(crate) fn with<S: System, T>(
    system: &mut S,
    server: &Server<'_>,
    body: impl FnOnce(&mut S, &Probe<S::Device>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let probe = Probe::open(system)?;
    let ip = system.resolve(server.host)?;
    connect(&probe, server, ip)?;
    let done = body(system, &probe);
    let gone = disconnect(&probe);
    // What went wrong first matters more than how the cleaning up went.
    done.and_then(|done| gone.map(|()| done))
}

/// Builds a circuit and attaches.
pub(crate) fn connect<D: Device>(
    probe: &Probe<D>,
    server: &Server<'_>,
    ip: [u8; 4],
) -> Result<(), Problem> {
    let to = Connect {
        ip,
        port: server.port,
        msize: MESSAGE_LEN,
        uid: server.uid,
        uname: server.user.as_bytes(),
        aname: server.export.as_bytes(),
    };
    let connected = probe.connect(&to);
    connected.map(drop).map_err(|problem| {
        problem.during(&format!(
            "cannot connect to {}:{}",
            server.host, server.port
        ))
    })
}

/// Takes the circuit down; the engine's statuses count as well as the request's.
pub(crate) fn disconnect<D: Device>(probe: &Probe<D>) -> Result<(), Problem> {
    let Disconnected {
        was_connected,
        initiate,
        tear_down,
    } = probe
        .disconnect()
        .map_err(|problem| problem.during("cannot disconnect"))?;
    if was_connected == 0 {
        return Err(Problem::failed(
            "the session was gone before its end".into(),
        ));
    }
    if initiate < 0 || tear_down < 0 {
        return Err(Problem::failed(format!(
            "the disconnect went wrong: RxCeInitiateVCDisconnect {initiate:#010X}, RxCeTearDownVC {tear_down:#010X}"
        )));
    }
    Ok(())
}
