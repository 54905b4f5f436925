//! Objects that a mini-redirector constructs and reports by a callback: who waits for it, and that it comes once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::layout::{CreateNetRoot, SrvCalldown};
use super::rule::{Rule, violation};
use crate::arena;
use crate::dispatcher::Sleep;
use crate::dispatcher::host::HostEvent;
use crate::gate::{Call, IrqlRule, Routine};
use crate::io::status;
use crate::irql::APC_LEVEL;
use crate::layout::ke::UnicodeString;
use crate::stop::Stop;

const RULE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));

/// Routines whose addresses mini-redirectors are given.
pub(super) const ROUTINES: &[Routine] = &[
    Routine {
        name: "RxCreateSrvCallCallBack",
        args: 1,
        irql: RULE,
        run: srv_call_done,
    },
    Routine {
        name: "RxCreateNetRootCallBack",
        args: 1,
        irql: RULE,
        run: net_root_done,
    },
];

/// What a callback said.
#[derive(Clone, Copy)]
pub(super) struct Report {
    /// Of the object itself: SRV_CALL or V_NET_ROOT.
    pub(super) status: i32,
    /// Of the NET_ROOT.
    pub(super) net_root_status: i32,
    /// RecommunicateContext.
    pub(super) recommunicate: usize,
}

/// A construction that is under way.
#[derive(Clone)]
pub(super) struct Waiting(Arc<(HostEvent, Mutex<Option<Report>>)>);

static UNDER_WAY: Mutex<Option<HashMap<usize, Waiting>>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut HashMap<usize, Waiting>) -> R) -> R {
    run(UNDER_WAY.lock().get_or_insert_default())
}

impl Waiting {
    /// The structure at this address was given to the mini-redirector.
    pub(super) fn begin(structure: usize) -> Self {
        let waiting = Self(Arc::new((HostEvent::manual(), Mutex::new(None))));
        with(|all| all.insert(structure, waiting.clone()));
        waiting
    }

    /// Waits for the callback.
    pub(super) fn wait(&self) -> Report {
        self.0.0.wait(Sleep::Wanted);
        let report = *self.0.1.lock();
        report.unwrap_or(Report {
            status: status::BAD_NETWORK_PATH,
            net_root_status: status::BAD_NETWORK_PATH,
            recommunicate: 0,
        })
    }
}

/// The callback for a structure: it is the mini-redirector's no more.
fn take(structure: usize, routine: &str) -> Waiting {
    with(|all| all.remove(&structure)).unwrap_or_else(|| {
        violation(
            Rule::CalledBackTwice,
            structure,
            format!(
                "{routine} for {structure:#x}, which is not under construction (called twice?)"
            ),
        )
    })
}

fn refuse_pending(structure: usize, status: i32, routine: &str) {
    if status == status::PENDING {
        violation(
            Rule::CalledBackPending,
            structure,
            format!("{routine} with STATUS_PENDING"),
        );
    }
}

/// The structure is freed before anybody may look at it again.
fn end(waiting: &Waiting, structure: usize, report: Report) {
    arena::free(structure);
    *waiting.0.1.lock() = Some(report);
    waiting.0.0.set();
}

fn srv_call_done(call: &Call) -> u64 {
    let structure = call.addr(0).wrapping_sub(SrvCalldown::CONTEXT);
    let waiting = take(structure, call.routine());
    let view = SrvCalldown(structure);
    let status = view.callback_status().get();
    refuse_pending(structure, status, call.routine());
    let report = Report {
        status,
        net_root_status: status::SUCCESS,
        recommunicate: view.callback_recommunicate().get(),
    };
    end(&waiting, structure, report);
    0
}

fn net_root_done(call: &Call) -> u64 {
    let structure = call.addr(0);
    let waiting = take(structure, call.routine());
    let view = CreateNetRoot(structure);
    let report = Report {
        status: view.v_net_root_status().get(),
        net_root_status: view.net_root_status().get(),
        recommunicate: 0,
    };
    refuse_pending(structure, report.status, call.routine());
    refuse_pending(structure, report.net_root_status, call.routine());
    end(&waiting, structure, report);
    0
}

/// A construction that others may wait for too.
pub(super) struct Outcome {
    ready: HostEvent,
    status: Mutex<i32>,
}

impl Outcome {
    pub(super) fn new() -> Self {
        Self {
            ready: HostEvent::manual(),
            status: Mutex::new(status::PENDING),
        }
    }

    pub(super) fn set(&self, status: i32) {
        *self.status.lock() = status;
        self.ready.set();
    }

    /// Waits until it is set.
    pub(super) fn wait(&self) -> i32 {
        self.ready.wait(Sleep::Wanted);
        *self.status.lock()
    }
}

/// Refuses everything but STATUS_PENDING from a callback that reports by a callback.
pub(super) fn require_pending(result: i32, at: usize, name: &str) {
    if result != status::PENDING {
        violation(
            Rule::NotPending,
            at,
            format!(
                "{name} returned {}; it returns STATUS_PENDING on every path",
                status::name(result)
            ),
        );
    }
}

/// Empties a UNICODE_STRING that a callback is to fill.
pub(super) fn clear(string: UnicodeString) {
    string.length().set(0);
    string.maximum().set(0);
    string.buffer().set(0);
}
