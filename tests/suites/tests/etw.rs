//! The events of rxce.sys for Event Tracing for Windows: who listens gets the life of a circuit, and nobody else pays for it. docs/tracing.md
//! has the list.
//!
//! Each scenario is a machine of its own. They need the driver images (`cargo xtask build --all`).

#[path = "peers/client.rs"]
#[expect(dead_code, reason = "the other suite's client has more")]
mod client;

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use exchange_ioctl::{Kind, Protocol};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{
    Options,
    etw::{Event, Session},
    io::status,
};
use suites::machine::{nothing_is_left, start};

use client::{Client, TAKE_ALL};

/// Tells a child process which scenario to run, and where the images are.
const SCENARIO: &str = "ETW_SCENARIO";
const IMAGES: &str = "ETW_IMAGES";

// What Microsoft's crate makes of the name.
tracelogging::define_provider!(REFERENCE, "Rxce.Engine");

/// Levels and keywords of docs/tracing.md.
const VERBOSE: u8 = 5;
const INFORMATION: u8 = 4;
const WARNING: u8 = 3;
const LIFE: u64 = 1;
const DATA: u64 = 2;

/// What is said to the server, which says it again.
const WORDS: &[u8] = b"hello";

type Scenario = (&'static str, fn(&Machine) -> Result<()>);

const SCENARIOS: &[Scenario] = &[
    ("a_circuits_life_is_told", life),
    ("nobody_listens_and_no_event_is_made", silence),
    ("levels_and_keywords_choose", chosen),
    ("a_build_that_fails_is_told", failure),
    ("a_session_outlives_the_driver", outlived),
];

fn main() -> ExitCode {
    let Some(name) = env::var_os(SCENARIO) else {
        let trials = ["debug", "release"].into_iter().flat_map(|profile| {
            SCENARIOS.iter().map(move |(name, _)| {
                Trial::test(format!("{profile}::{name}"), || parent(profile, name))
            })
        });
        return libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code();
    };
    match child(&name.to_string_lossy()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parent(profile: &str, name: &str) -> Result<(), Failed> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env::current_exe()?)
        .env(SCENARIO, name)
        .env(IMAGES, suites::machine::images(profile))
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{text}", output.status).into())
}

fn child(name: &str) -> Result<()> {
    let (_, run) = SCENARIOS
        .iter()
        .find(|(known, _)| *known == name)
        .context("no such scenario")?;
    ntsim::boot(Options::default());
    ntsim::tcp::install(r"\Device\Tcp");
    run(&Machine {
        images: PathBuf::from(env::var_os(IMAGES).unwrap_or_default()),
    })?;
    nothing_is_left()
}

struct Machine {
    images: PathBuf,
}

impl Machine {
    /// Runs something with rxce.sys and its client loaded.
    fn with_drivers<R>(&self, run: impl FnOnce() -> Result<R>) -> Result<R> {
        let load = |name: &str| start(Path::new(&self.images.join(name)));
        let (rxce, exchange) = (load("rxce.sys")?, load("exchange.sys")?);
        let result = run();
        exchange.unload()?;
        rxce.unload()?;
        result
    }
}

/// The provider as listeners name it.
fn provider() -> ntsim::etw::Guid {
    let id = tracelogging::Guid::from_name("Rxce.Engine");
    id.to_bytes_le()
}

fn listen(level: u8, keywords: u64) -> Session {
    Session::start(provider(), level, keywords)
}

/// A circuit to a server that answers once, and everything torn down again.
fn exchange() -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    let served = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = server.accept()?;
        let mut bytes = [0; WORDS.len()];
        stream.read_exact(&mut bytes)?;
        stream.write_all(&bytes)?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    });
    let client = Client::connected(port, 64, TAKE_ALL)?;
    client.say(WORDS)?;
    client.wait(Kind::Received, u32::try_from(WORDS.len())?)?;
    client.close_well()?;
    match served.join() {
        Ok(result) => result,
        Err(_) => bail!("the server panicked"),
    }
}

/// Names of events. When the peer's disconnect comes is the network's business.
fn names(events: &[Event]) -> Vec<&str> {
    let names = events.iter().map(|event| event.name.as_str());
    names
        .filter(|name| *name != "DisconnectIndicated")
        .collect()
}

fn one<'a>(events: &'a [Event], name: &str) -> Result<&'a Event> {
    let mut own = events.iter().filter(|event| event.name == name);
    match (own.next(), own.next()) {
        (Some(event), None) => Ok(event),
        _ => bail!("not one {name}: {events:#?}"),
    }
}

fn value(event: &Event, name: &str) -> Result<u64> {
    let mut values = event.values.iter();
    let found = values.find(|(known, _)| known == name);
    let (_, value) = found.with_context(|| format!("{event} has no {name}"))?;
    Ok(value.number())
}

const BUILT: [&str; 6] = [
    "TransportBuilt",
    "AddressBuilt",
    "ConnectionBuilt",
    "ConnectSent",
    "ConnectEnded",
    "CircuitBuilt",
];
const ENDED: [&str; 6] = [
    "DisconnectSent",
    "DisconnectEnded",
    "CircuitEnded",
    "ConnectionEnded",
    "AddressEnded",
    "TransportEnded",
];

