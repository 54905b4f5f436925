//! Threads that wait for a part, play it, and wait for the next: new ones for each round would cost more than the round.

use alloc::{boxed::Box, vec::Vec};

use super::{
    parts,
    stage::{Part, Stage},
};
use crate::{
    nt::{sim::Order, thread::Thread, time, watch::Watch},
    outcome::{Outcome, Trouble},
};

/// Most parts of a duel.
pub(super) const MOST: usize = 3;

#[derive(Clone, Copy)]
enum Job {
    None,
    Play(Part, Shared),
    Played(i32),
    Leave,
}

/// A stage that outlives the part.
#[derive(Clone, Copy)]
struct Shared(*const Stage);

// SAFETY: What the stage holds may be used from several threads, and `play` waits for the parts before the stage goes.
unsafe impl Send for Shared {}

/// How the parts of a round begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Together,
    /// Each when the one before it has come as far as it can.
    OneByOne,
}

/// Lets everybody else run until nobody can.
pub(super) fn pause() {
    static NEVER: Watch<()> = Watch::new(());
    NEVER.wait_until(time::SECOND, |()| false);
}

/// The threads.
pub(super) struct Crew {
    // Dropped before what they use.
    threads: Vec<Thread<'static, ()>>,
    desks: Box<[Watch<Job>; MOST]>,
}

#[derive(Clone, Copy)]
struct Desk(*const Watch<Job>);

// SAFETY: A watch may be used from any thread; `Crew` joins the threads before it frees them.
unsafe impl Send for Desk {}

impl Crew {
    /// Starts the threads.
    pub(super) fn new() -> Outcome<Self> {
        let mut crew = Self {
            threads: Vec::new(),
            desks: Box::new([const { Watch::new(Job::None) }; MOST]),
        };
        for desk in &*crew.desks {
            let desk = Desk(desk);
            crew.threads.push(Thread::start(move || serve(desk))?);
        }
        Ok(crew)
    }

    /// Plays the parts; what each returned.
    ///
    /// Where nobody chose the order, the part that answers for the transport can come between the arrival of a request and
    /// the moment from which the transport holds it: when nothing has gone on for a while, it answers again.
    pub(super) fn play(
        &self,
        played: &[Part],
        stage: &Stage,
        order: Order,
        start: Start,
    ) -> [i32; MOST] {
        let patience = match order {
            // Without a limit: the stage must not go before them, and a hang is best seen where it is.
            Order::Chosen | Order::NoneLeft => time::FOREVER,
            Order::Free => time::SECOND,
        };
        for (desk, &part) in self.desks.iter().zip(played) {
            desk.update(|job| *job = Job::Play(part, Shared(stage)));
            if start == Start::OneByOne {
                pause();
            }
        }
        let mut answers = [0; MOST];
        for ((desk, answer), _) in self.desks.iter().zip(&mut answers).zip(played) {
            while !desk.wait_until(patience, |job| matches!(job, Job::Played(_))) {
                parts::answer(stage);
            }
            desk.update(|job| {
                if let Job::Played(result) = *job {
                    *answer = result;
                }
                *job = Job::None;
            });
        }
        answers
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for desk in &*self.desks {
            desk.update(|job| *job = Job::Leave);
        }
        // Joins them.
        self.threads.clear();
    }
}

fn serve(desk: Desk) {
    let Desk(desk) = desk;
    // SAFETY: `Crew` joins this thread before it frees the desks.
    let desk = unsafe { &*desk };
    loop {
        let wanted = |job: &Job| matches!(job, Job::Play(..) | Job::Leave);
        desk.wait_until(time::FOREVER, wanted);
        match desk.read(|job| *job) {
            Job::Play(part, Shared(stage)) => {
                // SAFETY: `play` waits until this part has been played.
                let played = part(unsafe { &*stage });
                desk.update(|job| *job = Job::Played(played));
            }
            Job::Leave => return,
            Job::None | Job::Played(_) => {}
        }
    }
}

/// No memory for the test itself.
pub(super) fn no_memory() -> Trouble {
    Trouble::no_memory()
}
