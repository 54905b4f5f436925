//! Real servers that misbehave, each in its own way, against the built rxce.sys: docs/peers.md says which and how.
//!
//! Each scenario is a machine and a server of its own, in a process of their own. `exchange.sys` is the client in the
//! machine; its transports are ntsim's, over real sockets. At the end of each nothing is left: no pool, no IRP, no
//! reference. It needs the driver images (`cargo xtask build --all`) and the servers (`cargo xtask setup`).

#[path = "peers/client.rs"]
mod client;
#[path = "peers/datagram.rs"]
mod datagram;
#[path = "peers/servers.rs"]
mod servers;
#[path = "peers/stream.rs"]
mod stream;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{Driver, Options};

use servers::{Server, Which};

/// Tells a child process its scenario.
const SCENARIO: &str = "PEERS_SCENARIO";
/// Tells a child process where the images are.
const IMAGES: &str = "PEERS_IMAGES";
/// Seconds of real time that one scenario gets.
const LIMIT: &str = "120";

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
    stream::SCENARIOS.iter().chain(datagram::SCENARIOS)
}

fn main() -> ExitCode {
    if let Ok(name) = env::var(SCENARIO) {
        let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
        return match child(&name, &images) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trials = ["debug", "release"]
        .into_iter()
        .flat_map(|profile| scenarios().map(move |scenario| trial(profile, scenario)))
        .collect();
    let mut arguments = Arguments::from_args();
    // They wait for the network most of the time.
    arguments.test_threads.get_or_insert(6);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(profile: &'static str, scenario: &'static Scenario) -> Trial {
    Trial::test(format!("{profile}::{}", scenario.name), move || {
        let images = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/drivers")
            .join(profile)
            .join("x86_64");
        // A machine that hangs is a failure (exit code 124), not a test that never ends.
        let output = Command::new("timeout")
            .args(["--kill-after=5", LIMIT])
            .arg(env::current_exe()?)
            .env(SCENARIO, scenario.name)
            .env(IMAGES, images)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(Failed::from(format!("{}\n{text}", output.status)))
    })
}

/// Starts the server, boots the machine, runs the scenario, and closes the account.
fn child(name: &str, images: &Path) -> Result<()> {
    let scenario = scenarios()
        .find(|scenario| scenario.name == name)
        .context("no such scenario")?;
    let server = Server::start(scenario.server)?;
    ntsim::boot(Options::default());
    ntsim::tcp::install(r"\Device\Tcp");
    ntsim::udp::install(r"\Device\Udp");
    let rxce = load(&images.join("rxce.sys"))?;
    let exchange = load(&images.join("exchange.sys"))?;
    let outcome = (scenario.run)(&server);
    for driver in [exchange, rxce] {
        if let Err(error) = driver.unload() {
            bail!("cannot unload: {error}; the scenario: {outcome:?}");
        }
    }
    outcome?;
    let account = ntsim::account();
    ensure!(
        account.total == ntsim::account::Counts::default(),
        "something is left:\n{account}"
    );
    Ok(())
}

fn load(path: &Path) -> Result<Driver> {
    let driver = match Driver::load(path) {
        Ok(driver) => driver,
        Err(error) => bail!(
            "{}: {error} (`cargo xtask build --all` makes it)",
            path.display()
        ),
    };
    let status = driver.start();
    ensure!(
        status >= 0,
        "{} does not start: {status:#x}",
        path.display()
    );
    Ok(driver)
}
