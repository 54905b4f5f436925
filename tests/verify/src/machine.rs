//! The inner process: the simulated machine and one life of the driver in it.

use crate::plan::Plan;
use anyhow::Result;
use ntsim::{Driver, Error, File, Options, fault};

/// What the inner process says when `DriverEntry` failed.
pub(crate) const NOT_STARTED: &str = "DriverEntry failed: ";
/// And how many calls could have failed.
pub(crate) const FALLIBLE: &str = "calls that can fail: ";

/// Loads, starts, opens, closes, unloads. Returns whether the driver started.
pub(crate) fn run(plan: &Plan) -> Result<bool> {
    let usual = Options::default();
    ntsim::boot(Options {
        rules: plan.rules,
        low_resources: plan.faults,
        pool_guard: plan.guard,
        seed: plan.seed,
        ..usual
    });
    // What fails has to fail from the first call on.
    fault::fail_nth_of_new_images(plan.nth);
    let driver = Driver::load_with(&plan.file, &plan.companions)?;
    let image = driver.image();
    say(&format!(
        "loaded: {} bytes, imports from {}",
        image.bytes,
        list(&image.imports)
    ));
    let status = driver.start();
    let text = ntsim::trace::status::describe(status.cast_unsigned());
    if status < 0 {
        say(&format!("{NOT_STARTED}{text}"));
        say(&format!("{FALLIBLE}{}", fault::counted(image)));
        return Ok(false);
    }
    say(&format!("DriverEntry: {text}"));
    if driver.has_add_device() {
        say("AddDevice: not called, as plug and play is not simulated");
    }
    for device in driver.devices() {
        open(&device);
    }
    match driver.may_unload() {
        Ok(()) => {
            driver.unload()?;
            say("DriverUnload: returned");
        }
        Err(error @ Error::NoUnload(_)) => {
            say(&format!("{error}: Windows keeps it until it shuts down"));
        }
        Err(error) => return Err(error.into()),
    }
    say(&format!("{FALLIBLE}{}", fault::counted(image)));
    let left = ntsim::account().total;
    if left == ntsim::account::Counts::default() {
        say("left behind: nothing");
    } else {
        say(&format!("left behind: {left}"));
    }
    Ok(true)
}

/// Opens a device and closes it.
fn open(name: &str) {
    if name.is_empty() {
        say("device without a name: cannot be opened");
        return;
    }
    match File::open(name) {
        Ok(file) => {
            drop(file);
            say(&format!("{name}: opened and closed"));
        }
        Err(status) => say(&format!("{name}: cannot be opened: {status}")),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    }
}

/// A line for the outer process and the reader; it is there before the machine may stop.
fn say(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    // The outer process may be gone: then nobody reads.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
