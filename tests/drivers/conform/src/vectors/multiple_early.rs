//! RxCeBuildConnectionOverMultipleTransports: what the peers do before there is a winner (rxce.md §5.8, vector M2).

use rxce_client::{RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED};

use super::{ABORT, RELEASE, Vector, multiple::next_round, own};
use crate::{
    client::{CLIENT, Call},
    engine,
    fixture::{self, called, calls, disconnects, held, last},
    nt::{event::Event, sim::Break, status, thread::Thread, time, watch::Watch},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{BEST, COMPLETION, FIRST, Race},
    transport::{self, Indication, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "M2",
        "the winner's peer disconnects before it has won: Disconnect once, afterwards",
        disconnected_early,
    ),
    own(
        "M8",
        "the winner's peer sends before it has won: the data is delivered afterwards",
        data_early,
    ),
    own(
        "M9",
        "an error of the winner's address before it has won: Error once, afterwards",
        error_early,
    ),
    own(
        "M10",
        "losers whose peers disconnect, send, or whose address fails: no callback",
        losers_early,
    ),
    own(
        "M18",
        "a connect that succeeds between two submissions, and two that succeed at once",
        at_once,
    ),
];

const HELD_BACK: Indication = Indication {
    status: status::DATA_NOT_ACCEPTED,
    taken: 0,
    request: false,
};

/// Waits until the client has got a call of one kind.
fn wait_called(call: Call) -> Outcome {
    let came = CLIENT.wait_until(time::PATIENCE, |client| client.count(call) > 0);
    holds(&alloc::format!("{call:?} is called"), came)
}

/// The completion routine was the first to hear of anything.
fn nothing_before() -> Outcome {
    let before = COMPLETION.read(|seen| seen.callbacks_before);
    same("callbacks before the completion routine", before, 0)
}

fn disconnected_early(_run: &Run) -> Outcome {
    for flags in [ABORT, RELEASE] {
        let race = Race::among(2)?;
        race.connects(Script::PEND);
        outcome::status("the routine", race.build(BEST), status::PENDING)?;
        // The second connects, is disconnected, and wins only when the first fails.
        race.end(1, status::SUCCESS)?;
        transport::disconnect(race.endpoint(1), flags);
        same("callbacks before there is a winner", calls(), 0)?;
        race.end(0, status::CONNECTION_REFUSED)?;
        let (code, index) = race.completed()?;
        outcome::status("the status in the context", code, status::SUCCESS)?;
        same("AddressIndex", index, 1)?;
        nothing_before()?;
        wait_called(Call::Disconnect)?;
        race.losers_gone()?;
        same("State", race.vc.read().State, RXCE_VC_DISCONNECTED)?;
        let call = CLIENT.read(|client| client.last(Call::Disconnect));
        let seen = call.map(|call| (call.vc, call.value));
        same("Disconnect", seen, Some((race.vc.ptr(), flags)))?;
        fixture::ok("RxCeTearDownVC", engine::tear_down_vc(race.vc.ptr()))?;
        // The winner is on a provider without orderly release: whatever came counts as an ABORT.
        disconnects(0, 0)?;
        race.close()?;
        same("Disconnect callbacks", called(Call::Disconnect), 1)?;
        same("callbacks", calls(), 1)?;
        next_round()?;
    }
    // Decided before the return: the same before the routine returns.
    fn hang_up(endpoint: usize) {
        transport::complete(Kind::Connect, status::SUCCESS);
        transport::disconnect(endpoint, ABORT);
    }
    let race = Race::among(1)?;
    fixture::script_hook(Kind::Connect, hang_up);
    let answer = race.build(FIRST);
    fixture::ok("the routine", answer)?;
    same("Disconnect callbacks", called(Call::Disconnect), 1)?;
    same("State", race.vc.read().State, RXCE_VC_DISCONNECTED)?;
    same(
        "calls of the completion routine",
        COMPLETION.read(|seen| seen.calls),
        0,
    )?;
    race.close()
}

