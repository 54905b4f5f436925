//! What happens when: scripted transports under a patient clock, which lets time pass only while nobody runs
//! (specification 5.13 and the I, T and B vectors of section 9).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rxce_engine::{
    Error,
    life::{Closing, State},
};

use crate::{
    client::Delivery,
    explore::explore_briefly,
    record::Remote,
    scenario::{Act, end, race_with_build},
    sim::{Clock, Job, SECOND},
    transport::{Arrival, Ends, FAILED, Temper},
    vc::{Memory, Plan, Vc},
};

type Script = fn(Arrival) -> (Ends, i32);

const fn plan(script: Script) -> Plan {
    Plan {
        clock: Clock::Patient,
        closing: Closing::Orderly,
        temper: Temper::Scripted(script),
        memory: Memory::Enough,
    }
}

/// Does one thing after the other and says when the last one returned.
fn in_order(vc: &Arc<Vc>, acts: &[Act]) -> u64 {
    let returned = Arc::new(AtomicU64::new(u64::MAX));
    let jobs: Vec<Job> = acts.iter().map(|act| act.on(vc)).collect();
    let (told, circuit) = (returned.clone(), vc.clone());
    let job: Job = Box::new(move || {
        for job in jobs {
            job();
        }
        told.store(circuit.sim().now(), Ordering::Relaxed);
    });
    vc.sim().spawn_all([job]);
    vc.sim().settle();
    returned.load(Ordering::Relaxed)
}

/// A tear-down: what comes before it, and what has to come of it.
struct TearDown {
    closing: Closing,
    before: &'static [Act],
    script: Script,
    seconds: u64,
    releases: usize,
    aborts: usize,
    closed_early: bool,
    result: Result<(), Error>,
}

impl TearDown {
    /// An orderly one, at once.
    const fn of(script: Script) -> Self {
        Self {
            closing: Closing::Orderly,
            before: &[],
            script,
            seconds: 0,
            releases: 1,
            aborts: 0,
            closed_early: false,
            result: Ok(()),
        }
    }

    fn check(self) {
        explore_briefly(move || {
            let vc = Vc::built(Plan {
                closing: self.closing,
                ..plan(self.script)
            });
            let mut acts = self.before.to_vec();
            acts.push(Act::TearDown);
            let returned = in_order(&vc, &acts);
            let wire = vc.transport().wire();
            assert_eq!(returned, self.seconds * SECOND, "time of the return");
            assert_eq!(
                (wire.releases, wire.aborts),
                (self.releases, self.aborts),
                "RELEASEs and ABORTs"
            );
            vc.record(|record| {
                assert_eq!(record.tear_downs, [Ok(self.result)]);
                assert_eq!(record.cancellations > 0, self.closed_early);
            });
            end(&vc);
        });
    }
}

#[test]
fn t1_orderly_at_once() {
    TearDown::of(|_| (Ends::Inline, 0)).check();
}

#[test]
fn t2_a_pending_release_is_waited_for_and_not_repeated() {
    TearDown {
        before: &[Act::Initiate],
        seconds: 1,
        ..TearDown::of(|_| (Ends::Later(SECOND), 0))
    }
    .check();
}

#[test]
fn t3_a_release_that_never_ends_is_followed_by_an_abort() {
    TearDown {
        before: &[Act::Initiate],
        seconds: 10,
        aborts: 1,
        ..TearDown::of(|arrival| match arrival {
            Arrival::Release => (Ends::OnAbort, 0),
            _ => (Ends::Inline, 0),
        })
    }
    .check();
}

#[test]
fn t4_a_failing_disconnect_is_reported() {
    TearDown {
        result: Err(Error::Transport(FAILED)),
        ..TearDown::of(|_| (Ends::Inline, FAILED))
    }
    .check();
}

#[test]
fn the_status_is_that_of_the_last_disconnect() {
    TearDown {
        before: &[Act::Indicate],
        aborts: 1,
        result: Err(Error::Transport(FAILED)),
        ..TearDown::of(|arrival| match arrival {
            Arrival::Abort => (Ends::Inline, FAILED),
            Arrival::Receive => (Ends::OnAbort, 0),
            _ => (Ends::Inline, 0),
        })
    }
    .check();
}

