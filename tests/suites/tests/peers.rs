//! Real servers that misbehave, each in its own way, against the built rxce.sys: docs/peers.md says which and how.
//!
//! Each scenario is a machine and a server of its own, in a process of their own. `exchange.sys`, or its twin in C, is the client in the
//! machine; its transports are ntsim's, over real sockets. At the end of each nothing is left: no pool, no IRP, no
//! reference. It needs the driver images (`cargo xtask build --all`) and the servers (`cargo xtask setup`).

#[path = "peers/client.rs"]
mod client;
#[path = "peers/datagram.rs"]
mod datagram;
#[path = "peers/debugger.rs"]
mod debugger;
#[path = "peers/servers.rs"]
mod servers;
#[path = "peers/stream.rs"]
mod stream;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::Options;
use suites::machine::{nothing_is_left, start};

use servers::{Server, Which};

/// Tells a child process its scenario.
const SCENARIO: &str = "PEERS_SCENARIO";
/// Tells a child process where the images are.
const IMAGES: &str = "PEERS_IMAGES";
/// Tells a child process which driver is the client.
const CLIENT: &str = "PEERS_CLIENT";
/// The clients, which have one control interface, and the images they are run with. The first is written in Rust, the others in C:
/// built by clang, by GCC, and by clang with the event table of older headers.
const CLIENTS: [(&str, &[&str]); 4] = [
    ("exchange", &["debug", "release"]),
    ("c-skeleton", &["debug", "release"]),
    ("c-skeleton-gcc", &["release"]),
    ("c-skeleton-small", &["release"]),
];
/// Seconds of real time that one scenario gets.
const LIMIT: &str = "600";

/// A scenario: what a machine does with a server.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    server: Which,
    run: fn(&Server) -> Result<()>,
}

const fn scenario(name: &'static str, server: Which, run: fn(&Server) -> Result<()>) -> Scenario {
    Scenario { name, server, run }
}

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    stream::SCENARIOS
        .iter()
        .chain(datagram::SCENARIOS)
        .chain(debugger::SCENARIOS)
}

fn main() -> ExitCode {
    if let Ok(name) = env::var(SCENARIO) {
        let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
        let client = env::var(CLIENT).unwrap_or_default();
        return match child(&name, &client, &images) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let runs = CLIENTS
        .iter()
        .flat_map(|(client, profiles)| profiles.iter().map(move |profile| (*client, *profile)));
    let trials = runs
        .flat_map(|(client, profile)| {
            scenarios().map(move |scenario| trial(client, profile, scenario))
        })
        .collect();
    let mut arguments = Arguments::from_args();
    // They wait for the network most of the time.
    arguments.test_threads.get_or_insert(6);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(client: &'static str, profile: &'static str, scenario: &'static Scenario) -> Trial {
    Trial::test(
        format!("{profile}::{client}::{}", scenario.name),
        move || {
            let images = suites::machine::images(profile);
            // A machine that hangs is a failure (exit code 124), not a test that never ends.
            let output = Command::new("timeout")
                .args(["--kill-after=5", LIMIT])
                .arg(env::current_exe()?)
                .env(SCENARIO, scenario.name)
                .env(CLIENT, client)
                .env(IMAGES, images)
                .output()?;
            if output.status.success() {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&output.stderr);
            Err(Failed::from(format!("{}\n{text}", output.status)))
        },
    )
}

/// Starts the server, boots the machine, runs the scenario, and closes the account.
fn child(name: &str, client: &str, images: &Path) -> Result<()> {
    let scenario = scenarios()
        .find(|scenario| scenario.name == name)
        .context("no such scenario")?;
    let server = Server::start(scenario.server)?;
    ntsim::boot(Options::default());
    ntsim::tcp::install(r"\Device\Tcp");
    ntsim::udp::install(r"\Device\Udp");
    let rxce = start(&images.join("rxce.sys"))?;
    let client = start(&images.join(client).with_extension("sys"))?;
    let outcome = (scenario.run)(&server);
    for driver in [client, rxce] {
        if let Err(error) = driver.unload() {
            bail!("cannot unload: {error}; the scenario: {outcome:?}");
        }
    }
    outcome?;
    nothing_is_left()
}