fn data_early(_run: &Run) -> Outcome {
    let race = Race::among(2)?;
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(BEST), status::PENDING)?;
    race.end(1, status::SUCCESS)?;
    let mut data: [u8; 40] = core::array::from_fn(|index| u8::try_from(index).unwrap_or_default());
    let answer = transport::receive(race.endpoint(1), &mut data, 40);
    same("data before there is a winner", answer, Some(HELD_BACK))?;
    let again = transport::receive(race.endpoint(1), &mut data, 40);
    same("more of it", again, Some(HELD_BACK))?;
    same("callbacks before there is a winner", calls(), 0)?;
    race.end(0, status::CONNECTION_REFUSED)?;
    race.completed()?;
    nothing_before()?;
    // Refused data is indicated no more: it is fetched.
    let came = TRANSPORT.wait_until(time::PATIENCE, |state| state.held_of(Kind::Receive) == 1);
    holds("the engine fetches what it held back", came)?;
    let record = last(Kind::Receive)?;
    same("from the winner", record.file, race.endpoint(1))?;
    same(
        "bytes delivered",
        transport::complete_with_data(&data),
        Some(40),
    )?;
    // The completion may have been left to the thread that still submits the receive.
    CLIENT.wait_until(time::PATIENCE, |client| client.stream().len() >= data.len());
    let stream = CLIENT.read(|client| client.stream().to_vec());
    same("the bytes given to Receive", &stream[..], &data[..])?;
    let call = CLIENT.read(|client| client.last(Call::Receive));
    same(
        "Receive's circuit",
        call.map(|call| call.vc),
        Some(race.vc.ptr()),
    )?;
    if held(Kind::Receive) == 0 {
        let taken = Indication {
            status: status::SUCCESS,
            taken: 10,
            request: false,
        };
        let next = transport::receive(race.endpoint(1), &mut [7; 10], 10);
        same("data goes on", next, Some(taken))?;
    }
    race.losers_gone()?;
    same("State", race.vc.read().State, RXCE_VC_ACTIVE)?;
    race.close()?;
    next_round()?;

    // Data, and then the end of the peer's side: both are told, the data first.
    let race = Race::among(2)?;
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(FIRST), status::PENDING)?;
    transport::receive(race.endpoint(0), &mut data, 40);
    race.end(0, status::SUCCESS)?;
    race.completed()?;
    let came = TRANSPORT.wait_until(time::PATIENCE, |state| state.held_of(Kind::Receive) == 1);
    holds("the engine fetches what it held back", came)?;
    transport::complete_with_data(&data);
    // The completion may have been left to the thread that still submits the receive.
    CLIENT.wait_until(time::PATIENCE, |client| client.stream().len() >= data.len());
    transport::disconnect(race.endpoint(0), RELEASE);
    let stream = CLIENT.read(|client| client.stream().to_vec());
    same("the bytes given to Receive", &stream[..], &data[..])?;
    same("Disconnect callbacks", called(Call::Disconnect), 1)?;
    race.losers_gone()?;
    race.close()
}

fn error_early(_run: &Run) -> Outcome {
    let race = Race::among(2)?;
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(BEST), status::PENDING)?;
    race.end(1, status::SUCCESS)?;
    let file = race
        .stacks
        .get(1)
        .map_or(usize::MAX, fixture::Fixture::address_file);
    transport::error(file, status::LINK_FAILED);
    // The address's own callback is nobody's secret.
    same("address Error callbacks", called(Call::AddressError), 1)?;
    same("callbacks of the circuit", calls(), 1)?;
    race.end(0, status::CONNECTION_REFUSED)?;
    let (code, _) = race.completed()?;
    outcome::status("the status in the context", code, status::SUCCESS)?;
    wait_called(Call::ConnectionError)?;
    race.losers_gone()?;
    let call = CLIENT.read(|client| client.last(Call::ConnectionError));
    let seen = call.map(|call| (call.vc, call.status));
    same("Error", seen, Some((race.vc.ptr(), status::LINK_FAILED)))?;
    same("State", race.vc.read().State, RXCE_VC_DISCONNECTED)?;
    race.close()?;
    same(
        "connection Error callbacks",
        called(Call::ConnectionError),
        1,
    )?;
    same("Disconnect callbacks", called(Call::Disconnect), 0)
}

