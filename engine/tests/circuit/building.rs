//! A circuit whose connect is pending: races R10 and R14 of the specification's 4.3, and 5.10.

use std::sync::Arc;

use rxce_engine::{
    Error,
    life::{Closing, Mode},
};

use crate::{
    explore::{Tally, explore},
    record::Cause,
    scenario::{Act, any_plan, end, race_with_build},
    vc::{Memory, Plan, Vc},
};

fn build_against(acts: &[Act], memory: Memory) -> (Plan, Arc<Vc>) {
    let plan = Plan {
        memory,
        ..any_plan()
    };
    let (vc, own, connect) = Vc::published(plan);
    race_with_build(&vc, own, connect, acts);
    (plan, vc)
}

/// What is true of every build, whatever came between.
fn assert_build(plan: &Plan, vc: &Vc) {
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

fn tally_build(tally: &Tally, vc: &Vc) {
    let wire = vc.transport().wire();
    let status = vc.connect_status();
    vc.record(|record| {
        tally.saw("success", record.build == Some(Ok(())));
        tally.saw("disconnected before the connect", wire.connects == 0);
        let failed = record.build.is_some_and(|result| result.is_err());
        tally.saw("the connect fails", status.is_some_and(|status| status < 0));
        tally.saw(
            "unwound with cancel and close",
            failed && record.cancellations > 0,
        );
    });
}

#[test]
fn connect_against_initiate() {
    explore(|tally| {
        let (plan, vc) = build_against(&[Act::Initiate], Memory::Enough);
        assert_build(&plan, &vc);
        tally_build(tally, &vc);
        let status = vc.connect_status();
        vc.record(|record| {
            let failed = record.build != Some(Ok(()));
            if record.initiates[0].is_ok() && record.remotes.is_empty() {
                assert_eq!(record.initiated.len(), 1);
            }
            let overtaken = status == Some(0) && failed;
            tally.saw("the connect succeeds nevertheless", overtaken);
            let wire = vc.transport().wire();
            let overtakes = wire.abort_before_connect && wire.connects == 1;
            tally.saw("the abort overtakes the connect", overtakes);
            let kept = overtakes && failed && record.cancellations > 0;
            tally.saw("an overtaken connect is cancelled", kept);
            let refused = record.initiates[0] == Err(Error::InvalidParameter);
            tally.saw("the build had failed before", refused && failed);
        });
        end(&vc);
    });
}

#[test]
fn connect_against_two_initiates_and_the_peer() {
    explore(|tally| {
        let acts = [Act::Initiate, Act::Initiate, Act::Remote];
        let (plan, vc) = build_against(&acts, Memory::Scarce);
        assert_build(&plan, &vc);
        tally_build(tally, &vc);
        end(&vc);
    });
}

#[test]
fn connect_against_remote_disconnect() {
    explore(|tally| {
        let (plan, vc) = build_against(&[Act::Remote, Act::Remote, Act::Indicate], Memory::Enough);
        assert_build(&plan, &vc);
        tally_build(tally, &vc);
        vc.record(|record| {
            let alive = record.build == Some(Ok(()));
            let remote = record.cause == Some(Cause::Remote);
            assert_eq!(record.notices, usize::from(alive && remote));
            tally.saw("built and disconnected", alive && remote);
            tally.saw("the connect times out", record.connect_timed_out);
            let rescued = record.client_lost_patience && remote;
            tally.saw("kept for ever, and aborted by the client", rescued);
            let closed = rescued && record.cancellations > 0;
            tally.saw("kept despite the abort, and closed", closed);
        });
        end(&vc);
    });
}

#[test]
fn connect_against_tear_down() {
    explore(|tally| {
        let acts = [Act::TearDown, Act::Initiate, Act::Indicate];
        let (plan, vc) = build_against(&acts, Memory::Enough);
        assert_build(&plan, &vc);
        vc.record(|record| {
            let torn_down = record.tear_downs[0].is_ok();
            tally.saw("torn down", torn_down);
            let refused = !torn_down && record.build == Some(Ok(()));
            tally.saw("refused while building", refused);
            tally.saw("the build fails", record.build != Some(Ok(())));
        });
        end(&vc);
    });
}
