//! The engine against the clients written by hand, over transports without a network, and what ntsim itself costs.

use anyhow::Result;
use bench_ioctl::{Contest, Provider, Rival};

use super::{
    Effort,
    machine::{Columns, Machine},
    report::{Row, median},
};

/// What a row of the hand-written client is called.
pub(super) const FLOOR: &str = "by hand";
/// And one of the client that makes, by hand, every call of the kernel that the engine's contract prescribes.
pub(super) const PRESCRIBED: &str = "by hand, as prescribed";

/// What a rival's rows are called, and what is said of the engine's that were measured in turn with it.
pub(super) const fn titles(rival: Rival) -> (&'static str, &'static str) {
    match rival {
        Rival::ByHand => (FLOOR, ""),
        Rival::Prescribed => (PRESCRIBED, ", in turn with the contract"),
    }
}

/// A figure of the engine and a rival: one of each round.
#[derive(Default)]
pub(super) struct Both {
    engine: Vec<f64>,
    floor: Vec<f64>,
}

impl Both {
    pub(super) fn note(&mut self, columns: &Columns, figure: usize, figures: usize) {
        let column = |index: usize| median(columns.get(index).map_or(&[], Vec::as_slice));
        self.engine.push(column(figure));
        self.floor.push(column(figures + figure));
    }

    fn sum(parts: &[Self]) -> Self {
        let add = |of: fn(&Self) -> &Vec<f64>| {
            let rounds = parts.first().map_or(0, |part| of(part).len());
            (0..rounds)
                .map(|round| parts.iter().filter_map(|part| of(part).get(round)).sum())
                .collect()
        };
        Self {
            engine: add(|part| &part.engine),
            floor: add(|part| &part.floor),
        }
    }

    fn scaled(&self, scale: f64) -> Self {
        let scaled = |ticks: &[f64]| ticks.iter().map(|ticks| ticks * scale).collect();
        Self {
            engine: scaled(&self.engine),
            floor: scaled(&self.floor),
        }
    }

    fn rows(
        &self,
        subject: &str,
        name: &str,
        rival: Rival,
        scale: f64,
        aim: Option<&'static str>,
    ) -> [Row; 2] {
        let (whom, turns) = titles(rival);
        let name = format!("{name}{turns}");
        let [mut engine, floor] = self.scaled(scale).against(subject, &name, "ns", whom);
        engine.aim = aim;
        [engine, floor]
    }

    /// The figures as they are.
    pub(super) fn counts(self, subject: &str, name: &str, unit: &'static str) -> [Row; 2] {
        self.against(subject, name, unit, FLOOR)
    }

    fn against(self, subject: &str, name: &str, unit: &'static str, whom: &str) -> [Row; 2] {
        let floor = Row::samples(subject, &format!("{name}, {whom}"), unit, self.floor);
        let engine = Row::samples(subject, name, unit, self.engine).against(&floor, whom);
        [engine, floor]
    }
}

/// The names of a cycle's parts.
pub(super) const PARTS: [&str; 3] = ["disconnect", "tear-down", "build"];

/// A cycle of one circuit, against a rival: its parts and the whole.
pub(super) struct Cycle {
    rival: Rival,
    parts: [Both; 3],
}

impl Cycle {
    pub(super) fn new(rival: Rival) -> Self {
        Self {
            rival,
            parts: [Both::default(), Both::default(), Both::default()],
        }
    }

    pub(super) fn measure(&mut self, machine: &Machine, batches: u32, each: u32) -> Result<()> {
        let columns = machine.contest_with(self.rival, Contest::Cycle, batches, each)?;
        for (figure, part) in self.parts.iter_mut().enumerate() {
            part.note(&columns, figure, 3);
        }
        Ok(())
    }

    pub(super) fn rows(&self, subject: &str, scale: f64, aim: Option<&'static str>) -> Vec<Row> {
        let parts = self.parts.iter().zip(PARTS);
        let parts =
            parts.flat_map(|(part, name)| part.rows(subject, name, self.rival, scale, None));
        let whole = Both::sum(&self.parts);
        let whole = whole.rows(subject, "whole cycle", self.rival, scale, aim);
        parts.chain(whole).collect()
    }
}

