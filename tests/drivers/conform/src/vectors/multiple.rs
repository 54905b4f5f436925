//! RxCeBuildConnectionOverMultipleTransports: who wins, in which order of completion (rxce.md §5.8, vector M1).

use alloc::format;

use super::{Vector, documented, own};
use crate::{
    fixture::{self, endpoint_closed, seen},
    nt::{status, time::SECOND},
    outcome::{self, Outcome, Run, holds, same},
    race::{self, ALL, BEST, COMPLETION, FIRST, Race, won},
    transport::{FileKind, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "M1",
        "two transports, the first fails: each order, before and after the return",
        first_fails,
    ),
    own(
        "M4",
        "the first success wins, and the losers are closed",
        first_success,
    ),
    own(
        "M5",
        "the best success wins, as soon as no better one is possible",
        best_success,
    ),
    own(
        "M6",
        "all are waited for, and the best success is reported",
        all_successes,
    ),
    own(
        "M7",
        "all connects fail: the status of the first, and nothing is left",
        all_fail,
    ),
];

/// How a connect ends, and whether that is before the routine returns.
#[derive(Clone, Copy, Debug)]
enum When {
    Inline,
    Later,
}

/// Forgets what the transport logged, between the rounds of a vector; everything is closed then.
pub(super) fn next_round() -> Outcome {
    crate::client::CLIENT.update(crate::client::Client::reset);
    holds(
        "the transport is clean",
        TRANSPORT.update(crate::transport::state::State::reset),
    )
}

fn first_fails(run: &Run) -> Outcome {
    let refused = status::CONNECTION_REFUSED;
    for option in [FIRST, BEST, ALL] {
        for (one, two) in [
            (When::Inline, When::Inline),
            (When::Inline, When::Later),
            (When::Later, When::Inline),
            (When::Later, When::Later),
        ] {
            for failure_first in [true, false] {
                let race = Race::among(2)?;
                for (index, when, result) in [(0, one, refused), (1, two, status::SUCCESS)] {
                    let script = match when {
                        When::Inline => Script::Inline(result),
                        When::Later => Script::PEND,
                    };
                    race.script(index, Kind::Connect, script);
                }
                let answer = race.build(option);
                // The second one's success decides at once only where the first success does.
                let decided = match (one, two) {
                    (When::Inline, When::Inline) => true,
                    (When::Later, When::Inline) => option == FIRST,
                    (_, When::Later) => false,
                };
                let what = format!("option {option}, {one:?} and {two:?}");
                if decided {
                    outcome::status(&what, answer, status::SUCCESS)?;
                } else {
                    outcome::status(&what, answer, status::PENDING)?;
                    let order = if failure_first { [0, 1] } else { [1, 0] };
                    for index in order {
                        let pended = matches!([one, two].get(index), Some(When::Later));
                        // Once it is decided, the loser is the engine's to end.
                        if pended && !(option == FIRST && index == 0 && !failure_first) {
                            let result = if index == 0 { refused } else { status::SUCCESS };
                            race.end(index, result)?;
                        }
                    }
                    let (code, index) = race.completed()?;
                    outcome::status("the status in the context", code, status::SUCCESS)?;
                    same("AddressIndex", index, 1)?;
                }
                won(run, &race, 1)?;
                let context = race.context.read();
                same("AddressIndex", context.AddressIndex, 1)?;
                outcome::status("Status", context.Status, status::SUCCESS)?;
                let calls = COMPLETION.read(|seen| seen.calls);
                same(
                    "calls of the completion routine",
                    calls,
                    usize::from(!decided),
                )?;
                same("connects", seen(Kind::Connect), 2)?;
                endpoint_closed(1)?;
                race.close()?;
                endpoint_closed(2)?;
                same("callbacks", fixture::calls(), 0)?;
                next_round()?;
            }
        }
    }
    Ok(())
}

fn first_success(run: &Run) -> Outcome {
    // Three at once; each may be the first.
    for winner in 0..3 {
        let race = Race::among(3)?;
        race.connects(Script::UNTIL_CLOSE);
        outcome::status("the routine", race.build(FIRST), status::PENDING)?;
        same("connects", seen(Kind::Connect), 3)?;
        race.end(winner, status::SUCCESS)?;
        let (code, index) = race.completed()?;
        outcome::status("the status in the context", code, status::SUCCESS)?;
        same("AddressIndex", index as usize, winner)?;
        won(run, &race, winner)?;
        endpoint_closed(2)?;
        race.close()?;
        next_round()?;
    }
    // A success inside the dispatch routine decides: the peer does not hear of an attempt that could only lose.
    let race = Race::among(2)?;
    race.connects(Script::Inline(status::SUCCESS));
    fixture::ok("a success before the return", race.build(FIRST))?;
    same("connects", seen(Kind::Connect), 1)?;
    won(run, &race, 0)?;
    endpoint_closed(1)?;
    same(
        "calls of the completion routine",
        COMPLETION.read(|seen| seen.calls),
        0,
    )?;
    race.close()
}

/// Ends of connects in order: index and status; `Some` where the race is decided by that.
type Order = [(usize, i32, Option<usize>); 3];

