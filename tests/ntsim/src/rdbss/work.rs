//! Worker threads of the RDBSS process.

use std::sync::Arc;

use super::registration::{self, Redirector};
use crate::ex::work;
use crate::fault::{self, FaultKind};
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::io::status;
use crate::irql::DISPATCH_LEVEL;
use crate::ps;
use crate::stop::Stop;
use crate::thread;

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub(super) const ROUTINES: &[Routine] = &[
    Routine {
        name: "RxGetRDBSSProcess",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| ps::system_process() as u64,
    },
    Routine {
        name: "RxDispatchToWorkerThread",
        args: 4,
        irql: RULE,
        run: dispatch,
    },
    Routine {
        name: "RxPostToWorkerThread",
        args: 5,
        irql: RULE,
        run: post,
    },
];

/// HyperCriticalWorkQueue, the last of the three.
const LAST_QUEUE: u32 = 2;

/// Whether the current thread belongs to the RDBSS process.
pub(super) fn in_rdbss_process() -> bool {
    thread::current().system
}

/// Runs something in the RDBSS process: in place, or in a worker which is waited for.
pub(super) fn in_worker(run: impl FnOnce() + Send + 'static) {
    if in_rdbss_process() {
        return run();
    }
    let done = Arc::new(crate::dispatcher::host::HostEvent::manual());
    let signal = Arc::clone(&done);
    work::queue_host(move || {
        run();
        signal.set();
    });
    done.wait(crate::dispatcher::Sleep::Wanted);
}

/// RxDispatchToWorkerThread(device, queue, routine, context).
fn dispatch(call: &Call) -> u64 {
    let redirector = registration::require(call.addr(0), call.routine());
    if fault::should_fail(call, FaultKind::WorkItem) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    if call.u32(1) > LAST_QUEUE {
        return u64::from(status::INVALID_PARAMETER.cast_unsigned());
    }
    let (routine, context) = (call.addr(2), call.arg(3));
    let running = Running::begin(redirector);
    work::queue_host(move || {
        gate::call_named("RDBSS worker routine", routine, &[context]);
        drop(running);
    });
    0
}

/// RxPostToWorkerThread(device, queue, item, routine, context).
fn post(call: &Call) -> u64 {
    let redirector = registration::require(call.addr(0), call.routine());
    if call.u32(1) > LAST_QUEUE {
        return u64::from(status::INVALID_PARAMETER.cast_unsigned());
    }
    let (item, routine, context) = (call.addr(2), call.addr(3), call.arg(4));
    let running = Running::begin(redirector);
    work::queue_host_item(item, call.caller(), move || {
        gate::call_named("RDBSS worker routine", routine, &[context]);
        drop(running);
    });
    0
}

/// Something that a redirector's workers have to do; unregistering waits for all of it.
struct Running(Arc<Redirector>);

impl Running {
    fn begin(redirector: Arc<Redirector>) -> Self {
        redirector.work_changed(1);
        Self(redirector)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.work_changed(-1);
    }
}
