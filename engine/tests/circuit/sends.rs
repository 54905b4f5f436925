//! Sends and receives against the end of their circuit: races R6, R7 and R15 of the specification's 4.3, vector E3.

use crate::{
    client::Delivery,
    explore::explore,
    scenario::{Act, any_plan, end, race},
    vc::{Memory, Plan, Vc},
};

#[test]
fn sends_against_tear_down() {
    explore("sends against tear down", |tally| {
        let vc = Vc::built(any_plan());
        let sends = [
            Act::Send(Delivery::Callback),
            Act::Send(Delivery::Wait),
            Act::TearDown,
        ];
        race(&vc, &sends);
        vc.record(|record| {
            assert!(record.tear_downs[0].is_ok());
            let refused = record.sends.iter().filter(|send| send.refused).count();
            tally.saw("all refused", refused == 2);
            tally.saw("all accepted", refused == 0);
            tally.saw("escalated", record.drained_with.len() == 2);
            tally.saw("cancel and close", record.cancellations > 0);
        });
        end(&vc);
    });
}

#[test]
fn send_against_initiate() {
    explore("send against initiate", |tally| {
        let plan = Plan {
            memory: Memory::Enough,
            ..any_plan()
        };
        let vc = Vc::built(plan);
        // A send that is kept would keep its submitter; only the final tear-down ends it.
        race(&vc, &[Act::Send(Delivery::Callback), Act::Initiate]);
        vc.record(|record| {
            assert_eq!(record.initiates, [Ok(())]);
            tally.saw("refused", record.sends[0].refused);
            tally.saw("accepted", !record.sends[0].refused);
        });
        race(&vc, &[Act::Send(Delivery::Callback)]);
        vc.record(|record| assert!(record.sends[1].refused, "a send after a disconnect"));
        end(&vc);
    });
}

#[test]
fn receives_against_tear_down() {
    explore("receives against tear down", |tally| {
        let vc = Vc::built(any_plan());
        race(&vc, &[Act::Indicate, Act::TearDown, Act::Indicate]);
        vc.record(|record| {
            assert!(record.tear_downs[0].is_ok());
            tally.saw("accepted", !record.receives.is_empty());
            tally.saw("refused or discarded", record.refused_indications > 0);
        });
        end(&vc);
        // The release of a circuit with a receive alone is not what escalates: only what pends behind it.
        let wire = vc.transport().wire();
        tally.saw(
            "release, then abort",
            wire.releases == 1 && wire.aborts == 1,
        );
    });
}
