//! Tells what was counted.

use alloc::format;

use p9probe_ioctl::{Counters, EngineCounters, Statistics};
use serde::{Serialize, Serializer};

use crate::{ExitCode, Probe, Problem, System, json};

#[derive(Serialize)]
struct Document {
    command: &'static str,
    /// Of p9probe.sys, since it was loaded.
    #[serde(serialize_with = "client")]
    client: Statistics,
    /// Of the engine, for the session that there is.
    engine: Option<Engine>,
}

#[derive(Serialize)]
struct Engine {
    #[serde(serialize_with = "structure")]
    transport: EngineCounters,
    #[serde(serialize_with = "structure")]
    address: EngineCounters,
    #[serde(serialize_with = "structure")]
    connection: EngineCounters,
    #[serde(serialize_with = "structure")]
    circuit: EngineCounters,
}

fn client<S: Serializer>(statistics: &Statistics, serializer: S) -> Result<S::Ok, S::Error> {
    json::numbers(statistics.named(), serializer)
}

fn structure<S: Serializer>(counters: &EngineCounters, serializer: S) -> Result<S::Ok, S::Error> {
    json::numbers(counters.named(), serializer)
}

/// Prints the counters of p9probe.sys, and those of the engine if there is a session.
pub(crate) fn run<S: System>(system: &mut S, as_json: bool) -> Result<ExitCode, Problem> {
    let probe = Probe::open(system)?;
    let client = probe.statistics()?;
    let engine = probe.counters()?;
    if as_json {
        let engine = engine.map(
            |Counters {
                 transport,
                 address,
                 connection,
                 circuit,
             }| Engine {
                transport,
                address,
                connection,
                circuit,
            },
        );
        json::print(
            system,
            &Document {
                command: "counters",
                client,
                engine,
            },
        )?;
        return Ok(ExitCode::Done);
    }
    system.print("p9probe.sys, since it was loaded\n")?;
    print(system, client.named())?;
    match engine {
        None => system.print("no session: the engine has nothing to tell\n")?,
        Some(counters) => {
            for (what, counters) in counters.named() {
                system.print(&format!("the engine, {what}\n"))?;
                print(system, counters.named())?;
            }
        }
    }
    Ok(ExitCode::Done)
}

fn print<S: System>(
    system: &mut S,
    numbers: impl Iterator<Item = (&'static str, u64)>,
) -> Result<(), Problem> {
    for (name, number) in numbers {
        system.print(&format!("  {:<24} {number:>12}\n", name.replace('_', " ")))?;
    }
    Ok(())
}
