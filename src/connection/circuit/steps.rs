//! What the engine's procedures do to the kernel, and what follows the end of their requests.

use core::{ptr, sync::atomic::Ordering};

use rxce_engine::{
    circuit::{self as engine, Prepared, RELEASE_TIMEOUT_100NS, Submission, Waited},
    ledger::{Kind, Ledger},
    life::{Mode, State},
    mutant,
};
use wdk_sys::NTSTATUS;

use super::Circuit;
use crate::{
    connection::{
        registry::AnyRef,
        request::{Ending, Handle, Holders, Home, Purpose, Request, RequestList},
    },
    nt::{event, handle_thread::HANDLE_THREAD, irql::Pageable, time},
    tdi::request as call,
    trace,
};

/// What the stack location of a RELEASE points to.
static RELEASE_TIMEOUT: i64 = event::relative(RELEASE_TIMEOUT_100NS);

/// The time-out of the defect `TimeoutSign`.
static WRONG_TIMEOUT: i64 = RELEASE_TIMEOUT_100NS.cast_signed();

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

    fn shows(&self, state: State) -> bool {
        self.state().load(Ordering::Relaxed) == state.code()
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
        let target = self.target();
        let stack_size = target.device.stack_size();
        let request = Request::allocate(self.block(), Purpose::Disconnect, stack_size).ok()?;
        // SAFETY: The caller of the initiate gives his reference up to the request.
        let reference = unsafe { AnyRef::from_raw(self.block()) };
        Some(Self::arm(reference, request, &target))
    }

    fn discard(&self, request: Handle) {
        // SAFETY: The request was never listed.
        unsafe { request.disarm() };
    }

    fn prepared(&self, which: Prepared) -> Option<Handle> {
        let disconnects = self.disconnects.get()?;
        let target = self.target();
        let reference = self.reference()?;
        // SAFETY: The build has written it, and only the one tear-down or build that drains the circuit takes packets out.
        let irp = unsafe { &mut (*self.kept.get()).disconnects }.take(which, &target)?;
        let request = Request::new(self.block(), Purpose::Disconnect, irp, Home::Keeper);
        // SAFETY: Whoever drains the circuit has lent it, until the run-down.
        let disconnects = unsafe { disconnects.as_ref() };
        // SAFETY: The caller drains the circuit, and asks for each once.
        let request = unsafe { disconnects.put(which, request) };
        let holders = Holders::CompletionAndSubmitter;
        // SAFETY: The request is new and fits the target.
        Some(unsafe { Handle::arm(request, reference.erase(), &target, holders) })
    }

    fn call_driver(&self, request: Handle, submission: Submission) {
        match submission {
            Submission::Connect => {
                trace::connect_sent(self.vc().addr(), self.connection().public().address());
            }
            Submission::Disconnect(mode) => {
                self.count(|totals| &totals.local_disconnects);
                trace::disconnect_sent(self.vc().addr(), (mode == Mode::Abort).into());
            }
        }
        let call = match submission {
            Submission::Connect => {
                let returned = match request.get().purpose() {
                    // SAFETY: The place lies behind the request, which is in flight next.
                    Purpose::Connect(returned) => unsafe { returned.as_ref() }.get(),
                    _ => ptr::null_mut(),
                };
                call::connect(self.connection().information(), returned)
            }
            Submission::Disconnect(Mode::Release) if mutant!(TimeoutSign) => {
                call::disconnect(Mode::Release, &raw const WRONG_TIMEOUT)
            }
            Submission::Disconnect(Mode::Release) => {
                call::disconnect(Mode::Release, &raw const RELEASE_TIMEOUT)
            }
            Submission::Disconnect(Mode::Abort) => call::disconnect(Mode::Abort, ptr::null()),
        };
        // SAFETY: The request is listed and not handed over yet; its parameters are parts of request, circuit and
        // connection, which outlive it.
        unsafe { request.prepare::<Ended>(&call, ptr::null_mut()) };
        // SAFETY: The request was prepared, and the caller has the submitter's part.
        unsafe { request.send() };
    }

    fn is_known_called(&self, request: Handle) -> bool {
        request.get().is_known_called()
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
enum Ended {}

impl Ending for Ended {
    unsafe fn run(request: Handle) {
        // SAFETY: The completion's part keeps the circuit until it is dropped.
        let circuit = unsafe { Circuit::of(&request) };
        let kind = request.get().kind();
        let (status, _) = request.get().outcome();
        if kind == Kind::Connect {
            trace::connect_ended(circuit.vc().addr(), status);
            circuit.count(|totals| {
                if wdk::nt_success(status) || mutant!(FailureIsConnect) {
                    &totals.connects
                } else {
                    &totals.connect_failures
                }
            });
        } else {
            trace::disconnect_ended(circuit.vc().addr(), status);
        }
        engine::change(circuit, |ledger| ledger.remove(&request, kind));
        if let (Kind::Connect, Some(competing)) = (kind, &circuit.competing) {
            let entrant = &competing.entrant;
            // SAFETY: This circuit's connect ends here, once.
            unsafe { (entrant.connected)(entrant, status) };
        }
        // SAFETY: Forwarded.
        unsafe { request.drop_part() };
    }
}

/// The end of a request that somebody waits for: the waiter reads the result and drops his part.
pub(in crate::connection) enum WaitedFor {}

impl Ending for WaitedFor {
    unsafe fn run(request: Handle) {
        // SAFETY: The completion's part keeps the circuit until it is dropped.
        let circuit = unsafe { Circuit::of(&request) };
        engine::change(circuit, |ledger| {
            ledger.remove(&request, request.get().kind())
        });
        if let Purpose::Waited(event) = request.get().purpose() {
            // SAFETY: The waiter's stack keeps the event until it is set.
            unsafe { event.as_ref() }.set();
        }
        // SAFETY: Forwarded.
        unsafe { request.drop_part() };
    }
}
