//! Threads that wait for a part, play it, and wait for the next: new ones for each round would cost more than the round.

use alloc::{boxed::Box, vec::Vec};

use super::stage::{Part, Stage};
use crate::{
    nt::{thread::Thread, time, watch::Watch},
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

    /// Plays the parts, all at once; what each returned.
    pub(super) fn play(&self, parts: &[Part], stage: &Stage) -> [i32; MOST] {
        for (desk, &part) in self.desks.iter().zip(parts) {
            desk.update(|job| *job = Job::Play(part, Shared(stage)));
        }
        let mut answers = [0; MOST];
        for ((desk, answer), _) in self.desks.iter().zip(&mut answers).zip(parts) {
            // Without a limit: the stage must not go before them, and a hang is best seen where it is.
            desk.wait_until(time::FOREVER, |job| matches!(job, Job::Played(_)));
            desk.update(|job| {
                if let Job::Played(played) = *job {
                    *answer = played;
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
