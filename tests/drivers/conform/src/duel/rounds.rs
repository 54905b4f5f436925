//! The rounds of a duel.

use alloc::{format, string::String, vec::Vec};

use conform_ioctl::{DUELS, DuelRequest, DuelResult, Text};

use super::{
    crew::{Crew, MOST, Start, pause},
    parts,
    stage::{COUNTS, Stage},
    table::{Duel, Seen, TABLE},
};
use crate::{
    nt::{
        sim::{self, Account, Faults, Order, Pick},
        thread::Thread,
        time::{self, FOREVER},
    },
    outcome::{Outcome, Trouble, same},
    race::settled,
    runner,
};

/// Rounds before the balance is taken: the engine has then grown what it keeps.
const WARM_UP: u32 = 3;

/// With faults: so many rounds without a new call stack are the end.
const CALM: u32 = 20;

/// What the parts answered, and the counts.
type Outcomes = Vec<([i32; MOST], [usize; COUNTS])>;

/// Plays a duel.
pub(crate) fn run(request: DuelRequest) -> DuelResult {
    let thread = Thread::start(move || {
        let mut result = DuelResult {
            rounds: 0,
            outcomes: 0,
            faulted: 0,
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
        faulted: 0,
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
    let faults = match request.faults {
        true => Some(
            Faults::find()
                .ok_or_else(|| Trouble::NotPossible(String::from("failing chosen kernel calls")))?,
        ),
        false => None,
    };
    let mut calm = 0;
    for number in 0..request.rounds.saturating_add(WARM_UP) {
        let schedules = number >= WARM_UP;
        if schedules && before.is_none() {
            before = sim::engine_account();
        }
        let faults = faults.as_ref().filter(|_| schedules);
        // Threads that are started together run in whatever order the host likes: under faults, every second round gives each
        // part the time to make its calls.
        let start = match faults {
            Some(_) if number % 2 == 1 => Start::OneByOne,
            _ => Start::Together,
        };
        let Some((outcome, hit)) = round(duel, &crew, &mut stage, schedules, start, faults)? else {
            break;
        };
        if schedules {
            let balance = || same("what the engine holds", sim::engine_account(), before);
            if hit { settled(balance) } else { balance() }?;
            result.faulted = result.faulted.saturating_add(u32::from(hit));
            result.rounds = result.rounds.saturating_add(1);
            if !outcomes.contains(&outcome) {
                outcomes.push(outcome);
            }
            result.outcomes = u32::try_from(outcomes.len()).unwrap_or(u32::MAX);
        }
        calm = if hit { 0 } else { calm + 1 };
        if faults.is_some() && calm >= CALM {
            break;
        }
    }
    Ok(())
}

/// What the parts answered and the counts, and whether a call was made to fail.
type Played = (([i32; MOST], [usize; COUNTS]), bool);

/// One round; nothing if the kernel has no schedule for it.
fn round(
    duel: &Duel,
    crew: &Crew,
    stage: &mut Stage,
    schedules: bool,
    start: Start,
    faults: Option<&Faults>,
) -> Outcome<Option<Played>> {
    runner::clean()?;
    stage.set(duel.built, duel.more)?;
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
    if let Some(faults) = faults {
        faults.arm(Pick::NewStack);
    }
    let answers = crew.play(duel.parts, stage, order, start);
    let ended = time::now();
    sim::end_schedule();
    if order == Order::Chosen && !duel.more {
        // The transport answers everything, so that nothing has to be given up after a time.
        same("the time at the end", ended, began)?;
    }
    // What is still under way (handles that are closed in other threads) comes to its end.
    pause();
    let hit = faults.is_some_and(Faults::was_hit);
    if let Some(faults) = faults {
        faults.disarm();
    }
    let seen = Seen {
        answers,
        counts: stage.counts(),
        stage,
    };
    let outcome = (seen.answers, seen.counts);
    // Where nobody chose the order, the part that answers for the transport can come between the arrival of a request and the
    // moment from which the transport holds it; and with a fault it may end in other ways, too.
    if order == Order::Chosen && !hit {
        (duel.judge)(&seen).map_err(|trouble| told(trouble, &outcome))?;
    }
    stage.fixture.clear()?;
    pause();
    runner::nothing_left()?;
    Ok(Some((outcome, hit)))
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
