//! Scenarios of connections over several transports.

use alloc::vec::Vec;

use super::{
    Scenario,
    attempt::{Attempt, Step, Stop},
    life::Life,
};
use crate::{
    fixture::{buffer, send_and_wait},
    nt::{sim, status},
    outcome::{Outcome, same},
    race::{ALL, BEST, COMPLETION, FIRST, PROVIDERS, Race, settled},
    transport::{Kind, Script, TRANSPORT, state::State},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one address, connect at once",
        run: |attempt| race(attempt, 1, FIRST, &[Script::Inline(status::SUCCESS)]),
    },
    Scenario {
        name: "one address, connect later",
        run: |attempt| race(attempt, 1, ALL, &[Script::Later(status::SUCCESS)]),
    },
    Scenario {
        name: "the first of three, connects later",
        run: |attempt| race(attempt, 3, FIRST, &[Script::Later(status::SUCCESS); 3]),
    },
    Scenario {
        name: "the first of two, connects at once",
        run: |attempt| race(attempt, 2, FIRST, &[Script::Inline(status::SUCCESS); 2]),
    },
    Scenario {
        name: "the best of three, the best one refuses",
        run: |attempt| {
            let refused = Script::Later(status::CONNECTION_REFUSED);
            let taken = Script::Later(status::SUCCESS);
            race(attempt, 3, BEST, &[refused, taken, taken])
        },
    },
    Scenario {
        name: "the best of two, at once and later",
        run: |attempt| {
            let scripts = [
                Script::Later(status::SUCCESS),
                Script::Inline(status::SUCCESS),
            ];
            race(attempt, 2, BEST, &scripts)
        },
    },
    Scenario {
        name: "all of three, connects later",
        run: |attempt| race(attempt, 3, ALL, &[Script::Later(status::SUCCESS); 3]),
    },
    Scenario {
        name: "all of two refuse",
        run: |attempt| {
            let refused = status::CONNECTION_REFUSED;
            race(
                attempt,
                2,
                ALL,
                &[Script::Inline(refused), Script::Later(refused)],
            )
        },
    },
];

/// Addresses, a race over them, a send over the winner, and the end of it all.
fn race(attempt: &Attempt, count: usize, option: u32, connects: &[Script]) -> Outcome {
    if count > 1 {
        attempt.may_hide();
    }
    let account = sim::engine_account();
    let mut lives: Vec<Life> = Vec::new();
    let mut built: Step = Ok(());
    for &personality in PROVIDERS.iter().take(count) {
        let life = Life::new(attempt, personality)?;
        built = life.addressed();
        lives.push(life);
        if built.is_err() {
            break;
        }
    }
    if built.is_err() {
        let mut results = Some(built);
        for life in lives {
            life.end(results.take().unwrap_or(Ok(())))?;
        }
        return Ok(());
    }
    let stacks = lives.into_iter().map(|life| life.f).collect();
    let race = Race::over(stacks, account)?;
    for (index, &script) in connects.iter().enumerate() {
        race.script(index, Kind::Connect, script);
    }
    let refused = connects.iter().all(refuses);
    match run(attempt, &race, count, option, refused) {
        Ok(()) | Err(Stop::Early) => race.finish(|what, answer| attempt.torn_down(what, answer)),
        Err(Stop::Trouble(trouble)) => Err(trouble),
    }
}

const fn refuses(script: &Script) -> bool {
    matches!(
        script,
        Script::Inline(status::CONNECTION_REFUSED) | Script::Later(status::CONNECTION_REFUSED)
    )
}

fn run(attempt: &Attempt, race: &Race, count: usize, option: u32, refused: bool) -> Step {
    let files = TRANSPORT.read(State::open_files);
    attempt.call(
        "RxCeBuildConnectionOverMultipleTransports",
        || {
            race.reset_context();
            COMPLETION.update(|seen| (seen.calls, seen.returns) = (0, 0));
            let answer = race.build(option);
            let answer = if answer == status::PENDING {
                race.completed()?.0
            } else {
                answer
            };
            if answer >= 0 {
                return Ok(answer);
            }
            race.nothing_built()?;
            settled(|| same("open files", TRANSPORT.read(State::open_files), files))?;
            // Where all refuse, that is success. With one provider alone its failure is told by INVALID_HANDLE.
            Ok(match answer {
                status::CONNECTION_REFUSED if refused => status::SUCCESS,
                status::INVALID_HANDLE if count == 1 => attempt.as_failure(),
                answer => answer,
            })
        },
        || Ok(()),
    )?;
    if refused {
        return Ok(());
    }
    race.losers_gone()?;
    let data = buffer(b"over the winner")?;
    let vc = race.vc.ptr();
    attempt.call(
        "a synchronous RxCeSend",
        || Ok(send_and_wait(vc, &data)),
        || Ok(()),
    )
}
