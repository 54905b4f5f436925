//! rxce.sys stopped as a service while a client that imports from it lives: exchange.sys, in both orders of loading.
//!
//! Each scenario is a machine of its own. They need the driver images (`cargo xtask build --all`).

#[path = "peers/client.rs"]
#[expect(dead_code, reason = "the other suite's client has more")]
mod client;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use exchange_ioctl::Protocol;
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{Driver, Options, io::status};

use client::{Client, TAKE_ALL};

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
            SCENARIOS.iter().map(move |(name, _)| {
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
    let images = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/drivers")
        .join(profile)
        .join("x86_64");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "60"])
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
    let (_, run) = SCENARIOS
        .iter()
        .find(|(known, _)| *known == name)
        .context("no such scenario")?;
    ntsim::boot(Options::default());
    ntsim::udp::install(r"\Device\Udp");
    run(&images.join("rxce.sys"), &images.join("exchange.sys"))?;
    let account = ntsim::account();
    ensure!(
        account.total == ntsim::account::Counts::default(),
        "something is left:\n{account}"
    );
    Ok(())
}

fn started(path: &Path) -> Result<Driver> {
    let driver = match Driver::load(path) {
        Ok(driver) => driver,
        Err(error) => bail!("{}: {error}", path.display()),
    };
    let answer = driver.start();
    ensure!(
        answer == 0,
        "{} does not start: {answer:#x}",
        path.display()
    );
    Ok(driver)
}

fn stop(driver: Driver) -> Result<()> {
    driver.unload().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build(client: &Client) -> Result<i32> {
    client.build(Protocol::Udp, PORT, 64, TAKE_ALL)
}

/// The service is started first, and a client's transport keeps a handle on its device.
fn kept(rxce: &Path, exchange: &Path) -> Result<()> {
    let service = started(rxce)?;
    let importer = started(exchange)?;
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
    let service = started(rxce)?;
    let importer = started(exchange)?;
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
    let importer = started(exchange)?;
    let service = started(rxce)?;
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
