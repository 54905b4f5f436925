//! Benches: what the shipped image costs, measured by `bench.sys` in ntsim with its checks off.
//!
//! [`machine`] boots and talks to the driver, [`contests`], [`counts`], [`loopback`], [`circuits`], [`memory`] and [`image`] fill
//! rows, [`report`] prints them and writes them as JSON, [`page`] as HTML. A new subject is a module that returns rows.

pub mod circuits;
pub mod contests;
pub mod counts;
pub mod image;
pub mod loopback;
pub mod machine;
pub mod memory;
pub mod page;
mod placement;
mod plot;
pub mod report;
mod sockets;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use self::{machine::Machine, report::Report};

/// What to measure.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// Directory of rxce.sys and bench.sys.
    #[arg(long)]
    pub images: PathBuf,
    /// Where the figures go.
    #[arg(long)]
    pub json: PathBuf,
    /// Where the page with the plots goes.
    #[arg(long)]
    pub html: PathBuf,
    /// How many rounds; each one goes through everything.
    #[arg(long, default_value_t = 7)]
    pub rounds: u32,
    /// The largest number of circuits.
    #[arg(long, default_value_t = 100_000)]
    pub circuits: u32,
    /// A little of everything: whether it works, not what it costs.
    #[arg(long)]
    pub quick: bool,
    /// Says which functions and kernel routines the counts are made of.
    #[arg(long)]
    pub profile: bool,
    /// Measures this alone; may be given several times.
    #[arg(long, value_name = "SUBJECT")]
    pub only: Vec<Subject>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// What ntsim's border costs.
    Border,
    /// Both clients over the null transport.
    Null,
    /// Instructions and kernel calls.
    Counts,
    /// A circuit's life over loopback TCP.
    Cycle,
    /// Requests and answers over loopback TCP.
    Echo,
    /// Bytes of a second over loopback TCP.
    Stream,
    /// Operations while many circuits are alive.
    Circuits,
    /// Memory of a circuit.
    Memory,
    /// Size of the image.
    Image,
}

/// How much is done.
pub struct Effort {
    rounds: u32,
    /// Batches of a measurement.
    batches: u32,
    /// Connections of a round, for each client.
    connects: u32,
    /// Requests of a round.
    requests: u32,
    /// Bytes of a stream, unless the number of its sends would be too small or too large.
    volume: u32,
    /// Streams of a round, for each client.
    turns: u32,
    /// Lengths of the streams' sends.
    sizes: Vec<u32>,
    /// Numbers of circuits of the streams.
    streams: Vec<u32>,
    /// Numbers of circuits that are alive.
    alive: Vec<u32>,
}

impl Effort {
    fn of(options: &Options) -> Self {
        let alive = |numbers: &[u32]| {
            let allowed = numbers.iter().copied();
            allowed.filter(|&size| size <= options.circuits).collect()
        };
        if options.quick {
            return Self {
                rounds: 2,
                batches: 10,
                connects: 3,
                requests: 20,
                volume: 256 * 1024,
                turns: 2,
                sizes: vec![1 << 10, 1 << 16],
                streams: vec![1, 4],
                alive: alive(&[100, 1_000]),
            };
        }
        Self {
            rounds: options.rounds,
            batches: 200,
            connects: 50,
            requests: 4_000,
            volume: 16 << 20,
            turns: 10,
            sizes: (10..=20).step_by(2).map(|power| 1 << power).collect(),
            streams: vec![1, 4, 16],
            alive: alive(&[100, 1_000, 10_000, 100_000]),
        }
    }
}

/// Measures everything, prints a table and writes the figures.
///
/// # Errors
///
/// Missing images, failures of the drivers, and figures that cannot be written.
pub fn run(options: &Options) -> Result<Report> {
    let effort = Effort::of(options);
    let wanted = |subject| options.only.is_empty() || options.only.contains(&subject);
    let machine = Machine::boot(&options.images)?;
    let mut report = Report::default();
    if wanted(Subject::Border) {
        report.rows(contests::border(&machine, &effort)?);
    }
    if wanted(Subject::Null) {
        report.rows(contests::rows(&machine, &effort)?);
    }
    let counts = if wanted(Subject::Counts) {
        counts::take(&machine)?
    } else {
        Vec::new()
    };
    report.rows(counts::rows(&counts));
    report.rows(loopback::rows(&machine, &effort, wanted)?);
    if wanted(Subject::Circuits) {
        report.rows(circuits::rows(&machine, &effort.alive, &effort)?);
    }
    if wanted(Subject::Memory) {
        report.rows(memory::rows(&machine, &effort.alive)?);
    }
    if wanted(Subject::Image) {
        report.rows(image::rows(&options.images.join("rxce.sys"))?);
    }
    machine.shut_down()?;
    print!("{report}");
    if options.profile {
        counts::print(&counts);
    }
    report.write(&options.json)?;
    page::write(&report, &options.html)?;
    Ok(report)
}
