//! Instructions and kernel calls, the same in each run.

use anyhow::Result;
use bench_ioctl::{Provider, Rival, Side, Step};
use ntsim::count::Count;

use super::{
    contests::{FLOOR, PRESCRIBED},
    machine::Machine,
    report::Row,
};

/// One step of a circuit's life.
pub struct Counted {
    name: &'static str,
    /// `rxce.sys` in the engine's run, `bench.sys` in the engine's run, `bench.sys` in the hand-written client's.
    engine: Count,
    around: Count,
    floor: Count,
    /// `bench.sys` again, when it does by hand what the engine's contract prescribes.
    prescribed: Count,
}

impl Counted {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Instructions and kernel calls of the engine.
    #[must_use]
    pub fn engine(&self) -> [u64; 2] {
        [self.engine.all_instructions(), self.engine.all_calls()]
    }

    /// The same of the hand-written client.
    #[must_use]
    pub fn floor(&self) -> [u64; 2] {
        self.without_the_rest(&self.floor)
    }

    /// The same of what is prescribed.
    #[must_use]
    pub fn prescribed(&self) -> [u64; 2] {
        self.without_the_rest(&self.prescribed)
    }

    /// The engine's and those by hand: of instructions, or of kernel calls.
    fn rows(&self, which: usize) -> [Row; 3] {
        let unit = ["instructions", "kernel calls"][which];
        let row = |name: &str, number: u64| {
            Row::number("driver code, null transport", name, unit, number as f64)
        };
        let by_hand =
            |whom: &str, figures: [u64; 2]| row(&format!("{}, {whom}", self.name), figures[which]);
        let floor = by_hand(FLOOR, self.floor());
        let prescribed = by_hand(PRESCRIBED, self.prescribed());
        let engine = row(self.name, self.engine()[which]).against(&floor, FLOOR);
        [engine, floor, prescribed]
    }

    fn without_the_rest(&self, count: &Count) -> [u64; 2] {
        let of = |number: fn(&Count) -> u64| number(count).saturating_sub(number(&self.around));
        [of(Count::all_instructions), of(Count::all_calls)]
    }
}

/// Counts.
///
/// # Errors
///
/// Failures of the drivers.
pub fn take(machine: &Machine) -> Result<Vec<Counted>> {
    const STEPS: [(&str, Step); 4] = [
        ("send", Step::Send),
        ("disconnect", Step::Disconnect),
        ("tear-down", Step::TearDown),
        ("build", Step::Build),
    ];
    machine.pair(Provider::Null, 1)?;
    let counted = STEPS.map(|(name, step)| {
        let [engine, around] = machine.count(Side::Engine, step)?;
        let [_, floor] = machine.count(Side::Rival(Rival::ByHand), step)?;
        let [_, prescribed] = machine.count(Side::Rival(Rival::Prescribed), step)?;
        Ok(Counted {
            name,
            engine,
            around,
            floor,
            prescribed,
        })
    });
    let counted = counted.into_iter().collect();
    machine.part()?;
    counted
}

/// As rows.
#[must_use]
pub fn rows(counted: &[Counted]) -> Vec<Row> {
    let rows = counted
        .iter()
        .flat_map(|step| [0, 1].into_iter().flat_map(|which| step.rows(which)));
    rows.collect()
}

/// Prints what the counts are made of.
pub fn print(counted: &[Counted]) {
    for step in counted {
        for (who, count) in [
            ("rxce.sys", &step.engine),
            ("bench.sys around it", &step.around),
            ("bench.sys by hand", &step.floor),
            ("bench.sys as prescribed", &step.prescribed),
        ] {
            println!("\n{}, {who}", step.name);
            let mut functions: Vec<_> = count.instructions.iter().collect();
            functions.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
            for (function, number) in functions {
                println!("  {number:>6} {function}");
            }
            for (routine, number) in &count.calls {
                println!("  {number:>6} calls of {routine}");
            }
        }
    }
}