/// Sees that these are the events of [`exchange`] without its data.
fn tells_the_life(events: &[Event]) -> Result<()> {
    let expected: Vec<&str> = BUILT.into_iter().chain(ENDED).collect();
    ensure!(names(events) == expected, "the story is {events:#?}");
    let circuit = value(one(events, "CircuitBuilt")?, "circuit")?;
    let length = u64::try_from(WORDS.len())?;
    for (name, member, expected) in [
        ("ConnectSent", "circuit", circuit),
        ("ConnectEnded", "circuit", circuit),
        ("ConnectEnded", "status", 0),
        ("DisconnectSent", "circuit", circuit),
        ("DisconnectSent", "abort", 0),
        ("DisconnectEnded", "status", 0),
        ("CircuitEnded", "circuit", circuit),
        ("CircuitEnded", "sends", 1),
        ("CircuitEnded", "bytes_sent", length),
        ("CircuitEnded", "send_failures", 0),
        ("CircuitEnded", "bytes_received", length),
        ("TransportEnded", "sends", 1),
        ("TransportEnded", "bytes_sent", length),
        ("TransportEnded", "bytes_received", length),
        ("TransportEnded", "connects", 1),
        ("TransportEnded", "local_disconnects", 1),
        ("TransportEnded", "connect_failures", 0),
    ] {
        let seen = value(one(events, name)?, member)?;
        ensure!(
            seen == expected,
            "{name}: {member} is {seen}, not {expected}"
        );
    }
    for (child, parent, own, of) in [
        ("AddressBuilt", "TransportBuilt", "transport", "transport"),
        ("ConnectionBuilt", "AddressBuilt", "address", "address"),
        (
            "CircuitBuilt",
            "ConnectionBuilt",
            "connection",
            "connection",
        ),
        ("TransportEnded", "TransportBuilt", "transport", "transport"),
    ] {
        let (child, parent) = (one(events, child)?, one(events, parent)?);
        ensure!(
            value(child, own)? == value(parent, of)?,
            "{child}; {parent}"
        );
    }
    Ok(())
}

/// What every event has.
fn is_well_made(event: &Event) -> Result<()> {
    ensure!(event.problem.is_none(), "{event}");
    ensure!(event.provider == "Rxce.Engine", "{event}");
    ensure!(
        event.traits == REFERENCE.raw_meta(),
        "{:?} describes the provider",
        event.traits
    );
    // No number, version, opcode or task, and the channel of TraceLogging.
    let [0, 0, 0, 11, level, 0, 0, 0, keyword @ ..] = event.descriptor.as_slice() else {
        bail!("{event}: {:?}", event.descriptor);
    };
    ensure!(*level == event.level && *keyword == event.keyword.to_le_bytes());
    Ok(())
}

fn life(machine: &Machine) -> Result<()> {
    let session = listen(VERBOSE, LIFE | DATA);
    machine.with_drivers(exchange)?;
    let events = session.events();
    events.iter().try_for_each(is_well_made)?;
    let (data, life): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| event.keyword == DATA);
    tells_the_life(&life)?;
    ensure!(life.iter().all(|event| event.level == INFORMATION));

    ensure!(data.iter().all(|event| event.level == VERBOSE));
    let sum = |name: &str| -> Result<u64> {
        let own = data.iter().filter(|event| event.name == name);
        own.map(|event| value(event, "bytes")).sum()
    };
    let length = u64::try_from(WORDS.len())?;
    ensure!(sum("Sent")? == length && sum("Received")? == length);
    let sent = names(&data)
        .iter()
        .position(|name| *name == "Sent")
        .context("no Sent")?;
    ensure!(sent == 0, "an answer before the question: {data:#?}");
    Ok(())
}

fn silence(machine: &Machine) -> Result<()> {
    machine.with_drivers(|| {
        ensure!(
            ntsim::etw::is_registered(&provider()),
            "nobody could listen"
        );
        exchange()
    })?;
    ensure!(ntsim::etw::written() == 0, "events for nobody");
    ensure!(!ntsim::etw::is_registered(&provider()));
    Ok(())
}

/// Those who want no data get none, and none is made. A second session that wants them changes that while the driver runs.
fn chosen(machine: &Machine) -> Result<()> {
    let session = listen(INFORMATION, LIFE);
    machine.with_drivers(|| {
        exchange()?;
        let events = session.events();
        tells_the_life(&events)?;
        ensure!(
            ntsim::etw::written() == u64::try_from(events.len())?,
            "events were made that nobody wanted"
        );
        let other = listen(VERBOSE, DATA);
        exchange()?;
        ensure!(session.events().iter().all(|event| event.keyword == LIFE));
        let events = other.events();
        ensure!(!events.is_empty() && events.iter().all(|event| event.keyword == DATA));
        drop(other);
        let before = ntsim::etw::written();
        exchange()?;
        let events = session.events();
        ensure!(ntsim::etw::written() - before == u64::try_from(events.len())?);
        Ok(())
    })
}

fn failure(machine: &Machine) -> Result<()> {
    let session = listen(WARNING, LIFE);
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    machine.with_drivers(|| {
        let client = Client::new()?;
        let answer = client.build(Protocol::Tcp, nobody, 64, TAKE_ALL)?;
        ensure!(
            answer == status::CONNECTION_REFUSED,
            "somebody is at port {nobody}: {}",
            status::name(answer)
        );
        client.close_well()
    })?;
    let events = session.events();
    let [event] = events.as_slice() else {
        bail!("not one event: {events:#?}");
    };
    is_well_made(event)?;
    ensure!(event.name == "CircuitFailed" && event.level == WARNING);
    ensure!(value(event, "status")? == u64::from(status::CONNECTION_REFUSED.cast_unsigned()));
    Ok(())
}

/// The session is there before the driver and after it; the driver comes back and is told.
fn outlived(machine: &Machine) -> Result<()> {
    let session = listen(0, 0);
    for _ in 0..2 {
        machine.with_drivers(exchange)?;
        ensure!(!ntsim::etw::is_registered(&provider()));
        let life: Vec<Event> = session.events();
        let life: Vec<Event> = life
            .into_iter()
            .filter(|event| event.keyword == LIFE)
            .collect();
        tells_the_life(&life)?;
    }
    Ok(())
}
