//! `RxCeInitiateVCDisconnect` against others: races R1, R2 and R3 of the specification's 4.3.

use rxce_engine::{Error, life::Closing};

use crate::{
    explore::explore,
    record::Cause,
    scenario::{Act, any_plan, end, race},
    vc::{Memory, Plan, Vc},
};

#[test]
fn two_initiates_send_one_disconnect() {
    explore("two initiates send one disconnect", |tally| {
        let plan = any_plan();
        let vc = Vc::built(plan);
        race(&vc, &[Act::Initiate, Act::Initiate]);
        vc.record(|record| {
            let succeeded = record.initiates.iter().any(|result| result.is_ok());
            assert_eq!(record.initiated.len(), usize::from(succeeded));
            if plan.memory == Memory::Enough {
                assert_eq!(record.initiates, [Ok(()), Ok(())]);
            }
            tally.saw("both allocate", record.disconnect_allocations == 2);
            tally.saw("no memory", !succeeded);
            let refused = Err(Error::InsufficientResources);
            tally.saw(
                "one fails",
                succeeded && record.initiates.contains(&refused),
            );
        });
        end(&vc);
        let wire = vc.transport().wire();
        tally.saw("release, then abort", wire.releases + wire.aborts == 2);
    });
}

#[test]
fn initiate_against_tear_down() {
    explore("initiate against tear down", |tally| {
        let vc = Vc::built(any_plan());
        race(&vc, &[Act::Initiate, Act::TearDown]);
        vc.record(|record| {
            assert!(record.tear_downs[0].is_ok());
            let submitted = !record.initiated.is_empty();
            if record.initiates[0].is_ok() && record.remotes.is_empty() {
                assert!(submitted, "SUCCESS without a disconnect");
            }
            if submitted {
                assert_eq!(record.initiates[0], Ok(()));
            }
            tally.saw("initiate first", submitted);
            let refused = Err(Error::InvalidParameter);
            tally.saw("tear-down first", record.initiates[0] == refused);
            let escalated = submitted && !record.drained_with.is_empty();
            tally.saw("the tear-down escalates", escalated);
            tally.saw("cancel and close", record.cancellations > 0);
        });
        end(&vc);
    });
}

#[test]
fn initiate_against_remote_disconnect() {
    explore("initiate against remote disconnect", |tally| {
        let plan = Plan {
            memory: Memory::Enough,
            ..any_plan()
        };
        let vc = Vc::built(plan);
        race(&vc, &[Act::Initiate, Act::Remote]);
        let initiated = vc.record(|record| {
            assert_eq!(record.initiates, [Ok(())]);
            let initiated = !record.initiated.is_empty();
            match record.cause {
                Some(Cause::Local) => assert!(initiated && record.notices == 0),
                _ => assert_eq!(record.notices, 1),
            }
            let remote_first = record.cause == Some(Cause::Remote);
            let owed = !record.remotes[0].is_abort(plan.closing);
            if remote_first {
                assert_eq!(initiated, owed, "an acknowledgement is sent if one is owed");
            }
            tally.saw("initiate first", !remote_first);
            tally.saw("acknowledged", remote_first && owed);
            tally.saw("aborted by the peer", remote_first && !owed);
            initiated
        });
        // Whoever asks again gets nothing new.
        race(&vc, &[Act::Initiate, Act::Remote]);
        vc.record(|record| {
            assert_eq!(record.initiates, [Ok(()), Ok(())]);
            assert_eq!(!record.initiated.is_empty(), initiated);
        });
        end(&vc);
    });
}

#[test]
fn an_acknowledgement_is_sent_once() {
    use crate::record::Remote;
    explore("an acknowledgement is sent once", |tally| {
        let plan = Plan {
            memory: Memory::Enough,
            closing: Closing::Orderly,
            ..any_plan()
        };
        let vc = Vc::built(plan);
        race(&vc, &[Act::Event(Remote::Disconnect(4))]);
        race(&vc, &[Act::Initiate, Act::Initiate, Act::TearDown]);
        vc.record(|record| {
            tally.saw("by an initiate", record.initiated.len() == 1);
            tally.saw("by the tear-down", record.initiated.is_empty());
        });
        end(&vc);
        assert_eq!(vc.transport().wire().releases, 1);
    });
}