/// Measures.
///
/// # Errors
///
/// Failures of the drivers.
pub fn rows(machine: &Machine, effort: &Effort) -> Result<Vec<Row>> {
    let (mut send, mut prescribed) = (Both::default(), Both::default());
    let (mut pended, mut prescribed_pended) = (Both::default(), Both::default());
    let mut threads = [Rival::ByHand, Rival::Prescribed].map(Threads::new);
    let mut cycle = Cycle::new(Rival::ByHand);
    let mut prescribed_cycle = Cycle::new(Rival::Prescribed);
    let batches = effort.batches;
    for _ in 0..effort.rounds {
        machine.pair(Provider::Null, 100)?;
        send.note(&machine.contest(Contest::Send, batches, 50)?, 0, 1);
        let columns = machine.contest_with(Rival::Prescribed, Contest::Send, batches, 50)?;
        prescribed.note(&columns, 0, 1);
        cycle.measure(machine, batches, 5)?;
        prescribed_cycle.measure(machine, batches, 5)?;
        for threads in &mut threads {
            threads.measure(machine, batches / 10)?;
        }
        machine.pair(Provider::Pending, 100)?;
        let columns = machine.contest(Contest::PendedSend, batches, 50)?;
        pended.note(&columns, 0, 1);
        let columns = machine.contest_with(Rival::Prescribed, Contest::PendedSend, batches, 50)?;
        prescribed_pended.note(&columns, 0, 1);
    }
    machine.part()?;
    let scale = machine.nanoseconds_per_tick();
    let subject = "null transport";
    let mut rows = Vec::new();
    let aim = "at most 5 % and 50 ns more";
    rows.extend(send.rows(subject, "send", Rival::ByHand, scale, Some(aim)));
    rows.extend(prescribed.rows(subject, "send", Rival::Prescribed, scale, None));
    rows.extend(pended.rows(subject, "send, pended", Rival::ByHand, scale, Some(aim)));
    rows.extend(prescribed_pended.rows(subject, "send, pended", Rival::Prescribed, scale, None));
    rows.extend(cycle.rows(subject, scale, Some("at most 10 % more")));
    rows.extend(prescribed_cycle.rows(subject, scale, None));
    for threads in threads {
        rows.extend(threads.rows());
    }
    Ok(rows)
}

/// How many times as much two threads do as one, by the engine and by a rival.
struct Threads {
    rival: Rival,
    one: Both,
    two: Both,
}

impl Threads {
    fn new(rival: Rival) -> Self {
        Self {
            rival,
            one: Both::default(),
            two: Both::default(),
        }
    }

    fn measure(&mut self, machine: &Machine, batches: u32) -> Result<()> {
        let columns = machine.contest_with(self.rival, Contest::Threads, batches, 2_000)?;
        self.one.note(&columns, 0, 2);
        self.two.note(&columns, 1, 2);
        Ok(())
    }

    fn rows(self) -> [Row; 2] {
        let gain = |one: &[f64], two: &[f64]| {
            let pairs = one.iter().zip(two);
            pairs.map(|(one, two)| 2.0 * one / two).collect()
        };
        let (whom, turns) = titles(self.rival);
        let gains = Both {
            engine: gain(&self.one.engine, &self.two.engine),
            floor: gain(&self.one.floor, &self.two.floor),
        };
        let subject = "two threads on disjoint circuits";
        let [mut engine, floor] = gains.against(subject, &format!("sends{turns}"), "times", whom);
        if self.rival == Rival::ByHand {
            engine.aim = Some("at least 1.8 times one thread");
        }
        [engine, floor]
    }
}

/// What ntsim's border costs when its rules are off.
///
/// # Errors
///
/// Failures of the drivers.
pub fn border(machine: &Machine, effort: &Effort) -> Result<Vec<Row>> {
    const ROWS: [(&str, Option<&str>); 4] = [
        ("an empty export, called by the host", Some("under 20 ns")),
        (
            "an empty kernel routine, called by a driver",
            Some("under 20 ns"),
        ),
        ("an empty export, called by a driver", None),
        ("a pended request's round trip", Some("under 2 µs")),
    ];
    let mut samples = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.rounds {
        let calls = machine.empty_calls(effort.batches, 200)?;
        let columns = machine.without_clients(effort.batches, 200)?;
        for (samples, column) in samples.iter_mut().zip([calls].iter().chain(&columns)) {
            samples.push(median(column));
        }
    }
    let scale = machine.nanoseconds_per_tick();
    let rows = samples.into_iter().zip(ROWS).map(|(samples, (name, aim))| {
        let nanoseconds = samples.iter().map(|ticks| ticks * scale).collect();
        let mut row = Row::samples("ntsim, all rules off", name, "ns", nanoseconds);
        row.aim = aim;
        row
    });
    Ok(rows.collect())
}