fn orders(run: &Run, option: u32, orders: &[Order]) -> Outcome {
    for order in orders {
        let race = Race::among(3)?;
        race.connects(Script::PEND);
        outcome::status("the routine", race.build(option), status::PENDING)?;
        let mut result = None;
        for &(index, code, decides) in order {
            race.end(index, code)?;
            match decides {
                None => {
                    let early = COMPLETION.wait_until(SECOND, |seen| seen.calls > 0);
                    let what = format!("undecided after the end of {index} in {order:?}");
                    holds(&what, !early)?;
                }
                Some(winner) => {
                    let (code, index) = race.completed()?;
                    outcome::status("the status in the context", code, status::SUCCESS)?;
                    same(&format!("the winner of {order:?}"), index as usize, winner)?;
                    result = Some(winner);
                    break;
                }
            }
        }
        if let Some(winner) = result {
            won(run, &race, winner)?;
        }
        endpoint_closed(2)?;
        race.close()?;
        next_round()?;
    }
    Ok(())
}

/// Every attempt connects at once; how many do is what the option needs.
fn inline_connects(run: &Run, option: u32, expected: usize) -> Outcome {
    let race = Race::among(3)?;
    race.connects(Script::Inline(status::SUCCESS));
    fixture::ok("successes before the return", race.build(option))?;
    same("connects", seen(Kind::Connect), expected)?;
    won(run, &race, 0)?;
    endpoint_closed(2)?;
    race.close()?;
    next_round()
}

fn best_success(run: &Run) -> Outcome {
    const OK: i32 = status::SUCCESS;
    const NO: i32 = status::HOST_UNREACHABLE;
    inline_connects(run, BEST, 1)?;
    orders(
        run,
        BEST,
        &[
            [(0, OK, Some(0)), (1, OK, None), (2, OK, None)],
            [(2, OK, None), (0, OK, Some(0)), (1, OK, None)],
            [(1, OK, None), (2, OK, None), (0, OK, Some(0))],
            [(2, OK, None), (0, NO, None), (1, OK, Some(1))],
            [(1, OK, None), (0, NO, Some(1)), (2, OK, None)],
            [(0, NO, None), (1, OK, Some(1)), (2, OK, None)],
            [(1, NO, None), (0, NO, None), (2, OK, Some(2))],
            [(2, OK, None), (1, NO, None), (0, NO, Some(2))],
            [(2, NO, None), (1, OK, None), (0, NO, Some(1))],
        ],
    )
}

fn all_successes(run: &Run) -> Outcome {
    const OK: i32 = status::SUCCESS;
    const NO: i32 = status::HOST_UNREACHABLE;
    inline_connects(run, ALL, 3)?;
    orders(
        run,
        ALL,
        &[
            [(0, OK, None), (1, OK, None), (2, OK, Some(0))],
            [(2, OK, None), (1, OK, None), (0, OK, Some(0))],
            [(0, NO, None), (2, OK, None), (1, OK, Some(1))],
            [(2, OK, None), (0, NO, None), (1, NO, Some(2))],
            [(0, OK, None), (1, NO, None), (2, NO, Some(0))],
        ],
    )
}

fn all_fail(run: &Run) -> Outcome {
    let failures = [
        status::CONNECTION_REFUSED,
        status::HOST_UNREACHABLE,
        status::IO_TIMEOUT,
    ];
    for option in [FIRST, BEST, ALL] {
        let race = Race::among(3)?;
        let before = run.balance();
        for (index, failure) in failures.into_iter().enumerate() {
            race.script(index, Kind::Connect, Script::Inline(failure));
        }
        let answer = race.build(option);
        outcome::status("all fail before the return", answer, failures[0])?;
        same(
            "calls of the completion routine",
            COMPLETION.read(|seen| seen.calls),
            0,
        )?;
        race.nothing_built()?;
        endpoint_closed(3)?;
        settled(run, &before)?;

        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            COMPLETION.update(|seen| {
                seen.calls = 0;
                seen.returns = 0;
            });
            race.reset_context();
            race.connects(Script::PEND);
            outcome::status("the routine", race.build(option), status::PENDING)?;
            for index in order {
                let early = COMPLETION.read(|seen| seen.calls);
                same("calls of the completion routine before the end", early, 0)?;
                race.end(index, failures.get(index).copied().unwrap_or_default())?;
            }
            let (code, _) = race.completed()?;
            outcome::status("the status in the context", code, failures[0])?;
            race.nothing_built()?;
            settled(run, &before)?;
        }
        // The lowest index that was tried: the first could not even be opened.
        race.script(
            0,
            Kind::Open(FileKind::Endpoint),
            Script::Inline(status::DEVICE_NOT_READY),
        );
        for (index, failure) in failures.into_iter().enumerate() {
            race.script(index, Kind::Connect, Script::Inline(failure));
        }
        let answer = race.build(option);
        outcome::status("the first one not opened", answer, failures[1])?;
        race.nothing_built()?;
        settled(run, &before)?;
        race.close()?;
        same("callbacks", fixture::calls(), 0)?;
        next_round()?;
    }
    Ok(())
}

/// Waits until the engine holds what it held then.
pub(super) fn settled(run: &Run, before: &outcome::Balance) -> Outcome {
    race::settled(|| before.unchanged(run, "after the race"))
}
