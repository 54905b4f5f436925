//! RX_CONTEXT: one for each request, alive until the request is completed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::layout::{RxContext, flag, node, write_header};
use super::registration::Redirector;
use super::rule::{Rule, violation};
use crate::arena::{self, Kind};
use crate::dispatcher::host::HostEvent;
use crate::io::file::Outcome;
use crate::layout::io::{FileObject, Irp, Stack};
use crate::thread;

/// Where a request is that a callback may complete later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// With RDBSS.
    Own,
    /// With the mini-redirector: its callback runs, or has returned STATUS_PENDING and RDBSS waits.
    Submitted,
    /// With the mini-redirector; the dispatch routine has returned.
    Pended,
    /// RxLowIoCompletion was called.
    Completed(Outcome),
}

/// A request, and its RX_CONTEXT.
pub(super) struct Request {
    pub(super) at: RxContext,
    pub(super) redirector: Arc<Redirector>,
    pub(super) irp: Irp,
    pub(super) stage: Mutex<Stage>,
    /// Set by RxLowIoCompletion.
    pub(super) completed: HostEvent,
    /// RxStartMinirdr or RxStopMinirdr asked for a worker.
    pub(super) must_post: Mutex<bool>,
    /// What RDBSS made for the request and takes down after it.
    pub(super) buffer: Mutex<Option<super::low_io::Buffer>>,
}

static LIVE: Mutex<Option<HashMap<usize, Arc<Request>>>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut HashMap<usize, Arc<Request>>) -> R) -> R {
    run(LIVE.lock().get_or_insert_default())
}

/// Makes the context of a request.
pub(super) fn begin(redirector: &Arc<Redirector>, irp: Irp) -> Arc<Request> {
    static SERIAL: AtomicU32 = AtomicU32::new(1);
    let at = RxContext(arena::alloc(RxContext::SIZE, Kind::Object));
    write_header(at.0, node::RX_CONTEXT, RxContext::SIZE);
    let stack = irp.current();
    let file = FileObject(stack.file().get());
    at.references().set(1);
    at.major().set(stack.major().get());
    at.minor().set(stack.minor().get());
    at.real_device().set(redirector.device.0);
    at.device().set(redirector.device.0);
    at.irp().set(irp.0);
    at.stack().set(stack.0);
    if file.0 != 0 {
        at.fcb().set(file.context().get());
        at.fobx().set(file.context2().get());
    }
    let thread = thread::current().object;
    at.original_thread().set(thread);
    at.last_thread().set(thread);
    at.serial_number()
        .set(SERIAL.fetch_add(1, Ordering::Relaxed));
    at.flags().set(flag::WAIT);
    let request = Arc::new(Request {
        at,
        redirector: Arc::clone(redirector),
        irp,
        stage: Mutex::new(Stage::Own),
        completed: HostEvent::manual(),
        must_post: Mutex::new(false),
        buffer: Mutex::new(None),
    });
    with(|live| live.insert(at.0, Arc::clone(&request)));
    redirector.contexts_changed(1);
    request
}

/// The request of a context that a driver passed to `routine`.
pub(super) fn require(context: usize, routine: &str) -> Arc<Request> {
    with(|live| live.get(&context).cloned()).unwrap_or_else(|| {
        violation(
            Rule::NoContext,
            context,
            format!(
                "{routine}: {context:#x} is not the RX_CONTEXT of a request (completed before?)"
            ),
        )
    })
}

/// The request of an IRP.
pub(super) fn of_irp(irp: Irp) -> Option<Arc<Request>> {
    with(|live| live.values().find(|request| request.irp == irp).cloned())
}

/// The requests of a redirector.
pub(super) fn of_redirector(redirector: &Arc<Redirector>) -> Vec<Arc<Request>> {
    with(|live| {
        live.values()
            .filter(|request| Arc::ptr_eq(&request.redirector, redirector))
            .cloned()
            .collect()
    })
}

impl Request {
    /// The location of the IRP that is RDBSS's.
    pub(super) fn stack(&self) -> Stack {
        Stack(self.at.stack().get())
    }

    /// The file object.
    pub(super) fn file(&self) -> FileObject {
        FileObject(self.stack().file().get())
    }

    /// Whether it is run by a worker that it was posted to.
    pub(super) fn is_posted(&self) -> bool {
        self.at.flags().get() & flag::IN_FSP != 0
    }

    /// The context is no more: nobody may look at it.
    pub(super) fn end(&self) {
        with(|live| live.remove(&self.at.0));
        *self.buffer.lock() = None;
        self.redirector.contexts_changed(-1);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        arena::free(self.at.0);
    }
}
