//! Scenarios: what several threads do to one circuit at once, and what must be true of it afterwards.

use std::sync::Arc;

use rxce_engine::{
    Error,
    life::{Closing, Mode},
};

use crate::{
    chance::one_of,
    client::Delivery,
    record::{Cause, Record, Remote},
    request::Handle,
    sim::{Clock, Job},
    transport::Temper,
    vc::{Memory, Plan, Ref, Vc},
};

/// What one thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Initiate,
    /// Of the build.
    Cancel,
    TearDown,
    /// Any of the events that end a circuit from outside.
    Remote,
    /// Any disconnect by the peer.
    Peer,
    Event(Remote),
    Send(Delivery),
    Indicate,
}

/// Disconnects by the peer.
const PEERS: [Remote; 4] = [
    Remote::Disconnect(0),
    Remote::Disconnect(2),
    Remote::Disconnect(4),
    Remote::Disconnect(6),
];

/// The events that end a circuit from outside.
const REMOTES: [Remote; 5] = [
    Remote::Disconnect(0),
    Remote::Disconnect(2),
    Remote::Disconnect(4),
    Remote::Disconnect(6),
    Remote::AddressError,
];

impl Act {
    fn perform(self, vc: &Arc<Vc>) {
        match self {
            Self::Initiate => {
                let _ = vc.initiate();
            }
            Self::Cancel => vc.cancel(),
            Self::TearDown => {
                let _ = vc.tear_down();
            }
            Self::Remote => vc.remote(one_of(&REMOTES)),
            Self::Peer => vc.remote(one_of(&PEERS)),
            Self::Event(event) => vc.remote(event),
            Self::Send(delivery) => {
                let _ = vc.send(delivery);
            }
            Self::Indicate => vc.indicate(),
        }
    }

    pub(crate) fn on(self, vc: &Arc<Vc>) -> Job {
        in_moments(self.label(), vc, move |vc| self.perform(vc))
    }

    /// What it is called in the counts of an exploration.
    const fn label(self) -> &'static str {
        match self {
            Self::Initiate => "initiate",
            Self::Cancel => "cancel",
            Self::TearDown => "tear-down",
            Self::Remote => "remote",
            Self::Peer => "peer",
            Self::Event(Remote::Disconnect(_)) => "disconnect",
            Self::Event(Remote::AddressError) => "address error",
            Self::Send(_) => "send",
            Self::Indicate => "receive",
        }
    }
}

/// An act whose beginning and end are noted.
fn in_moments(
    label: &'static str,
    vc: &Arc<Vc>,
    act: impl FnOnce(&Arc<Vc>) + Send + 'static,
) -> Job {
    let vc = vc.clone();
    Box::new(move || {
        vc.record(|record| record.moments.begin(label));
        act(&vc);
        vc.record(|record| record.moments.end());
    })
}

/// A random plan: any provider, any temper, time-outs at any moment.
pub(crate) fn any_plan() -> Plan {
    Plan {
        clock: Clock::Hasty,
        closing: one_of(&[Closing::Orderly, Closing::Orderly, Closing::AbortOnly]),
        temper: one_of(&[Temper::Friendly, Temper::Hostile]),
        memory: one_of(&[Memory::Enough, Memory::Scarce]),
    }
}

/// Runs each act on a thread of its own, until all are over and nothing is left to happen.
pub(crate) fn race(vc: &Arc<Vc>, acts: &[Act]) {
    vc.sim().spawn_all(acts.iter().map(|act| act.on(vc)));
    vc.sim().settle();
}

/// As [`race`], on a circuit whose build goes on with its connect.
pub(crate) fn race_with_build(vc: &Arc<Vc>, own: Ref, connect: Handle, acts: &[Act]) {
    let build = in_moments("build", vc, move |vc| vc.connect(own, connect));
    let acts = acts.iter().map(|act| act.on(vc));
    vc.sim().spawn_all(std::iter::once(build).chain(acts));
    vc.sim().settle();
}