#[test]
fn t9_a_receive_that_outlives_the_release_is_aborted_at_once() {
    TearDown {
        before: &[Act::Indicate],
        aborts: 1,
        ..TearDown::of(|arrival| match arrival {
            Arrival::Receive => (Ends::OnAbort, 0),
            _ => (Ends::Inline, 0),
        })
    }
    .check();
}

#[test]
fn t10_a_send_that_ends_on_cancel() {
    TearDown {
        before: &[Act::Send(Delivery::Callback)],
        seconds: 40,
        aborts: 1,
        closed_early: true,
        ..TearDown::of(|arrival| match arrival {
            Arrival::Send => (Ends::OnCancel, 0),
            _ => (Ends::Inline, 0),
        })
    }
    .check();
}

#[test]
fn t13_everything_ends_with_the_close() {
    let patient = TearDown {
        before: &[Act::Send(Delivery::Callback), Act::Indicate],
        seconds: 40,
        aborts: 1,
        closed_early: true,
        result: Err(Error::Transport(FAILED)),
        ..TearDown::of(|_| (Ends::OnClose, 0))
    };
    patient.check();
}

#[test]
fn t14_a_send_that_takes_its_time_is_not_aborted() {
    TearDown {
        before: &[Act::Send(Delivery::Callback)],
        seconds: 9,
        ..TearDown::of(|arrival| match arrival {
            Arrival::Send => (Ends::Later(9 * SECOND), 0),
            _ => (Ends::Inline, 0),
        })
    }
    .check();
}

#[test]
fn an_abort_skips_the_orderly_stage() {
    TearDown {
        closing: Closing::AbortOnly,
        before: &[Act::Send(Delivery::Callback)],
        seconds: 30,
        releases: 0,
        aborts: 1,
        closed_early: true,
        ..TearDown::of(|arrival| match arrival {
            Arrival::Send => (Ends::OnClose, 0),
            _ => (Ends::Inline, 0),
        })
    }
    .check();
}

#[test]
fn a_peer_that_aborted_gets_no_disconnect_and_its_status_does_not_count() {
    TearDown {
        before: &[Act::Event(Remote::Disconnect(2)), Act::Initiate],
        releases: 0,
        ..TearDown::of(|_| (Ends::Inline, FAILED))
    }
    .check();
    TearDown {
        before: &[
            Act::Send(Delivery::Callback),
            Act::Event(Remote::AddressError),
        ],
        seconds: 10,
        releases: 0,
        aborts: 1,
        ..TearDown::of(|arrival| match arrival {
            Arrival::Send => (Ends::OnAbort, 0),
            _ => (Ends::Inline, FAILED),
        })
    }
    .check();
}

#[test]
fn a_peer_that_released_gets_its_acknowledgement() {
    TearDown {
        before: &[Act::Event(Remote::Disconnect(4))],
        ..TearDown::of(|_| (Ends::Inline, FAILED))
    }
    .check();
}

#[test]
fn i6_i7_initiate_is_all_or_nothing() {
    explore_briefly(|| {
        let vc = Vc::built(plan(|_| (Ends::Later(SECOND), 0)));
        vc.set_memory(Memory::None);
        in_order(&vc, &[Act::Initiate]);
        assert_eq!(vc.life().state(), State::Active);
        assert!(!vc.life().local_disconnect_submitted());
        vc.set_memory(Memory::Enough);
        let returned = in_order(&vc, &[Act::Send(Delivery::Callback), Act::Initiate]);
        assert_eq!(returned, 0, "it waits for nobody");
        vc.set_memory(Memory::None);
        in_order(&vc, &[Act::Initiate]);
        vc.record(|record| {
            let refused = Err(Error::InsufficientResources);
            assert_eq!(record.initiates, [refused, Ok(()), Ok(())]);
            assert_eq!(record.disconnect_allocations, 2);
            assert!(!record.sends[0].refused);
        });
        assert_eq!(vc.transport().wire().closes, 0);
        end(&vc);
    });
}

