//! Duels: two or three things that happen to one circuit, or to a structure and what is built on it, at the same time, judged by what
//! rxce.md §4.3 and the rules of the tear-downs allow.
//!
//! Each round builds the stack, lets the parts go at once, each in a thread of its own, judges the outcome, and takes the
//! stack down. Where the kernel offers schedules (`NtsimExplore`) the race runs under each of them; elsewhere it just runs.
//! `crew` is the threads, `parts` what they do (`racy`: with a defect on purpose), `table` which parts meet and how they may end, `rounds` the loop.

mod crew;
mod parts;
mod racy;
mod rounds;
mod stage;
mod table;

pub(crate) use rounds::run;