/// What is true of every build, whatever came between.
pub(crate) fn assert_build(plan: &Plan, vc: &Vc) {
    let connects = vc.transport().wire().connects;
    let status = vc.connect_status();
    vc.record(|record| {
        let build = record.build.expect("the build has returned");
        let local = !record.initiated.is_empty();
        match build {
            Ok(()) => {
                assert!(status == Some(0), "SUCCESS without a connection");
                if local && plan.closing == Closing::Orderly {
                    // A RELEASE: the build was over when it was decided.
                    assert_eq!(record.initiated, [Mode::Release]);
                }
            }
            Err(error) => {
                let expected = match status {
                    Some(status) if status < 0 => Error::Transport(status),
                    _ => Error::Aborted,
                };
                assert_eq!(error, expected);
                assert!(
                    status != Some(0) || local,
                    "a connect that succeeded is thrown away"
                );
                assert!(record.initiated.iter().all(|&mode| mode == Mode::Abort));
            }
        }
        assert!(
            !(local && record.connect_timed_out),
            "an abort does not end the build"
        );
        assert!(
            !record.client_lost_patience || build.is_err(),
            "nothing but the abort could end the build"
        );
        if connects == 0 {
            assert!(
                matches!(record.cause, Some(Cause::Local | Cause::Remote)),
                "no connect is sent"
            );
        }
    });
}

/// Tears the circuit down if nobody has, and checks what is true of every circuit in the end.
pub(crate) fn end(vc: &Arc<Vc>) {
    vc.sim().spawn_all([Act::TearDown.on(vc)]);
    vc.sim().settle();
    vc.sim().spawn_all([Act::Initiate.on(vc)]);
    vc.sim().settle();
    vc.sim().stop();
    vc.assert_nothing_left();
    assert_owners(vc);
    assert_disconnects(vc);
    assert_notices(vc);
    assert_data(vc);
}

/// Exactly one thread has taken the circuit apart, and everybody else was refused.
fn assert_owners(vc: &Vc) {
    vc.record(|record| {
        let torn_down = record.tear_downs.iter().filter(|result| result.is_ok());
        let failed = record.build.is_some_and(|result| result.is_err());
        assert_eq!(torn_down.count() + usize::from(failed), 1, "owners");
        for error in record.tear_downs.iter().filter_map(|result| result.err()) {
            assert_eq!(error, Error::InvalidParameter);
        }
        let last = record.initiates.last();
        assert_eq!(
            last,
            Some(&Err(Error::InvalidParameter)),
            "it is gone by then"
        );
    });
}

/// At most one RELEASE and one ABORT, and the one that tables 4.1 and 5.13 demand.
fn assert_disconnects(vc: &Vc) {
    let wire = vc.transport().wire();
    let closing = vc.transport().closing();
    assert!(wire.releases <= 1, "{} RELEASEs", wire.releases);
    assert!(wire.aborts <= 1, "{} ABORTs", wire.aborts);
    vc.record(|record| {
        assert!(
            record.initiated.len() <= 1,
            "disconnects of initiates: {:?}",
            record.initiated
        );
        if record.build.is_some_and(|result| result.is_err()) {
            assert_eq!(wire.releases, 0, "a build unwinds without a RELEASE");
            return;
        }
        if record.grown {
            return;
        }
        let decided = usize::from(record.disconnect_decided);
        match closing {
            Closing::Orderly => assert_eq!(wire.releases, decided, "RELEASEs: {record:?}"),
            Closing::AbortOnly => assert!(wire.aborts >= decided, "no ABORT: {record:?}"),
        }
        assert!(
            record.disconnect_decided || record.is_aborted(closing),
            "nobody disconnects: {record:?}"
        );
        if record.cause == Some(Cause::Local) {
            let mode = match closing {
                Closing::Orderly => Mode::Release,
                Closing::AbortOnly => Mode::Abort,
            };
            assert_eq!(record.initiated, [mode]);
        }
    });
}

/// A winner that is torn down before its client was told owes nothing.
const fn torn_down_first(record: &Record) -> bool {
    !record.debt_is_settled
}

/// The client hears once of an end that came from outside, and of no other.
fn assert_notices(vc: &Vc) {
    vc.record(|record| {
        let built = record.build.is_none_or(|result| result.is_ok());
        let expected = usize::from(built && record.cause == Some(Cause::Remote));
        if record.competes && record.notices == 0 && torn_down_first(record) {
            return;
        }
        assert_eq!(record.notices, expected, "notices: {record:?}");
    });
}

/// Each send and each receive that was accepted was over exactly once.
fn assert_data(vc: &Vc) {
    vc.record(|record| {
        for send in &record.sends {
            let accepted = usize::from(!send.refused);
            assert_eq!(send.completed, accepted, "SendComplete");
            let submitted = if send.gate.is_none() { accepted } else { 0 };
            assert_eq!(send.submitted, submitted, "SendSubmitted");
        }
        for &ready in &record.receives {
            assert_eq!(ready, 1, "DataReady");
        }
    });
}