#[test]
fn t5_a_tear_down_needs_no_memory() {
    explore_briefly(|| {
        let vc = Vc::built(plan(|arrival| match arrival {
            Arrival::Release => (Ends::OnAbort, 0),
            _ => (Ends::Inline, 0),
        }));
        vc.set_memory(Memory::None);
        assert_eq!(in_order(&vc, &[Act::TearDown]), 10 * SECOND);
        vc.record(|record| assert_eq!(record.tear_downs, [Ok(Ok(()))]));
        end(&vc);
    });
}

/// A build: when an initiate comes, and what has to come of it.
struct Build {
    script: Script,
    remote_after: Option<(u64, Remote)>,
    initiate_after: Option<u64>,
    seconds: u64,
    aborts: usize,
    result: Result<(), Error>,
}

impl Build {
    fn check(self) {
        explore_briefly(move || {
            let (vc, own, connect) = Vc::published(plan(self.script));
            if let Some((seconds, event)) = self.remote_after {
                vc.sim().later(seconds * SECOND, Act::Event(event).on(&vc));
            }
            if let Some(seconds) = self.initiate_after {
                vc.sim().later(seconds * SECOND, Act::Initiate.on(&vc));
            }
            race_with_build(&vc, own, connect, &[]);
            assert_eq!(vc.sim().now(), self.seconds * SECOND);
            assert_eq!(vc.transport().wire().aborts, self.aborts);
            vc.record(|record| assert_eq!(record.build, Some(self.result)));
            end(&vc);
        });
    }
}

#[test]
fn a_slow_connect_is_waited_for() {
    Build {
        script: |_| (Ends::Later(100 * SECOND), 0),
        remote_after: None,
        initiate_after: None,
        seconds: 100,
        aborts: 0,
        result: Ok(()),
    }
    .check();
}

#[test]
fn b5_the_connect_fails_by_itself() {
    Build {
        script: |_| (Ends::Later(SECOND), FAILED),
        remote_after: None,
        initiate_after: None,
        seconds: 1,
        aborts: 0,
        result: Err(Error::Transport(FAILED)),
    }
    .check();
}

#[test]
fn b5_an_initiate_aborts_a_pending_connect() {
    Build {
        script: |arrival| match arrival {
            Arrival::Connect => (Ends::OnAbort, 0),
            _ => (Ends::Inline, 0),
        },
        remote_after: None,
        initiate_after: Some(5),
        seconds: 5,
        aborts: 1,
        result: Err(Error::Transport(FAILED)),
    }
    .check();
}

#[test]
fn b5_a_connect_that_no_abort_ends_is_closed() {
    Build {
        script: |arrival| match arrival {
            Arrival::Connect => (Ends::OnClose, 0),
            _ => (Ends::Inline, 0),
        },
        remote_after: None,
        initiate_after: Some(5),
        seconds: 35,
        aborts: 1,
        result: Err(Error::Transport(FAILED)),
    }
    .check();
}

#[test]
fn b5_the_connect_succeeds_nevertheless() {
    Build {
        script: |arrival| match arrival {
            Arrival::Connect => (Ends::Later(6 * SECOND), 0),
            _ => (Ends::Inline, 0),
        },
        remote_after: None,
        initiate_after: Some(5),
        seconds: 6,
        aborts: 1,
        result: Err(Error::Aborted),
    }
    .check();
}

#[test]
fn b5_a_connect_that_the_peer_has_ended_and_the_transport_keeps_is_aborted() {
    for event in [
        Remote::Disconnect(2),
        Remote::Disconnect(4),
        Remote::AddressError,
    ] {
        let build = |script, seconds| Build {
            script,
            remote_after: Some((1, event)),
            initiate_after: Some(5),
            seconds,
            aborts: 1,
            result: Err(Error::Transport(FAILED)),
        };
        let by_the_abort: Script = |arrival| match arrival {
            Arrival::Connect => (Ends::OnAbort, 0),
            _ => (Ends::Inline, 0),
        };
        let by_the_close: Script = |arrival| match arrival {
            Arrival::Connect => (Ends::OnClose, 0),
            _ => (Ends::Inline, FAILED),
        };
        build(by_the_abort, 5).check();
        build(by_the_close, 35).check();
    }
}
