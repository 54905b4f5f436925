//! NET_ROOT, a share of a server, and V_NET_ROOT, a user's view of it.

use std::sync::Arc;

use super::calldown::Slot;
use super::construction::{Outcome, Report, Waiting, clear, require_pending};
use super::context::Request;
use super::layout::{CreateNetRoot, Dispatch, MrxNetRoot, MrxVNetRoot, manage, node};
use super::life::Node;
use super::name::{self, Text};
use super::registration::Redirector;
use super::rule::{Rule, violation};
use super::server::Server;
use super::work;
use crate::arena::{self, Kind};
use crate::dispatcher;
use crate::gate;
use crate::io::status;
use crate::layout::ke::UnicodeString;
use crate::mem::{peek, poke};
use crate::trace::{self, EventKind};

/// SRVCALL_FLAG_CASE_INSENSITIVE_NETROOTS and _FILENAMES.
const IGNORE_CASE_OF_NET_ROOTS: u32 = 0x4;
const IGNORE_CASE_OF_FILES: u32 = 0x8;
/// NET_ROOT_WILD: the mini-redirector says what it is.
const WILD: u8 = 4;
/// FILE_DEVICE_DISK.
const DEVICE_DISK: u32 = 7;
/// The logon of the local system, SYSTEM_LUID.
const SYSTEM_LUID: u32 = 0x3E7;

/// A share.
pub(super) struct NetRoot {
    pub(super) node: Node,
    pub(super) server: Arc<Server>,
    pub(super) name: Vec<u16>,
    _text: Text,
}

impl NetRoot {
    pub(super) const fn view(&self) -> MrxNetRoot {
        MrxNetRoot(self.node.at())
    }

    /// Whether names of its files are compared without case.
    pub(super) fn ignores_case(&self) -> bool {
        self.server.view().flags().get() & IGNORE_CASE_OF_FILES != 0
    }
}

/// A user's view of a share.
pub(super) struct VNetRoot {
    pub(super) node: Node,
    pub(super) net_root: Arc<NetRoot>,
    outcome: Outcome,
}

impl VNetRoot {
    pub(super) const fn view(&self) -> MrxVNetRoot {
        MrxVNetRoot(self.node.at())
    }
}

/// The lengths, in characters, of the share's part of a path and where the rest begins: MRxExtractNetRootName.
pub(super) fn split(
    redirector: &Redirector,
    server: &Server,
    path: &[u16],
) -> (Vec<u16>, Vec<u16>) {
    let text = Text::new(path);
    let strings = UnicodeString(arena::alloc(32, Kind::Object));
    let (net_root, rest) = (strings, UnicodeString(strings.0 + 16));
    clear(net_root);
    clear(rest);
    let slot = Slot::EXTRACT_NET_ROOT_NAME;
    redirector.try_call(
        slot,
        &[
            text.address() as u64,
            server.view().0 as u64,
            net_root.0 as u64,
            rest.0 as u64,
        ],
    );
    let place = |string: UnicodeString| -> Option<(usize, usize)> {
        let length = usize::from(string.length().get()) / 2;
        if length == 0 {
            return None;
        }
        let begin = string.buffer().get().wrapping_sub(text.buffer()) / 2;
        if begin > path.len() || length > path.len() - begin {
            violation(
                Rule::NetRootName,
                peek(redirector.dispatch + slot.0),
                format!(
                    "{} gave a name that is no part of {}",
                    slot.1,
                    name::shown(path)
                ),
            );
        }
        Some((begin, begin + length))
    };
    // The share's name may be given with the server's in front of it, or without.
    let end = place(net_root).map_or(0, |(_, end)| end);
    let begin = place(rest).map_or(path.len(), |(begin, _)| begin);
    arena::free(strings.0);
    let part = |range: std::ops::Range<usize>| path.get(range).unwrap_or_default().to_vec();
    (part(0..end), part(begin.max(end)..path.len()))
}

/// The view of the share of this name, with one more user.
pub(super) fn find_or_create(
    request: &Arc<Request>,
    server: &Arc<Server>,
    name: &[u16],
) -> Result<Arc<VNetRoot>, i32> {
    let redirector = &request.redirector;
    let ignore_case = server.view().flags().get() & IGNORE_CASE_OF_NET_ROOTS != 0;
    let key = name::key(name, ignore_case);
    let (view, is_new) = {
        let mut tables = redirector.tables.lock();
        let known = tables.v_net_roots.iter().find(|view| {
            Arc::ptr_eq(&view.net_root.server, server)
                && name::key(&view.net_root.name, ignore_case) == key
        });
        match known {
            Some(view) => {
                view.node.acquire();
                (Arc::clone(view), false)
            }
            None => {
                let known = tables.net_roots.iter().find(|net_root| {
                    Arc::ptr_eq(&net_root.server, server)
                        && name::key(&net_root.name, ignore_case) == key
                });
                let net_root = if let Some(net_root) = known {
                    net_root.node.acquire();
                    Arc::clone(net_root)
                } else {
                    let net_root = Arc::new(new_net_root(redirector, server, name));
                    tables.net_roots.push(Arc::clone(&net_root));
                    net_root
                };
                let view = Arc::new(new_view(redirector, &net_root));
                tables.v_net_roots.push(Arc::clone(&view));
                (view, true)
            }
        }
    };
    let status = if is_new {
        let status = construct(request, &view);
        if !status::is_success(status) {
            redirector
                .tables
                .lock()
                .v_net_roots
                .retain(|other| !Arc::ptr_eq(other, &view));
        }
        view.view().construction_status().set(status);
        view.outcome.set(status);
        if !status::is_success(status) {
            finalize_view(redirector, &view);
        }
        status
    } else {
        view.outcome.wait()
    };
    if status::is_success(status) {
        Ok(view)
    } else {
        redirector.release(&view.node);
        Err(status)
    }
}

