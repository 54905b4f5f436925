//! Boots the machine, loads the drivers, runs the command, unloads them, and closes the account.

use std::path::Path;

use anyhow::{Context as _, Result};
use rxcectl::{Arguments, ExitCode};
use suites::{machine, system::Machine, watchdog};

/// Name of the transport, as p9probe.sys binds it.
const TRANSPORT: &str = r"\Device\Tcp";
/// The connection engine, from which all drivers import.
const ENGINE: &str = "rxce";

/// Runs a command line. Where it needs no driver, or is wrong, there is no machine.
pub(crate) fn run(images: Option<&Path>, arguments: &[&str]) -> Result<ExitCode> {
    let driver = Arguments::parse(arguments)
        .ok()
        .and_then(|parsed| parsed.command.driver());
    let Some(driver) = driver else {
        return Ok(rxcectl::run(&mut Machine::default(), arguments));
    };
    let images = images.context("RXCECTL_IMAGES does not name the folder of the drivers")?;
    watchdog::start();
    ntsim::boot(ntsim::Options {
        // Vectors provoke what the drivers print; the reader asked for a table.
        echo_debug_output: false,
        ..ntsim::Options::default()
    });
    ntsim::tcp::install(TRANSPORT);
    let image = |name: &str| images.join(name).with_extension("sys");
    let engine = machine::start(&image(ENGINE))?;
    let client = machine::start(&image(driver.service()))?;
    let code = rxcectl::run(&mut Machine::default(), arguments);
    for (name, driver) in [(driver.service(), client), (ENGINE, engine)] {
        driver
            .unload()
            .with_context(|| format!("cannot unload {name}.sys"))?;
    }
    machine::nothing_is_left()?;
    Ok(code)
}
