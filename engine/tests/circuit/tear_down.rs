//! `RxCeTearDownVC` against others: races R3, R4, R5, R10 and R15 of the specification's 4.3.

use rxce_engine::Error;

use crate::{
    explore::explore,
    record::{Cause, Remote},
    scenario::{Act, any_plan, end, race},
    vc::Vc,
};

#[test]
fn two_tear_downs() {
    explore("two tear downs", |tally| {
        let vc = Vc::built(any_plan());
        race(&vc, &[Act::TearDown, Act::TearDown]);
        vc.record(|record| {
            let refused = Err(Error::InvalidParameter);
            let losers = record
                .tear_downs
                .iter()
                .filter(|&&result| result == refused);
            assert_eq!(losers.count(), 1);
            let failed = |result: &Result<Result<(), Error>, Error>| matches!(result, Ok(Err(_)));
            tally.saw("a failing status", record.tear_downs.iter().any(failed));
            tally.saw("orderly", record.drained_with.len() == 1);
            tally.saw("escalated", record.drained_with.len() == 2);
            tally.saw("cancel and close", record.cancellations > 0);
        });
        end(&vc);
    });
}

#[test]
fn tear_down_against_remote_disconnect() {
    explore("tear down against remote disconnect", |tally| {
        let vc = Vc::built(any_plan());
        race(&vc, &[Act::TearDown, Act::Remote, Act::Indicate]);
        vc.record(|record| {
            assert!(record.tear_downs[0].is_ok());
            tally.saw("remote first", record.cause == Some(Cause::Remote));
            tally.saw("tear-down first", record.cause == Some(Cause::TearDown));
            tally.saw("a receive pends", !record.receives.is_empty());
            tally.saw("nothing to send", record.drained_with.is_empty());
        });
        end(&vc);
    });
}

#[test]
fn tear_down_against_address_error() {
    explore("tear down against address error", |tally| {
        let vc = Vc::built(any_plan());
        let error = Act::Event(Remote::AddressError);
        race(&vc, &[Act::TearDown, error, Act::Remote]);
        vc.record(|record| {
            assert!(record.tear_downs[0].is_ok());
            tally.saw("remote first", record.cause == Some(Cause::Remote));
            tally.saw("tear-down first", record.cause == Some(Cause::TearDown));
        });
        end(&vc);
    });
}

#[test]
fn everybody_at_once() {
    use crate::client::Delivery;
    explore("everybody at once", |tally| {
        let vc = Vc::built(any_plan());
        race(
            &vc,
            &[
                Act::Initiate,
                Act::TearDown,
                Act::Remote,
                Act::Send(Delivery::Callback),
                Act::Indicate,
            ],
        );
        vc.record(|record| {
            tally.saw("local", record.cause == Some(Cause::Local));
            tally.saw("remote", record.cause == Some(Cause::Remote));
            tally.saw("tear-down", record.cause == Some(Cause::TearDown));
        });
        end(&vc);
    });
}

#[test]
fn a_device_stack_that_has_grown_leaves_it_to_the_close() {
    explore(
        "a device stack that has grown leaves it to the close",
        |tally| {
            let vc = Vc::built(any_plan());
            vc.record(|record| record.grown = true);
            race(&vc, &[Act::TearDown, Act::Initiate, Act::Indicate]);
            vc.record(|record| {
                assert!(record.tear_downs[0].is_ok());
                assert!(record.drained_with.is_empty());
                tally.saw("cancel and close", record.cancellations > 0);
            });
            end(&vc);
        },
    );
}