fn new_net_root(redirector: &Redirector, server: &Arc<Server>, name: &[u16]) -> NetRoot {
    let table = Dispatch(redirector.dispatch);
    let extension = redirector
        .manages(manage::NET_ROOT)
        .then(|| table.net_root_size().get());
    server.node.acquire();
    let net_root = NetRoot {
        node: Node::new(node::NET_ROOT, MrxNetRoot::SIZE, extension),
        server: Arc::clone(server),
        name: name.to_vec(),
        _text: Text::new(name),
    };
    let view = net_root.view();
    view.srv_call().set(server.view().0);
    view.context().set(net_root.node.extension());
    view.kind().set(WILD);
    view.device_type().set(DEVICE_DISK);
    view.name().set(net_root._text.address());
    net_root
}

fn new_view(redirector: &Redirector, net_root: &Arc<NetRoot>) -> VNetRoot {
    let table = Dispatch(redirector.dispatch);
    let extension = redirector
        .manages(manage::V_NET_ROOT)
        .then(|| table.v_net_root_size().get());
    let view = VNetRoot {
        node: Node::new(node::V_NET_ROOT, MrxVNetRoot::SIZE, extension),
        net_root: Arc::clone(net_root),
        outcome: Outcome::new(),
    };
    view.view().net_root().set(net_root.view().0);
    view.view().context().set(view.node.extension());
    view.view().logon_id().set([SYSTEM_LUID, 0]);
    view
}

/// MRxCreateVNetRoot and its callback.
fn construct(request: &Arc<Request>, view: &Arc<VNetRoot>) -> i32 {
    let redirector = &request.redirector;
    let structure = CreateNetRoot(arena::alloc(CreateNetRoot::SIZE, Kind::Object));
    dispatcher::event::make(structure.finish_event().address(), 0, false);
    structure.context().set(request.at.0);
    structure.v_net_root().set(view.view().0);
    structure.v_net_root_status().set(status::BAD_NETWORK_PATH);
    structure.net_root_status().set(status::BAD_NETWORK_PATH);
    structure
        .call_back()
        .set(gate::thunk("RxCreateNetRootCallBack").unwrap_or(0));
    let waiting = Waiting::begin(structure.0);
    let slot = Slot::CREATE_V_NET_ROOT;
    let result = redirector.call(slot, &[structure.0 as u64]);
    require_pending(result, peek(redirector.dispatch + slot.0), slot.1);
    let Report {
        status,
        net_root_status,
        ..
    } = waiting.wait();
    trace::event(EventKind::Note, 0, || {
        format!(
            "V_NET_ROOT {}: {}, NET_ROOT: {}",
            name::shown(&view.net_root.name),
            status::name(status),
            status::name(net_root_status)
        )
    });
    if status::is_success(net_root_status) {
        status
    } else {
        net_root_status
    }
}

/// MRxFinalizeVNetRoot; then the share has a user less, and goes if that was the last.
pub(super) fn finalize_view(redirector: &Arc<Redirector>, view: &Arc<VNetRoot>) {
    call_finalizer(redirector, Slot::FINALIZE_V_NET_ROOT, view.view().0);
    let net_root = &view.net_root;
    let last = {
        let mut tables = redirector.tables.lock();
        let last = net_root.node.release();
        if last {
            tables
                .net_roots
                .retain(|other| !Arc::ptr_eq(other, net_root));
        }
        last
    };
    if last {
        call_finalizer(redirector, Slot::FINALIZE_NET_ROOT, net_root.view().0);
        redirector.release(&net_root.server.node);
    }
}

/// (object, pointer to a BOOLEAN: forced).
fn call_finalizer(redirector: &Arc<Redirector>, slot: Slot, at: usize) {
    let redirector = Arc::clone(redirector);
    work::in_worker(move || {
        let forced = arena::alloc(8, Kind::Object);
        poke(forced, 0_u8);
        redirector.call_done(slot, &[at as u64, forced as u64]);
        arena::free(forced);
    });
}
