//! SRV_CALL: a server.

use std::sync::Arc;

use super::calldown::Slot;
use super::construction::{Outcome, Waiting, require_pending};
use super::context::Request;
use super::layout::{Dispatch, SrvCall, SrvCalldown, manage, node};
use super::life::Node;
use super::name::{self, Text};
use super::registration::Redirector;
use super::work;
use crate::arena::{self, Kind};
use crate::dispatcher;
use crate::gate;
use crate::io::status;
use crate::mem::peek;
use crate::trace::{self, EventKind};

/// Most files of a server whose close would be delayed, as RDBSS begins with.
const CLOSE_DELAYED: i32 = 40;

/// A server.
pub(super) struct Server {
    pub(super) node: Node,
    pub(super) name: Vec<u16>,
    _text: Text,
    outcome: Outcome,
}

impl Server {
    pub(super) const fn view(&self) -> SrvCall {
        SrvCall(self.node.at())
    }
}

/// The server of this name, with one more user.
pub(super) fn find_or_create(request: &Arc<Request>, name: &[u16]) -> Result<Arc<Server>, i32> {
    let redirector = &request.redirector;
    let key = name::key(name, true);
    let (server, is_new) = {
        let mut tables = redirector.tables.lock();
        let known = tables
            .servers
            .iter()
            .find(|server| name::key(&server.name, true) == key);
        match known {
            Some(server) => {
                server.node.acquire();
                (Arc::clone(server), false)
            }
            None => {
                let server = Arc::new(new(redirector, name));
                tables.servers.push(Arc::clone(&server));
                (server, true)
            }
        }
    };
    let status = if is_new {
        let status = construct(request, &server);
        if !status::is_success(status) {
            redirector
                .tables
                .lock()
                .servers
                .retain(|other| !Arc::ptr_eq(other, &server));
        }
        server.view().status().set(status);
        server.outcome.set(status);
        status
    } else {
        server.outcome.wait()
    };
    if status::is_success(status) {
        Ok(server)
    } else {
        redirector.release(&server.node);
        Err(status)
    }
}

fn new(redirector: &Redirector, name: &[u16]) -> Server {
    let table = Dispatch(redirector.dispatch);
    let extension = redirector
        .manages(manage::SRV_CALL)
        .then(|| table.srv_call_size().get());
    let server = Server {
        node: Node::new(node::SRV_CALL, SrvCall::SIZE, extension),
        name: name.to_vec(),
        _text: Text::new(name),
        outcome: Outcome::new(),
    };
    let view = server.view();
    view.context().set(server.node.extension());
    view.device().set(redirector.device.0);
    view.name().set(server._text.address());
    view.close_delayed().set(CLOSE_DELAYED);
    server
}

/// MRxCreateSrvCall, its callback, MRxSrvCallWinnerNotify.
fn construct(request: &Arc<Request>, server: &Arc<Server>) -> i32 {
    let redirector = &request.redirector;
    let structure = SrvCalldown(arena::alloc(SrvCalldown::SIZE, Kind::Object));
    dispatcher::event::make(structure.finish_event().address(), 0, false);
    structure.context().set(request.at.0);
    structure.srv_call().set(server.view().0);
    structure
        .call_back()
        .set(gate::thunk("RxCreateSrvCallCallBack").unwrap_or(0));
    structure.remaining().set(1);
    structure.to_wait().set(1);
    structure.callback_structure().set(structure.0);
    structure.callback_device().set(redirector.device.0);
    structure.callback_status().set(status::BAD_NETWORK_PATH);
    let waiting = Waiting::begin(structure.0);
    let slot = Slot::CREATE_SRV_CALL;
    let callback = structure.0 + SrvCalldown::CONTEXT;
    let result = redirector.call(slot, &[server.view().0 as u64, callback as u64]);
    require_pending(result, peek(redirector.dispatch + slot.0), slot.1);
    let report = waiting.wait();
    trace::event(EventKind::Note, 0, || {
        let (name, status) = (name::shown(&server.name), status::name(report.status));
        format!("SRV_CALL {name}: {status}")
    });
    if !status::is_success(report.status) {
        return report.status;
    }
    let arguments = [server.view().0 as u64, 1, report.recommunicate as u64];
    let told = redirector.call_done(Slot::SRV_CALL_WINNER, &arguments);
    if !status::is_success(told) {
        finalize(redirector, server);
    }
    told
}

/// MRxFinalizeSrvCall, in the RDBSS process.
pub(super) fn finalize(redirector: &Arc<Redirector>, server: &Arc<Server>) {
    trace::event(EventKind::Note, 0, || {
        format!("SRV_CALL {} is finalised", name::shown(&server.name))
    });
    let (redirector, at) = (Arc::clone(redirector), server.view().0 as u64);
    work::in_worker(move || {
        redirector.call(Slot::FINALIZE_SRV_CALL, &[at, 0]);
    });
}
