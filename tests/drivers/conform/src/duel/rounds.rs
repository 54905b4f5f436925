//! The rounds of a duel.

use alloc::{format, string::String, vec::Vec};

use conform_ioctl::{DUELS, DuelRequest, DuelResult, Text};

use super::{
    crew::{Crew, MOST},
    parts,
    stage::{COUNTS, Stage},
    table::{Duel, Seen, TABLE},
};
use crate::{
    nt::{
        sim::{self, Account, Order},
        thread::Thread,
        time::{self, FOREVER, SECOND},
        watch::Watch,
    },
    outcome::{Outcome, Trouble, same},
    runner,
};

/// Rounds before the balance is taken: the engine has then grown what it keeps.
const WARM_UP: u32 = 3;

/// What the parts answered, and the counts.
type Outcomes = Vec<([i32; MOST], [usize; COUNTS])>;

/// Plays a duel.
pub(crate) fn run(request: DuelRequest) -> DuelResult {
    let thread = Thread::start(move || {
        let mut result = DuelResult {
            rounds: 0,
            outcomes: 0,
            violated: false,
            text: Text::new(""),
        };
        if let Err(trouble) = play(request, &mut result) {
            result.violated = true;
            let text = match trouble {
                Trouble::Failed(text) | Trouble::NotPossible(text) => text,
            };
            result.text = Text::new(&text);
        }
        result
    });
    let ended = thread.and_then(|thread| {
        while !thread.ends_within(FOREVER) {}
        thread.join("the duel")
    });
    ended.unwrap_or_else(|trouble| DuelResult {
        rounds: 0,
        outcomes: 0,
        violated: true,
        text: Text::new(&format!("{trouble:?}")),
    })
}

fn play(request: DuelRequest, result: &mut DuelResult) -> Outcome {
    let index = request.duel as usize;
    let (Some(duel), Some(&name)) = (TABLE.get(index), DUELS.get(index)) else {
        return Err(Trouble::Failed(String::from("there is no such duel")));
    };
    same("the duel's name in both tables", duel.name, name)?;
    runner::prepare()?;
    let mut stage = Stage::new()?;
    let crew = Crew::new()?;
    let mut outcomes = Outcomes::new();
    let mut before: Option<Account> = None;
    for number in 0..request.rounds.saturating_add(WARM_UP) {
        let schedules = number >= WARM_UP;
        if schedules && before.is_none() {
            before = sim::engine_account();
        }
        let Some(outcome) = round(duel, &crew, &mut stage, schedules)? else {
            break;
        };
        if schedules {
            same("what the engine holds", sim::engine_account(), before)?;
            result.rounds = result.rounds.saturating_add(1);
            if !outcomes.contains(&outcome) {
                outcomes.push(outcome);
            }
            result.outcomes = u32::try_from(outcomes.len()).unwrap_or(u32::MAX);
        }
    }
    Ok(())
}

/// One round; nothing if the kernel has no schedule for it.
fn round(
    duel: &Duel,
    crew: &Crew,
    stage: &mut Stage,
    schedules: bool,
) -> Outcome<Option<([i32; MOST], [usize; COUNTS])>> {
    runner::clean()?;
    if duel.bare {
        stage.bare();
    } else {
        stage.set(duel.more)?;
    }
    for &kind in duel.held {
        parts::hold(kind);
    }
    let order = if schedules {
        sim::begin_schedule()
    } else {
        Order::Free
    };
    if order == Order::NoneLeft {
        stage.fixture.clear()?;
        return Ok(None);
    }
    let began = time::now();
    let answers = crew.play(duel.parts, stage);
    let ended = time::now();
    sim::end_schedule();
    if order == Order::Chosen && !duel.more {
        // The transport answers everything, so that nothing has to be given up after a time.
        same("the time at the end", ended, began)?;
    }
    // What is still under way (handles that are closed in other threads) comes to its end.
    pause();
    let seen = Seen {
        answers,
        counts: stage.counts(),
        stage,
    };
    let outcome = (seen.answers, seen.counts);
    (duel.judge)(&seen).map_err(|trouble| told(trouble, &outcome))?;
    stage.fixture.clear()?;
    pause();
    runner::nothing_left()?;
    Ok(Some(outcome))
}

fn told(trouble: Trouble, outcome: &([i32; MOST], [usize; COUNTS])) -> Trouble {
    match trouble {
        Trouble::Failed(text) => {
            let (answers, counts) = outcome;
            Trouble::Failed(format!("{text}; answers {answers:x?}, counts {counts:?}"))
        }
        other => other,
    }
}

/// Lets everybody else run until nobody can.
fn pause() {
    static NEVER: Watch<()> = Watch::new(());
    NEVER.wait_until(SECOND, |()| false);
}
