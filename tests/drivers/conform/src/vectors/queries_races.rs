//! RxCeQueryInformation while the transport takes its time (rxce.md §5.13, §5.14).

use alloc::format;

use rxce_client::{RXCE_VC_DISCONNECTED, RXCE_VC_TEARDOWN};

use super::{
    Shared, Vector, own,
    queries::{ADDRESS, ENDPOINT, PROVIDER, pattern},
};
use crate::{
    engine,
    fixture::{self, Fixture, disconnects, held, query, script, state_of, wait_held},
    nt::{irql, sim::Break, status, thread::Thread, time, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Ends, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own("Q7", "queries that complete later, several at once", later),
    own(
        "Q8",
        "queries pending while the circuit is torn down",
        during_tear_down,
    ),
    own(
        "Q9",
        "a query that comes while a tear-down waits",
        while_tear_down_waits,
    ),
    own(
        "Q16",
        "a circuit that is torn down between a query's two looks at its state",
        between_the_looks,
    ),
];

/// A query in a thread of its own: its answer and its buffer.
fn ask(vc: Shared<rxce_client::RXCE_VC>, class: u32) -> (i32, [u8; 64]) {
    let mut buffer = [0xEE; 64];
    let answer = query(vc.0, class, &mut buffer);
    (answer, buffer)
}

fn later(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let before = run.balance();
    transport::answer_queries(&pattern(26), status::SUCCESS);
    script(Kind::Query, Script::PEND);
    let vc = Shared(f.vc.ptr());
    for level in [irql::PASSIVE, irql::APC, irql::DISPATCH] {
        TRANSPORT.update(|state| state.complete_at = level);
        let one = Thread::start(move || ask(vc, ENDPOINT))?;
        let two = Thread::start(move || irql::at(irql::APC, || ask(vc, ADDRESS)))?;
        let came = TRANSPORT.wait_until(time::PATIENCE, |state| state.held_of(Kind::Query) == 2);
        let waits = !one.ends_within(SECOND) && !two.ends_within(SECOND);
        // What needs no transport is not held up.
        let quick = query(f.vc.ptr(), PROVIDER, &mut [0; 64]);
        // A disconnect neither waits for queries nor ends them.
        let initiated = engine::initiate(f.vc.ptr());
        let still = held(Kind::Query);
        while transport::complete_query() {}
        let (one, two) = (one.join("a query")?, two.join("a query")?);
        holds("both queries are at the transport", came)?;
        holds("both wait for their answers", waits)?;
        fixture::ok("a query of the provider's information meanwhile", quick)?;
        fixture::ok("initiate meanwhile", initiated)?;
        same("queries held after it", still, 2)?;
        for (answer, buffer) in [one, two] {
            fixture::ok("the query", answer)?;
            same("the answer", buffer.get(..26), Some(&pattern(26)[..]))?;
            let rest = buffer.get(26..).unwrap_or_default();
            holds("nothing behind it", rest.iter().all(|&byte| byte == 0xEE))?;
        }
    }
    same("State", f.state(), RXCE_VC_DISCONNECTED)?;
    disconnects(1, 0)?;
    before.unchanged(run, "queries that have ended")?;
    f.close()
}

fn during_tear_down(_run: &Run) -> Outcome {
    let ways: [(&str, Script); 4] = [
        ("until told", Script::PEND),
        ("until an ABORT", Script::UNTIL_ABORT),
        ("until a cancel", Script::UNTIL_CANCEL),
        ("until the close", Script::UNTIL_CLOSE),
    ];
    for (name, way) in ways {
        let f = Fixture::orderly()?;
        transport::answer_queries(&pattern(26), status::SUCCESS);
        script(Kind::Query, way);
        let vc = Shared(f.vc.ptr());
        let asking = Thread::start(move || ask(vc, ENDPOINT))?;
        wait_held(Kind::Query)?;
        let told = name == "until told";
        if told {
            script(Kind::Release, Script::PEND);
        }
        let tearing = Thread::start(move || vc.tear_down())?;
        if told {
            // Stage 1 waits for it: an answer in time is an answer.
            let came = wait_held(Kind::Release);
            transport::complete(Kind::Release, status::SUCCESS);
            let waits = !tearing.ends_within(SECOND);
            transport::complete_query();
            came?;
            holds("tear-down waits for the query", waits)?;
        }
        let (answer, buffer) = asking.join("RxCeQueryInformation")?;
        fixture::ok("RxCeTearDownVC", tearing.join("RxCeTearDownVC")?)?;
        if told {
            fixture::ok("the query", answer)?;
        } else {
            let ended = [status::CONNECTION_ABORTED, status::CANCELLED].contains(&answer);
            holds(
                &format!("a query held {name} ends with the transport's status"),
                ended,
            )?;
            let written = buffer.iter().any(|&byte| byte != 0xEE);
            holds("nothing is copied then", !written)?;
        }
        holds("the structure is zero", f.vc.is_zero())?;
        same("queries held", held(Kind::Query), 0)?;
        f.close()?;
    }
    Ok(())
}

fn while_tear_down_waits(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    script(
        Kind::Release,
        Script::Pend(Ends {
            abort: false,
            cancel: false,
        }),
    );
    let vc = Shared(f.vc.ptr());
    let tearing = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    same("State", state_of(vc.0), RXCE_VC_TEARDOWN)?;
    let queries = fixture::seen(Kind::Query);
    let mut answers = [0; 4];
    for (answer, class) in answers.iter_mut().zip(1..) {
        *answer = query(vc.0, class, &mut [0; 64]);
    }
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", tearing.join("RxCeTearDownVC")?)?;
    for (answer, class) in answers.into_iter().zip(1..) {
        let what = format!("class {class} of a circuit in TEARDOWN");
        outcome::status(&what, answer, status::INVALID_PARAMETER)?;
    }
    same("queries", fixture::seen(Kind::Query), queries)?;
    f.close()
}

fn between_the_looks(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let vc = Shared(f.vc.ptr());
    script(Kind::Release, Script::PEND);
    let queries = fixture::seen(Kind::Query);
    // The query has found the circuit active, and allocates its request.
    let stop = Break::before(c"IoAllocateIrp")
        .ok_or_else(|| Trouble::NotPossible("stopping at a chosen kernel call".into()))?;
    let asking = Thread::start(move || ask(vc, ENDPOINT))?;
    let stopped = stop.is_reached_within(time::PATIENCE);
    let tearing = Thread::start(move || vc.tear_down())?;
    let came = wait_held(Kind::Release);
    stop.go_on();
    let (answer, buffer) = asking.join("RxCeQueryInformation")?;
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", tearing.join("RxCeTearDownVC")?)?;
    holds("the query stopped at its allocation", stopped)?;
    came?;
    outcome::status("the query", answer, status::INVALID_PARAMETER)?;
    let written = buffer.iter().any(|&byte| byte != 0xEE);
    holds("nothing is copied", !written)?;
    same("queries", fixture::seen(Kind::Query), queries)?;
    f.close()
}
