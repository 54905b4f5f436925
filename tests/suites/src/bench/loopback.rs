//! The engine, the hand-written client and plain sockets over the host's loopback.

use anyhow::Result;
use bench_ioctl::{Contest, Provider, Rival};

use super::{
    Effort, Subject,
    contests::{Both, Cycle, FLOOR, titles},
    machine::Machine,
    placement::Apart,
    report::{Row, median, quantile},
    sockets::{self, Manner},
};

/// What a row of plain sockets is called.
const PLAIN: &str = "plain sockets";

/// Cycles of each client that are counted in a round; the median counts.
const COUNTED_CYCLES: u32 = 25;

/// Measures what is wanted over loopback.
///
/// # Errors
///
/// Failures of the drivers and of the host.
pub fn rows(
    machine: &Machine,
    effort: &Effort,
    wanted: impl Fn(Subject) -> bool,
) -> Result<Vec<Row>> {
    let (sink, echo) = (
        sockets::serve(Manner::Swallow, None)?,
        sockets::serve(Manner::Echo, None)?,
    );
    let mut rows = Vec::new();
    if wanted(Subject::Cycle) {
        rows.extend(cycles(machine, effort, sink)?);
    }
    if wanted(Subject::Echo) {
        rows.extend(latencies(machine, effort, echo)?);
    }
    if wanted(Subject::Stream) {
        rows.extend(streams(machine, effort)?);
    }
    machine.part()?;
    Ok(rows)
}

fn cycles(machine: &Machine, effort: &Effort, port: u16) -> Result<Vec<Row>> {
    let subject = "loopback TCP, one circuit";
    let mut cycle = Cycle::new(Rival::ByHand);
    let mut prescribed = Cycle::new(Rival::Prescribed);
    let (mut sleeps, mut switches) = (Both::default(), Both::default());
    let mut plain = Vec::new();
    for _ in 0..effort.rounds {
        machine.pair(Provider::Tcp(port), 1)?;
        cycle.measure(machine, effort.connects, 1)?;
        prescribed.measure(machine, effort.connects, 1)?;
        let columns = machine.contest(Contest::Sleeps, COUNTED_CYCLES, 1)?;
        sleeps.note(&columns, 0, 2);
        switches.note(&columns, 1, 2);
        let times: Result<Vec<f64>, _> =
            (0..effort.connects).map(|_| sockets::cycle(port)).collect();
        plain.push(median(&times?));
    }
    let scale = machine.nanoseconds_per_tick();
    let mut rows = cycle.rows(subject, scale, Some("at most 5 % more"));
    rows.extend(prescribed.rows(subject, scale, None));
    rows.push(Row::samples(
        subject,
        &format!("whole cycle, {PLAIN}"),
        "ns",
        plain,
    ));
    let subject = "loopback TCP, a whole cycle";
    rows.extend(sleeps.counts(subject, "waits that sleep", "times"));
    rows.extend(switches.counts(subject, "context switches", "times"));
    Ok(rows)
}

/// Latencies of requests and answers of 64 bytes.
fn latencies(machine: &Machine, effort: &Effort, port: u16) -> Result<Vec<Row>> {
    const PARTS: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
    let mut rounds: Vec<[Vec<f64>; 3]> = Vec::new();
    machine.pair(Provider::Tcp(port), 1)?;
    for _ in 0..effort.rounds {
        let columns = machine.contest(Contest::Echo, effort.requests, 1)?;
        let plain = sockets::echoes(port, 64, effort.requests)?;
        let mut columns = columns.into_iter();
        let mut next = || columns.next().unwrap_or_default();
        rounds.push([next(), next(), plain]);
    }
    let scale = machine.nanoseconds_per_tick();
    let of = |client: usize, part: f64, scale: f64| -> Vec<f64> {
        let samples = rounds.iter().filter_map(|round| round.get(client));
        samples
            .map(|samples| quantile(samples, part) * scale / 1_000.0)
            .collect()
    };
    let rows = PARTS.into_iter().flat_map(|(name, part)| {
        let row = |client: &str, samples| {
            let subject = "64 bytes and an answer, loopback TCP";
            Row::samples(subject, &format!("{name}{client}"), "µs", samples)
        };
        let plain = row(&format!(", {PLAIN}"), of(2, part, 1.0));
        let floor = row(&format!(", {FLOOR}"), of(1, part, scale)).against(&plain, PLAIN);
        let engine = row("", of(0, part, scale))
            .against(&floor, FLOOR)
            .against(&plain, PLAIN);
        [engine, floor, plain]
    });
    Ok(rows.collect())
}

