//! Connects and disconnects, again and again.

use alloc::format;

use serde::Serialize;

use crate::{ExitCode, Probe, Problem, System, arguments::Server, json, session};

#[derive(Serialize)]
struct Document {
    command: &'static str,
    cycles: u32,
    connect_microseconds: Span,
    disconnect_microseconds: Span,
}

/// How long something took, over and over.
#[derive(Serialize)]
struct Span {
    least: u64,
    mean: u64,
    most: u64,
    #[serde(skip)]
    sum: u64,
    #[serde(skip)]
    count: u64,
}

impl Span {
    const fn new() -> Self {
        Self {
            least: u64::MAX,
            mean: 0,
            most: 0,
            sum: 0,
            count: 0,
        }
    }

    fn add(&mut self, microseconds: u64) {
        self.least = self.least.min(microseconds);
        self.most = self.most.max(microseconds);
        self.sum = self.sum.saturating_add(microseconds);
        self.count = self.count.saturating_add(1);
        self.mean = self.sum.checked_div(self.count).unwrap_or_default();
    }
}

/// Builds transport, address, connection and circuit, attaches, and takes all of it down: so many times.
pub(crate) fn run<S: System>(
    system: &mut S,
    server: &Server<'_>,
    count: u32,
    as_json: bool,
) -> Result<ExitCode, Problem> {
    let probe = Probe::open(system)?;
    let ip = system.resolve(server.host)?;
    let (mut connects, mut disconnects) = (Span::new(), Span::new());
    for cycle in 1..=count {
        let during = |problem: Problem| problem.during(&format!("cycle {cycle} of {count}"));
        let began = system.microseconds();
        session::connect(&probe, server, ip).map_err(during)?;
        let connected = system.microseconds();
        session::disconnect(&probe).map_err(during)?;
        let gone = system.microseconds();
        connects.add(connected.saturating_sub(began));
        disconnects.add(gone.saturating_sub(connected));
    }
    if as_json {
        json::print(
            system,
            &Document {
                command: "cycles",
                cycles: count,
                connect_microseconds: connects,
                disconnect_microseconds: disconnects,
            },
        )?;
    } else {
        system.print(&format!("{count} cycles\n"))?;
        for (what, span) in [("connect", connects), ("disconnect", disconnects)] {
            system.print(&format!(
                "{what:<10}  {} µs at least, {} µs on average, {} µs at most\n",
                span.least, span.mean, span.most
            ))?;
        }
    }
    Ok(ExitCode::Done)
}
