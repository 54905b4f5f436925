//! The operations that the engine's procedures run over. Every hold is audited.

use rxce_engine::{
    circuit::{Circuit, Prepared, Submission, Waited},
    ledger::Ledger,
    life::{Closing, Life, Local, Mode, State},
};
use shuttle::thread;

use super::{Passive, Vc};
use crate::request::{Handle, Home, List, Place, Purpose};

impl Circuit for Vc {
    type Request = Handle;
    type List = List;
    type Level = Passive;

    fn hold<R>(&self, decide: impl FnOnce(&mut Ledger<List>) -> R) -> R {
        self.assert_here();
        self.assert_no_lock();
        let mut ledger = self.ledger.lock().expect("no thread has panicked");
        self.assert_here();
        let me = Some(thread::current().id());
        *self.holder.lock().expect("no thread has panicked") = me;
        let before = ledger.life;
        let listed = ledger.list.listed.clone();
        let result = decide(&mut ledger);
        self.audit(before, &listed, &ledger);
        *self.holder.lock().expect("no thread has panicked") = None;
        result
    }

    fn shows(&self, _state: State) -> bool {
        true
    }

    fn signal(&self) {
        let holder = *self.holder.lock().expect("no thread has panicked");
        assert_eq!(
            holder,
            Some(thread::current().id()),
            "progress is signalled outside of a hold"
        );
        self.sim.signal();
    }

    fn wait(&self, _level: &Passive, limit_100ns: Option<u64>) -> Waited {
        self.assert_here();
        self.assert_no_lock();
        let waited = self.sim.wait(limit_100ns);
        if waited == Waited::TimedOut {
            let drained = self.is_nothing_listed();
            self.record(|record| record.drained_in_time |= drained);
        }
        waited
    }

    fn now_100ns(&self) -> u64 {
        self.sim.now()
    }

    fn new_disconnect(&self) -> Option<Handle> {
        self.assert_here();
        self.record(|record| record.disconnect_allocations += 1);
        self.sim.step();
        let request = self.new_request_of_caller(Purpose::Disconnect);
        if request.is_none() {
            let due = matches!(self.life().local_disconnect(), Local::Submit(_));
            self.record(|record| record.without_memory(due));
        }
        request
    }

    fn discard(&self, request: Handle) {
        self.assert_here();
        self.request(request).disarm();
        self.sim.release();
    }

    fn prepared(&self, which: Prepared) -> Option<Handle> {
        self.assert_here();
        let [first, second] = self.prepared;
        let request = match which {
            Prepared::First => first,
            Prepared::Escalation => second,
        };
        let fits = self.record(|record| !record.grown);
        if fits { self.arm(request) } else { None }
    }

    fn call_driver(&self, request: Handle, submission: Submission) {
        self.assert_here();
        self.assert_no_lock();
        self.sim.step();
        let record = self.request(request);
        let expected = match submission {
            Submission::Connect => Purpose::Connect,
            Submission::Disconnect(mode) => {
                let orderly = self.transport.closing() == Closing::Orderly;
                assert!(
                    orderly || mode == Mode::Abort,
                    "a transport gets a release that it does not know"
                );
                Purpose::Disconnect
            }
        };
        assert_eq!(record.purpose, expected);
        self.record(|seen| seen.sent_down(request, record.home, submission));
        let vc = self.this.upgrade().expect("whoever submits has it");
        self.transport.submit(&vc, request, submission);
        self.returned(request);
    }

    fn is_known_called(&self, request: Handle) -> bool {
        self.assert_here();
        let request_ref = self.request(request);
        let over = !request_ref.flight().listed;
        // A "no" may be late.
        self.sim.step();
        over
    }

    fn drop_part(&self, request: Handle) {
        self.assert_here();
        self.sim.step();
        if self.request(request).drop_part() {
            self.sim.release();
        }
    }