/// Bytes of a second. The clients take turns of a few milliseconds, so that whatever else the host does falls on all of them.
fn streams(machine: &Machine, effort: &Effort) -> Result<Vec<Row>> {
    let apart = Apart::begin()?;
    let port = sockets::serve(Manner::Swallow, Some(apart.servers()))?;
    let mut rows = Vec::new();
    for circuits in effort.streams.iter().copied() {
        for bytes in effort.sizes.iter().copied() {
            let sends = (effort.volume / bytes).clamp(4 * circuits, 4_000);
            let stream = [bytes, circuits, sends, effort.turns];
            let mut floor = Stream::new(Rival::ByHand, stream);
            let mut contract = Stream::new(Rival::Prescribed, stream);
            let mut plain = Rates::default();
            for _ in 0..effort.rounds {
                // What the host gives a connection, it keeps; another one may be a tenth faster.
                machine.pair(Provider::Tcp(port), circuits)?;
                let mut sockets = sockets::open(port, circuits)?;
                let engine = floor.measure(machine)?;
                let times: Result<Vec<f64>> = (0..effort.turns)
                    .map(|_| Ok(sockets::stream(&mut sockets, bytes, sends)?.as_nanos() as f64))
                    .collect();
                plain.note(&stream, &engine, &times?);
                contract.measure(machine)?;
            }
            let plain_row = floor.row(PLAIN, plain.rates);
            let [engine, by_hand] = floor.rows();
            let mut engine = engine.ratio(PLAIN, &plain.engine_of_it);
            if bytes >= 16 * 1024 {
                engine = engine.aim("at least 0.98 of by hand");
            }
            rows.extend([engine, by_hand.against(&plain_row, PLAIN), plain_row]);
            rows.extend(contract.rows());
        }
    }
    Ok(rows)
}

/// Streams of one size on so many circuits, by the engine and a rival in turn.
struct Stream {
    rival: Rival,
    /// Bytes of a send, circuits, sends, turns.
    stream: [u32; 4],
    engine: Vec<f64>,
    other: Rates,
}

/// Megabytes of a second in each round, and what the engine's, turn by turn, are of them.
#[derive(Default)]
struct Rates {
    rates: Vec<f64>,
    engine_of_it: Vec<f64>,
}

impl Rates {
    /// Notes a round: nanoseconds of the engine's turns, and of its own.
    fn note(&mut self, stream: &[u32; 4], engine: &[f64], own: &[f64]) {
        self.rates.push(rate(stream, own));
        let pairs = own.iter().zip(engine);
        let pairs: Vec<f64> = pairs.map(|(own, engine)| own / engine).collect();
        self.engine_of_it.push(median(&pairs));
    }
}

/// Megabytes of a second in a round with turns of so many nanoseconds.
fn rate([bytes, _, sends, _]: &[u32; 4], turns: &[f64]) -> f64 {
    // Bytes in a nanosecond are gigabytes in a second.
    f64::from(*bytes) * f64::from(*sends) / median(turns) * 1_000.0
}

impl Stream {
    const fn new(rival: Rival, stream: [u32; 4]) -> Self {
        Self {
            rival,
            stream,
            engine: Vec::new(),
            other: Rates {
                rates: Vec::new(),
                engine_of_it: Vec::new(),
            },
        }
    }

    /// Runs a round; nanoseconds of the engine's turns.
    fn measure(&mut self, machine: &Machine) -> Result<Vec<f64>> {
        let scale = machine.nanoseconds_per_tick();
        let columns = machine.stream(self.rival, self.stream)?;
        let mut columns = columns.into_iter();
        let mut next = || -> Vec<f64> {
            let ticks = columns.next().unwrap_or_default();
            ticks.into_iter().map(|ticks| ticks * scale).collect()
        };
        let (engine, other) = (next(), next());
        self.engine.push(rate(&self.stream, &engine));
        self.other.note(&self.stream, &engine, &other);
        Ok(engine)
    }

    fn row(&self, name: &str, samples: Vec<f64>) -> Row {
        let [bytes, circuits, ..] = self.stream;
        Row::samples("bytes sent, loopback TCP", name, "MB/s", samples)
            .circuits(circuits)
            .bytes(bytes)
    }

    /// The engine's, against the rival's, and the rival's.
    fn rows(&self) -> [Row; 2] {
        let (whom, turns) = titles(self.rival);
        let engine = self.row(&format!("engine{turns}"), self.engine.clone());
        [
            engine.ratio(whom, &self.other.engine_of_it),
            self.row(whom, self.other.rates.clone()),
        ]
    }
}
