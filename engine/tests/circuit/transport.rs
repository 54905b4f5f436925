//! A transport, friendly or hostile: it completes what it gets inside the call, later on another thread, or not before
//! an abort, a cancellation, or the close.

use std::sync::{Arc, Mutex, MutexGuard};

use rxce_engine::{
    circuit::Submission,
    life::{Closing, Mode},
};

use crate::{
    chance::{coin, one_of},
    request::{Handle, Purpose},
    vc::Vc,
};

/// `STATUS_CANCELLED`.
pub(crate) const CANCELLED: i32 = 0xC000_0120_u32.cast_signed();
/// `STATUS_CONNECTION_ABORTED`, or whatever a transport says when it gives up.
pub(crate) const FAILED: i32 = 0xC000_0241_u32.cast_signed();

/// When a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ends {
    /// Before the call of the driver returns.
    Inline,
    /// On another thread, after this time.
    Later(u64),
    /// With an abort that comes after it; also if it is cancelled.
    OnAbort,
    /// If it is cancelled.
    OnCancel,
    /// If the endpoint is closed; this ends everything.
    OnClose,
}

/// What the transport gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Connect,
    Release,
    Abort,
    Send,
    Receive,
}

/// What a stubborn transport does not end by itself.
#[derive(Clone, Copy)]
pub(crate) struct Keeps {
    pub(crate) release: bool,
    /// Sends and receives.
    pub(crate) data: bool,
}

impl Keeps {
    const fn has(self, arrival: Arrival) -> bool {
        match arrival {
            Arrival::Release => self.release,
            Arrival::Send | Arrival::Receive => self.data,
            Arrival::Connect | Arrival::Abort => false,
        }
    }
}

/// What a transport does with its requests.
#[derive(Clone, Copy)]
pub(crate) enum Temper {
    /// Everything is completed without help.
    Friendly,
    /// Anything that the rules of TDI leave open, at random.
    Hostile,
    /// As hostile, and some requests end only with an abort, a cancellation or the close.
    Stubborn(Keeps),
    /// As the test says: when, and with which status.
    Scripted(fn(Arrival) -> (Ends, i32)),
}

impl Temper {
    fn answer(self, arrival: Arrival) -> (Ends, i32) {
        let by_itself = [Ends::Inline, Ends::Later(1)];
        let by_force = [Ends::OnAbort, Ends::OnCancel, Ends::OnClose];
        let ends = match self {
            Self::Scripted(answer) => return answer(arrival),
            Self::Friendly => one_of(&by_itself),
            Self::Stubborn(keeps) if keeps.has(arrival) => one_of(&by_force),
            Self::Hostile | Self::Stubborn(_) => {
                let [inline, later] = by_itself;
                let [abort, cancel, close] = by_force;
                one_of(&[inline, later, abort, cancel, close])
            }
        };
        (ends, one_of(&[0, 0, FAILED]))
    }

    /// A choice that no script has made.
    fn whim(self) -> bool {
        !self.is_scripted() && coin()
    }

    const fn is_scripted(self) -> bool {
        matches!(self, Self::Scripted(_))
    }
}

/// What went over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) connects: usize,
    pub(crate) releases: usize,
    pub(crate) aborts: usize,
    pub(crate) closes: usize,
    /// An abort came when no connect had come yet.
    pub(crate) abort_before_connect: bool,
    pending: Vec<(Handle, Ends)>,
}

/// The endpoint.
pub(crate) struct Transport {
    closing: Closing,
    temper: Temper,
    wire: Mutex<Wire>,
}

