//! A build that is cancelled: against everything that may end it meanwhile.

use rxce_engine::{Error, life::CancelBuild};

use crate::{
    chance::one_of,
    explore::{Tally, explore},
    scenario::{Act, any_plan, end, race_with_build},
    vc::{Memory, Plan, Vc},
};

/// Runs a build against cancellations and `others`, and checks that all of them agree on how it ended.
fn cancelled_against(tally: &Tally, others: &[Act]) {
    let plan = Plan {
        memory: Memory::Scarce,
        ..any_plan()
    };
    let (vc, own, connect) = Vc::published(plan);
    let acts: Vec<Act> = [Act::Cancel, Act::Cancel]
        .into_iter()
        .chain(others.iter().copied())
        .collect();
    race_with_build(&vc, own, connect, &acts);
    let wire = vc.transport().wire();
    let status = vc.connect_status();
    vc.record(|record| {
        let build = record.build.expect("the build has returned");
        let answered = |answer| record.cancels.contains(&answer);
        let cancelled = answered(CancelBuild::Cancelled);
        assert_eq!(
            build == Err(Error::Cancelled),
            cancelled,
            "the build and the cancellations disagree: {record:?}"
        );
        assert!(
            !answered(CancelBuild::Built) || build.is_ok(),
            "too late, and not built: {record:?}"
        );
        assert!(
            !answered(CancelBuild::Refuse) || build != Err(Error::Cancelled),
            "one is told that the build is cancelled, the other that there is none: {record:?}"
        );
        tally.saw("cancelled", cancelled);
        tally.saw("built before", answered(CancelBuild::Built));
        tally.saw("failed before", answered(CancelBuild::Refuse));
        tally.saw(
            "cancelled before the connect",
            cancelled && wire.connects == 0,
        );
        let nevertheless = cancelled && status == Some(0);
        tally.saw("cancelled, and the connect succeeds", nevertheless);
        let closed = cancelled && record.cancellations > 1;
        tally.saw("the transport keeps the connect until the close", closed);
    });
    end(&vc);
}

#[test]
fn cancel_against_the_connect() {
    explore("connect against cancel", |tally| {
        cancelled_against(tally, &[])
    });
}

#[test]
fn cancel_against_everybody_else() {
    explore("connect against cancel and another", |tally| {
        let other = one_of(&[Act::Initiate, Act::Remote, Act::TearDown]);
        cancelled_against(tally, &[other, Act::Indicate]);
    });
}