fn losers_early(_run: &Run) -> Outcome {
    let race = Race::among(3)?;
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(BEST), status::PENDING)?;
    for index in [1, 2] {
        race.end(index, status::SUCCESS)?;
    }
    transport::disconnect(race.endpoint(1), ABORT);
    transport::receive(race.endpoint(2), &mut [1; 8], 8);
    transport::disconnect(race.endpoint(2), RELEASE);
    race.end(0, status::SUCCESS)?;
    let (_, index) = race.completed()?;
    same("AddressIndex", index, 0)?;
    race.losers_gone()?;
    // Late calls with the losers' tokens find nothing.
    for index in [1, 2] {
        let late = transport::receive(race.endpoint(index), &mut [1; 8], 8);
        same("data for a loser that is gone", late, Some(HELD_BACK))?;
        let late = transport::disconnect(race.endpoint(index), ABORT);
        same(
            "a disconnect of a loser that is gone",
            late,
            Some(status::SUCCESS),
        )?;
    }
    same("callbacks", calls(), 0)?;
    same("receives", fixture::seen(Kind::Receive), 0)?;
    same("State", race.vc.read().State, RXCE_VC_ACTIVE)?;
    race.close()?;
    same("callbacks at the end", calls(), 0)
}

/// The stop before the second connect's submission.
static STOP: Watch<Option<Break>> = Watch::new(None);

fn stop_before_the_next(_endpoint: usize) {
    if STOP.read(Option::is_none) {
        let stop = Break::before_io_call_driver();
        STOP.update(|slot| *slot = stop);
    }
}

fn at_once(_run: &Run) -> Outcome {
    super::faults()?;
    let race = Race::among(2)?;
    fixture::script_hook(Kind::Connect, stop_before_the_next);
    let build = Thread::start(|| race.build(FIRST))?;
    let armed = STOP.wait_until(time::PATIENCE, Option::is_some);
    let stop = STOP.update(Option::take);
    let stop =
        stop.ok_or_else(|| Trouble::NotPossible("stopping at a chosen kernel call".into()))?;
    let reached = stop.is_reached_within(time::PATIENCE);
    let ended = race.end(0, status::SUCCESS);
    fixture::script(Kind::Connect, Script::PEND);
    stop.go_on();
    let answer = build.join("the routine")?;
    holds(
        "the routine stops before its second connect",
        armed && reached,
    )?;
    ended?;
    // Decided before the return: the routine itself finishes the job.
    fixture::ok("the routine", answer)?;
    same(
        "calls of the completion routine",
        COMPLETION.read(|seen| seen.calls),
        0,
    )?;
    same("AddressIndex", race.context.read().AddressIndex, 0)?;
    race.losers_gone()?;
    race.close()?;
    next_round()?;

    for round in 0..24 {
        let option = if round % 2 == 0 { FIRST } else { BEST };
        let race = Race::among(2)?;
        race.connects(Script::PEND);
        let go = Event::new();
        outcome::status("the routine", race.build(option), status::PENDING)?;
        let end = |index| {
            let (go, race) = (&go, &race);
            Thread::start(move || {
                go.wait(time::PATIENCE);
                // The loser's may be closed by then.
                let _ = race.end(index, status::SUCCESS);
            })
        };
        let threads = [end(0)?, end(1)?];
        go.set();
        for thread in threads {
            thread.join("a completion")?;
        }
        let (code, index) = race.completed()?;
        outcome::status("the status in the context", code, status::SUCCESS)?;
        if option == BEST {
            same("AddressIndex", index, 0)?;
        }
        race.losers_gone()?;
        same("State", race.vc.read().State, RXCE_VC_ACTIVE)?;
        same("callbacks", calls(), 0)?;
        race.close()?;
        next_round()?;
    }
    Ok(())
}
