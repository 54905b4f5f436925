//! A circuit whose connect is pending: races R10 and R14 of the specification's 4.3, and 5.10.

use std::sync::Arc;

use rxce_engine::Error;

use crate::{
    explore::{Tally, explore},
    record::Cause,
    scenario::{Act, any_plan, assert_build, end, race_with_build},
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
    explore("connect against initiate", |tally| {
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
    explore("connect against two initiates and the peer", |tally| {
        let acts = [Act::Initiate, Act::Initiate, Act::Remote];
        let (plan, vc) = build_against(&acts, Memory::Scarce);
        assert_build(&plan, &vc);
        tally_build(tally, &vc);
        end(&vc);
    });
}

#[test]
fn connect_against_remote_disconnect() {
    explore("connect against remote disconnect", |tally| {
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
    explore("connect against tear down", |tally| {
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