impl Transport {
    pub(crate) fn new(closing: Closing, temper: Temper) -> Self {
        Self {
            closing,
            temper,
            wire: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().expect("no thread has panicked")
    }

    /// What went over the wire so far.
    pub(crate) fn wire(&self) -> Wire {
        self.lock().clone()
    }

    pub(crate) const fn closing(&self) -> Closing {
        self.closing
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.lock().pending.is_empty()
    }

    /// `IoCallDriver` with a connect or a disconnect.
    pub(crate) fn submit(&self, vc: &Arc<Vc>, request: Handle, submission: Submission) {
        match submission {
            Submission::Connect => {
                self.lock().connects += 1;
                self.take(vc, request, Arrival::Connect);
            }
            Submission::Disconnect(mode) => self.disconnect(vc, request, mode),
        }
    }

    fn disconnect(&self, vc: &Arc<Vc>, request: Handle, mode: Mode) {
        let mut victims = Vec::new();
        let arrival = {
            let mut wire = self.lock();
            match mode {
                Mode::Release => {
                    wire.releases += 1;
                    Arrival::Release
                }
                Mode::Abort => {
                    wire.aborts += 1;
                    wire.abort_before_connect = wire.connects == 0;
                    let doomed = |&mut (_, ends): &mut (Handle, Ends)| ends == Ends::OnAbort;
                    victims = wire.pending.extract_if(.., doomed).collect();
                    Arrival::Abort
                }
            }
        };
        if self.temper.whim() && coin() {
            // Some transports indicate the end of a connection that we end.
            vc.remote_disconnect(one_of(&[0, 2, 4]));
        }
        for (victim, _) in victims {
            self.end(vc, victim, FAILED);
        }
        self.take(vc, request, arrival);
    }

    /// `IoCallDriver` with a send, or a receive that a handler has returned.
    pub(crate) fn take_data(&self, vc: &Arc<Vc>, request: Handle) {
        let arrival = match vc.request(request).purpose {
            Purpose::Receive(_) => Arrival::Receive,
            _ => Arrival::Send,
        };
        self.take(vc, request, arrival);
    }

    fn take(&self, vc: &Arc<Vc>, request: Handle, arrival: Arrival) {
        vc.arrived(request);
        vc.sim().step();
        let (ends, status) = self.temper.answer(arrival);
        // From here to the push nobody else runs: a close or a cancellation finds the request, or came before.
        let cancelled = vc.request(request).flight().cancelled;
        let mut wire = self.lock();
        if wire.closes > 0 {
            assert_eq!(
                arrival,
                Arrival::Receive,
                "a request is submitted to a closed handle"
            );
        }
        if wire.closes > 0 || (cancelled && ends <= Ends::OnCancel) {
            drop(wire);
            self.end(vc, request, CANCELLED);
            return;
        }
        match ends {
            Ends::Inline => {
                drop(wire);
                vc.complete(request, status);
            }
            Ends::Later(delay) => {
                drop(wire);
                let circuit = vc.clone();
                vc.sim()
                    .later(delay, move || circuit.complete(request, status));
            }
            Ends::OnAbort | Ends::OnCancel | Ends::OnClose => {
                wire.pending.push((request, ends));
                drop(wire);
                if arrival == Arrival::Connect && !self.temper.is_scripted() {
                    if coin() {
                        self.limit_connect(vc, request);
                    } else {
                        vc.client_loses_patience();
                    }
                }
            }
        }
    }

    /// This transport gives a peer up that does not answer.
    fn limit_connect(&self, vc: &Arc<Vc>, request: Handle) {
        let circuit = vc.clone();
        vc.sim().as_last_resort(move || {
            let transport = circuit.transport();
            let pending = {
                let mut wire = transport.lock();
                let at = wire.pending.iter().position(|&(r, _)| r == request);
                at.map(|at| wire.pending.swap_remove(at))
            };
            if pending.is_some() {
                circuit.record(|record| record.connect_timed_out = true);
                circuit.complete(request, FAILED);
            }
        });
    }

    /// `IoCancelIrp`.
    pub(crate) fn cancel(&self, vc: &Arc<Vc>, request: Handle) {
        let found = {
            let mut wire = self.lock();
            let at = wire
                .pending
                .iter()
                .position(|&(pending, ends)| pending == request && ends <= Ends::OnCancel);
            at.map(|at| wire.pending.swap_remove(at))
        };
        if let Some((request, _)) = found {
            self.end(vc, request, CANCELLED);
        }
    }

    /// `IRP_MJ_CLEANUP` of the endpoint's handle.
    pub(crate) fn close(&self, vc: &Arc<Vc>) {
        let pending = {
            let mut wire = self.lock();
            wire.closes += 1;
            std::mem::take(&mut wire.pending)
        };
        for (request, _) in pending {
            self.end(vc, request, FAILED);
        }
    }

    /// Ends a request that was kept, here or soon after.
    fn end(&self, vc: &Arc<Vc>, request: Handle, status: i32) {
        if self.temper.whim() {
            let circuit = vc.clone();
            vc.sim().later(1, move || circuit.complete(request, status));
        } else {
            vc.complete(request, status);
        }
    }
}
