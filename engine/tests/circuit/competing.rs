//! A circuit that competes with others for one structure of the client's (specification 5.8): nobody waits for its
//! connect, and the client hears nothing of it before it has won.

use crate::{
    explore::explore,
    record::Cause,
    scenario::{Act, any_plan, end},
    sim::Job,
    vc::{Memory, Plan, Vc},
};

#[test]
fn a_winner_owes_what_was_held_back() {
    explore("a winner owes what was held back", |tally| {
        let (vc, own, connect) = Vc::competing(Plan {
            memory: Memory::Enough,
            ..any_plan()
        });
        vc.record(|record| record.competes = true);
        let builder = vc.clone();
        let build: Job = Box::new(move || builder.connect_in_background(connect));
        let others = [Act::Remote, Act::Indicate].map(|act| act.on(&vc));
        vc.sim().spawn_all([build].into_iter().chain(others));
        vc.sim().settle();
        let refused = vc.record(|record| {
            assert_eq!(record.notices, 0, "the client hears of a competitor");
            assert!(record.receives.is_empty(), "the client gets its data");
            record.refused_indications > 0
        });

        let connected = vc.connect_status() == Some(0);
        tally.saw("won", connected);
        tally.saw("lost", !connected);
        let winner = vc.clone();
        if !connected {
            vc.sim()
                .spawn_all([Box::new(move || winner.give_up(own)) as Job]);
            vc.sim().settle();
            vc.sim().stop();
            vc.assert_nothing_left();
            let wire = vc.transport().wire();
            assert_eq!(wire.releases + wire.aborts, 0, "a loser is only closed");
            assert_eq!(vc.record(|record| record.notices), 0);
            return;
        }

        // The client may tear the winner down as soon as it can name it.
        let announce: Job = Box::new(move || winner.announce(own));
        let client = Act::TearDown.on(&vc);
        vc.sim().spawn_all([announce, client]);
        vc.sim().settle();
        vc.record(|record| {
            let settled = record.debt_is_settled;
            let torn_down = record.tear_downs[0].is_ok();
            assert!(settled || torn_down, "the client is never told");
            let remote = record.cause == Some(Cause::Remote);
            if !torn_down {
                assert_eq!(record.caught_up, usize::from(refused), "what was refused");
                assert_eq!(record.notices, usize::from(remote), "an end held back");
            }
            tally.saw("data was held back", record.caught_up == 1);
            tally.saw("told of the end", record.notices == 1);
            tally.saw("torn down", torn_down);
        });
        end(&vc);
    });
}
