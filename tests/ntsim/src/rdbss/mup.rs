//! The multiple UNC provider: which redirector has a prefix, `\\server\share`.
//!
//! It asks the redirectors in the order in which they registered, and remembers what was claimed. Real MUP asks in the
//! order of the network providers and forgets after some minutes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::context::Request;
use super::create;
use super::dispatch::Fate;
use super::name;
use super::registration::Redirector;
use crate::arena::{self, Kind};
use crate::io::{file, status};
use crate::layout::io::{Device, MJ_DEVICE_CONTROL};
use crate::mem::{peek, poke, read_bytes, write_bytes};

/// IOCTL_REDIR_QUERY_PATH, and with the _EX form.
const QUERY_PATH: u32 = 0x14_018F;
const QUERY_PATH_EX: u32 = 0x14_0193;
/// QUERY_PATH_REQUEST: where the path is.
const REQUEST_PATH: usize = 0x10;

struct Provider {
    device: usize,
    name: String,
}

#[derive(Default)]
struct State {
    providers: Vec<Provider>,
    /// Prefix in lower case, and the provider's device name.
    claimed: Vec<(String, String)>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut State) -> R) -> R {
    run(STATE.lock().get_or_insert_default())
}

/// FsRtlRegisterUncProviderEx.
pub(super) fn register(redirector: &Redirector) {
    let provider = Provider {
        device: redirector.device.0,
        name: redirector.name.clone(),
    };
    with(|state| state.providers.push(provider));
    redirector.device.mup_handle().set(redirector.device.0);
}

/// FsRtlDeregisterUncProvider.
pub(super) fn deregister(redirector: &Redirector) {
    with(|state| {
        state
            .providers
            .retain(|provider| provider.device != redirector.device.0);
        state.claimed.retain(|(_, name)| *name != redirector.name);
    });
    redirector.device.mup_handle().set(0);
}

/// The part of a path that MUP gets: what follows `\??\UNC` or `\Device\Mup`.
pub(crate) fn prefix(path: &str) -> Option<&str> {
    [r"\??\UNC", r"\DosDevices\UNC", r"\Device\Mup"]
        .iter()
        .find_map(|root| {
            let (head, rest) = path.split_at_checked(root.len())?;
            (head.eq_ignore_ascii_case(root) && rest.starts_with('\\')).then_some(rest)
        })
}

/// The full path with the device of the redirector that has its prefix.
pub(crate) fn redirect(path: &str) -> Result<String, i32> {
    let lower = path.to_lowercase();
    let known = with(|state| {
        let mut claimed = state.claimed.iter();
        claimed
            .find(|(prefix, _)| {
                lower
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
            })
            .map(|(_, name)| name.clone())
    });
    if let Some(name) = known {
        return Ok(name + path);
    }
    let providers: Vec<(usize, String)> = with(|state| {
        let all = state.providers.iter();
        all.map(|provider| (provider.device, provider.name.clone()))
            .collect()
    });
    let mut answer = status::BAD_NETWORK_PATH;
    for (device, name) in providers {
        match ask(Device(device), path) {
            Ok(accepted) => {
                let units: Vec<u16> = lower.encode_utf16().collect();
                let prefix = name::shown(units.get(..accepted / 2).unwrap_or(&units));
                with(|state| state.claimed.push((prefix, name.clone())));
                return Ok(name + path);
            }
            Err(status) => answer = status,
        }
    }
    Err(answer)
}

/// Asks one provider; how many bytes of the path it claims.
fn ask(device: Device, path: &str) -> Result<usize, i32> {
    let bytes: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let input = arena::alloc(REQUEST_PATH + bytes.len(), Kind::Object);
    let output = arena::alloc(8, Kind::Object);
    poke(input, u32::try_from(bytes.len()).unwrap_or(0));
    write_bytes(input + REQUEST_PATH, &bytes);
    let outcome = file::request(device, 0, |irp, stack| {
        stack.major().set(MJ_DEVICE_CONTROL);
        stack.parameter::<u32>(0).set(4);
        stack
            .parameter::<u32>(8)
            .set(u32::try_from(REQUEST_PATH + bytes.len()).unwrap_or(0));
        stack.parameter::<u32>(16).set(QUERY_PATH);
        stack.parameter::<usize>(24).set(input);
        irp.user_buffer().set(output);
    });
    let accepted = peek::<u32>(output) as usize;
    arena::free(input);
    arena::free(output);
    if status::is_success(outcome.status) {
        Ok(accepted)
    } else {
        Err(outcome.status)
    }
}

/// Whether a control request for a device is MUP's question.
pub(super) fn is_question(request: &Request) -> bool {
    [QUERY_PATH, QUERY_PATH_EX].contains(&request.stack().parameter::<u32>(16).get())
}

/// RDBSS's answer: server and share are connected to, as by an open of the share alone.
pub(super) fn answer(request: &Arc<Request>) -> Fate {
    let stack = request.stack();
    if request.irp.requestor_mode().get() != 0 {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    }
    let input = stack.parameter::<usize>(24).get();
    let length = peek::<u32>(input) as usize;
    let bytes = read_bytes(input + REQUEST_PATH, length);
    let path: Vec<u16> = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .collect();
    request.at.tree_connect().set(1);
    let claimed = name::canonical(&path)
        .ok_or(status::BAD_NETWORK_PATH)
        .and_then(|(path, _)| create::claim(request, &path));
    match claimed {
        Ok((view, _)) => {
            let bytes = view.net_root.name.len() * 2;
            request.redirector.release(&view.node);
            poke(
                request.irp.user_buffer().get(),
                u32::try_from(bytes).unwrap_or(0),
            );
            Fate::Done(status::SUCCESS, 4)
        }
        Err(status) => Fate::status(status),
    }
}