    fn status(&self, request: Handle) -> i32 {
        self.assert_here();
        let request = self.request(request);
        let flight = request.flight();
        assert!(
            flight.place == Place::Over && !flight.listed,
            "the status of a request is read before it is over"
        );
        flight.status
    }

    fn cancel_all(&self) {
        self.assert_no_lock();
        self.assert_nobody_submits();
        let drained = self.record(|record| record.drained_in_time);
        assert!(!drained, "a circuit is cancelled that was drained in time");
        let vc = self.this.upgrade().expect("whoever cancels has it");
        while let Some(handle) = self.next_to_cancel() {
            self.transport.cancel(&vc, handle);
            self.drop_part(handle);
        }
        self.record(|record| record.cancellations += 1);
    }

    fn close_endpoint(&self, _level: &Passive) {
        self.assert_here();
        self.assert_no_lock();
        self.assert_nobody_submits();
        assert_eq!(
            self.transport.wire().closes,
            0,
            "the handle is closed twice"
        );
        for &handle in &self
            .ledger
            .lock()
            .expect("no thread has panicked")
            .list
            .listed
        {
            assert!(
                self.request(handle).flight().cancelled,
                "the handle is closed before everything was cancelled"
            );
        }
        self.close();
    }
}

impl Vc {
    fn is_nothing_listed(&self) -> bool {
        let ledger = self.ledger.lock().expect("no thread has panicked");
        ledger.list.listed.is_empty()
    }

    fn next_to_cancel(&self) -> Option<Handle> {
        let ledger = self.ledger.lock().expect("no thread has panicked");
        ledger.list.listed.iter().copied().find(|&handle| {
            let request = self.request(handle);
            let fresh = !std::mem::replace(&mut request.flight().cancelled, true);
            if fresh {
                request.add_part();
            }
            fresh
        })
    }

    fn assert_nobody_submits(&self) {
        for request in &*self.requests.lock().expect("no thread has panicked") {
            assert!(
                request.is_idle() || !request.flight().submitting,
                "a submitter of {:?} is still inside the transport",
                request.purpose
            );
        }
    }

    /// Checks what a hold has done.
    fn audit(&self, before: Life, listed: &[Handle], ledger: &Ledger<List>) {
        let after = ledger.life;
        let rank = |life: Life| match life.state() {
            State::Active => 0,
            State::Disconnected => 1,
            State::TearDown => 2,
        };
        assert!(rank(before) <= rank(after), "the state goes back");
        let flags = |life: Life| {
            [
                life.local_disconnect_submitted(),
                life.abort_submitted(),
                life.remote_disconnect_seen(),
            ]
        };
        for (was, is) in flags(before).into_iter().zip(flags(after)) {
            assert!(!was || is, "a flag is taken back");
        }
        let [local, abort, remote] = [0, 1, 2].map(|n| flags(after)[n] && !flags(before)[n]);
        assert!(
            !local || !before.abort_submitted(),
            "a disconnect is decided after an abort was"
        );

        let now = &ledger.list.listed;
        let mut added = 0;
        for &handle in now.iter().filter(|handle| !listed.contains(handle)) {
            let request = self.request(handle);
            assert!(
                before.state() != State::TearDown || request.home == Home::Circuit,
                "a request of others is listed in a tear-down"
            );
            assert!(
                request.purpose != Purpose::Connect || before.state() == State::Active,
                "a connect is listed for a circuit that was disconnected"
            );
            request.was_listed();
            added += 1;
        }
        for &handle in listed.iter().filter(|handle| !now.contains(handle)) {
            self.request(handle).was_unlisted();
        }
        assert!(
            !(local || abort) || after.state() == State::TearDown || added == 1,
            "a disconnect is decided and not listed in the same hold"
        );
        self.record(|record| {
            if local {
                let aborted = record.is_aborted(self.transport.closing());
                assert!(
                    !aborted || before.is_building(),
                    "a disconnect is decided after the peer's abort"
                );
            }
            record.held(before, after, local, remote);
        });
    }
}
