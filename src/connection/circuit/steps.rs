//! What the engine's procedures do to the kernel, and what follows the end of their requests.

use core::{ptr, sync::atomic::Ordering};

use rxce_engine::{
    circuit::{self as engine, Prepared, Submission, Waited},
    ledger::{Kind, Ledger},
    life::Mode,
};
use wdk_sys::NTSTATUS;

use super::Circuit;
use crate::{
    connection::request::{Handle, Parts, Purpose, RequestList},
    nt::{handle_thread::HANDLE_THREAD, irql::Pageable, time},
    tdi::request as call,
};

/// What the engine's procedures do to the kernel. Whoever runs them has a reference to the circuit.
impl engine::Circuit for Circuit {
    type Request = Handle;
    type List = RequestList;
    type Level = Pageable;

    fn hold<R>(&self, decide: impl FnOnce(&mut Ledger<RequestList>) -> R) -> R {
        self.ledger.with(|ledger| {
            let before = ledger.life.state();
            let result = decide(ledger);
            let after = ledger.life.state();
            if after != before && self.announced.load(Ordering::Relaxed) {
                self.state().swap(after.code(), Ordering::SeqCst);
            }
            result
        })
    }

    fn signal(&self) {
        self.progress.set();
    }

    fn wait(&self, level: &Pageable, limit_100ns: Option<u64>) -> Waited {
        match limit_100ns {
            Some(limit) => self.progress.wait_at_most(level, limit),
            None => {
                self.progress.wait(level);
                Waited::Signalled
            }
        }
    }

    fn now_100ns(&self) -> u64 {
        time::now_100ns()
    }

    fn new_disconnect(&self) -> Option<Handle> {
        self.submittable(Purpose::Disconnect, complete)
            .ok()
            .flatten()
    }

    fn discard(&self, request: Handle) {
        // SAFETY: The request was never listed.
        unsafe { request.disarm() };
    }

    fn prepared(&self, which: Prepared) -> Option<Handle> {
        // SAFETY: The build has written it, and nobody writes it again.
        let [first, second] = unsafe { &(*self.kept.get()).disconnects };
        let kept = match which {
            Prepared::First => first,
            Prepared::Escalation => second,
        };
        let target = self.target();
        let request = kept
            .as_ref()
            .filter(|request| request.is_idle() && request.fits(&target))?;
        let reference = self.reference()?.erase();
        let parts = Parts::CompletionAndSubmitter;
        // SAFETY: The request is idle, and only the one tear-down or build that drains the circuit arms it.
        Some(unsafe { Handle::arm(request.as_ptr(), reference, target, parts, complete) })
    }

    fn call_driver(&self, request: Handle, submission: Submission) {
        let call = match submission {
            Submission::Connect => {
                call::connect(self.connection().information(), self.returned.get())
            }
            Submission::Disconnect(Mode::Release) => {
                call::disconnect(Mode::Release, request.get().timeout())
            }
            Submission::Disconnect(Mode::Abort) => call::disconnect(Mode::Abort, ptr::null()),
        };
        // SAFETY: The request is listed and not handed over yet; its parameters are parts of request, circuit and
        // connection, which outlive it.
        unsafe { request.prepare(&call, ptr::null_mut()) };
        // SAFETY: The request was prepared, and the caller has the submitter's part.
        unsafe { request.send() };
    }

    fn drop_part(&self, request: Handle) {
        // SAFETY: The procedures drop the submitter's part once.
        unsafe { request.drop_part() };
    }

    fn status(&self, request: Handle) -> NTSTATUS {
        request.get().outcome().0
    }

    fn cancel_all(&self) {
        while let Some(request) = self.ledger.with(|ledger| ledger.list.next_to_cancel()) {
            // SAFETY: The canceller's part keeps the packet.
            unsafe { request.cancel() };
            // SAFETY: The part was taken under the lock.
            unsafe { request.drop_part() };
        }
    }

    fn close_endpoint(&self, level: &Pageable) {
        HANDLE_THREAD.at_passive(level, || self.endpoint.close());
    }
}

/// The end of a connect or a disconnect.
///
/// # Safety
///
/// Called by the completion routine, whose part of the request goes.
pub(super) unsafe fn complete(request: Handle) {
    // SAFETY: The completion's part keeps the circuit until it is dropped.
    let circuit = unsafe { Circuit::of(&request) };
    let kind = request.get().kind();
    engine::change(circuit, |ledger| ledger.remove(&request, kind));
    if let (Kind::Connect, Some(entrant)) = (kind, &circuit.entrant) {
        let (status, _) = request.get().outcome();
        // SAFETY: This circuit's connect ends here, once.
        unsafe { (entrant.connected)(entrant, status) };
    }
    // SAFETY: Forwarded.
    unsafe { request.drop_part() };
}

/// The end of a request that somebody waits for: the waiter reads the result and drops his part.
///
/// # Safety
///
/// Called by the completion routine, whose part of the request goes.
pub(in crate::connection) unsafe fn finish_waited(request: Handle) {
    // SAFETY: The completion's part keeps the circuit until it is dropped.
    let circuit = unsafe { Circuit::of(&request) };
    engine::change(circuit, |ledger| {
        ledger.remove(&request, request.get().kind())
    });
    if let Purpose::Waited(event) = request.get().purpose() {
        event.set();
    }
    // SAFETY: Forwarded.
    unsafe { request.drop_part() };
}
