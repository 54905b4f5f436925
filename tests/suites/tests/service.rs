//! rxce.sys stopped as a service while a client that imports from it lives: exchange.sys, in both orders of loading; and
//! while one of its completion routines is not over.
//!
//! Each scenario is a machine of its own. They need the driver images (`cargo xtask build --all`).

#[path = "peers/client.rs"]
#[expect(dead_code, reason = "the other suite's client has more")]
mod client;
#[path = "service/unload.rs"]
mod unload;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use exchange_ioctl::Protocol;
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{Driver, Options, io::status};
use suites::machine::{nothing_is_left, start};

use client::{Client, TAKE_ALL};
use unload::Place;

/// Tells a child process which scenario to run, and where the images are.
const SCENARIO: &str = "SERVICE_SCENARIO";
const IMAGES: &str = "SERVICE_IMAGES";
/// Nobody answers there: an address sends datagrams without a peer.
const PORT: u16 = 9;

/// A name, and what to do with rxce.sys and exchange.sys.
type Scenario = (&'static str, fn(&Path, &Path) -> Result<()>);

const SCENARIOS: &[Scenario] = &[
    ("a_transport_keeps_the_service_loaded", kept),
    ("a_stopped_service_builds_no_transports", stopped),
    ("a_library_outlives_its_service", library),
];

fn main() -> ExitCode {
    let Some(name) = env::var_os(SCENARIO) else {
        let trials = ["debug", "release"].into_iter().flat_map(|profile| {
            let names = SCENARIOS.iter().map(|(name, _)| *name);
            names
                .chain(Place::ALL.map(|(name, _)| name))
                .map(move |name| {
                    Trial::test(format!("{profile}::{name}"), || parent(profile, name))
                })
        });
        return libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code();
    };
    let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
    match child(&name.to_string_lossy(), &images) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parent(profile: &str, name: &str) -> Result<(), Failed> {
    let images = suites::machine::images(profile);
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env::current_exe()?)
        .env(SCENARIO, name)
        .env(IMAGES, images)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{text}", output.status).into())
}

fn child(name: &str, images: &Path) -> Result<()> {
    let (rxce, exchange) = (images.join("rxce.sys"), images.join("exchange.sys"));
    if let Some((_, place)) = Place::ALL.iter().find(|(known, _)| *known == name) {
        return unload::run(*place, &rxce, &exchange, |_| Ok(()));
    }
    let (_, run) = SCENARIOS
        .iter()
        .find(|(known, _)| *known == name)
        .context("no such scenario")?;
    ntsim::boot(Options::default());
    ntsim::udp::install(r"\Device\Udp");
    run(&rxce, &exchange)?;
    nothing_is_left()
}

fn stop(driver: Driver) -> Result<()> {
    driver.unload().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build(client: &Client) -> Result<i32> {
    client.build(Protocol::Udp, PORT, 64, TAKE_ALL)
}

/// The service is started first, and a client's transport keeps a handle on its device.
fn kept(rxce: &Path, exchange: &Path) -> Result<()> {
    let service = start(rxce)?;
    let importer = start(exchange)?;
    let client = Client::new()?;
    ensure!(build(&client)? == 0, "no address");
    ensure!(
        matches!(service.may_unload(), Err(ntsim::Error::DeviceInUse(_))),
        "the service could be stopped under a transport"
    );
    client.say(b"still here")?;
    client.close_well()?;
    drop(client);
    stop(importer)?;
    stop(service)
}

/// Without a transport the service stops. The importer keeps the image, whose routines refuse.
fn stopped(rxce: &Path, exchange: &Path) -> Result<()> {
    let service = start(rxce)?;
    let importer = start(exchange)?;
    let client = Client::new()?;
    ensure!(build(&client)? == 0, "no address");
    client.close_well()?;
    stop(service)?;
    drop(client);
    let client = Client::new()?;
    let answer = build(&client)?;
    ensure!(
        answer == status::DEVICE_NOT_READY,
        "a stopped service answers {}",
        status::name(answer)
    );
    client.close_well()?;
    drop(client);
    stop(importer)
}

/// The client is loaded first, and the image with it: a service that is started and stopped later changes nothing.
fn library(rxce: &Path, exchange: &Path) -> Result<()> {
    let importer = start(exchange)?;
    let service = start(rxce)?;
    let client = Client::new()?;
    ensure!(build(&client)? == 0, "no address");
    stop(service)?;
    client.say(b"still here")?;
    client.close_well()?;
    drop(client);
    let client = Client::new()?;
    ensure!(
        build(&client)? == 0,
        "no address after the service has stopped"
    );
    client.close_well()?;
    drop(client);
    stop(importer)
}
