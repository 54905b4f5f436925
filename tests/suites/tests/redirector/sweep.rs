//! Everything once, with each fallible kernel call failing in turn.

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{DirectoryFlags, Driver, File, HowToOpen, NtStatus, fault, io::status};
use suites::diod::Diod;

use crate::{
    Scenario,
    machine::{Redirector, named, path},
    scripted,
    servers::tree,
};

pub(crate) const ALL: &[Scenario] = &[
    ("every_fallible_call_fails_once", sweep),
    ("every_fallible_call_of_the_entry_fails_once", entry),
    ("no_fid_stays_at_the_server", fids),
];

/// More fallible calls than the scenario has.
const MOST: u32 = 1000;

/// Open, ask, list, close, with each call failing. Whatever could not be given back to the server meanwhile is given back by
/// the next who closes something: the root is what it keeps.
fn fids(profile: &str) -> Result<()> {
    let (port, fids) = scripted::serve_telling()?;
    let server = format!("127.0.0.1@{port}");
    let (file, folder) = (
        named(&server, "tree", &format!(r"\{}", scripted::FILE)),
        named(&server, "tree", ""),
    );
    let everything = || -> Result<(), NtStatus> {
        let hello = File::create(&file, &HowToOpen::default())?;
        hello.read_at(0, 100)?;
        let root = File::create(&folder, &HowToOpen::default())?;
        root.query_directory(37, Some("f*"), DirectoryFlags::RESTART, 4096)?;
        root.query_directory(37, Some(scripted::FILE), DirectoryFlags::RESTART, 4096)
            .map(drop)
    };
    let redirector = Redirector::started(profile)?;
    everything().context("without a failing call")?;
    let image = redirector.driver().image();
    for nth in 1..MOST {
        fault::fail_nth(image, nth);
        let _ = everything();
        let hit = fault::injected(image) != 0;
        fault::fail_nth(image, 0);
        everything().with_context(|| format!("a clean run after call {nth} had failed"))?;
        let left = scripted::live(&fids);
        ensure!(
            left == 1,
            "after call {nth} had failed, the server has {left} fids"
        );
        if !hit {
            ensure!(nth > 50, "only {nth} calls can fail");
            return redirector.end();
        }
    }
    bail!("more than {MOST} calls can fail")
}

/// STATUS_INSUFFICIENT_RESOURCES, which is how ntsim lets a call fail.
const NO_MEMORY: i32 = status::INSUFFICIENT_RESOURCES;

/// DriverEntry with each call failing: the image goes without a trace, and a clean start succeeds.
fn entry(profile: &str) -> Result<()> {
    Redirector::load(profile)?.unload()?;
    let image = suites::machine::images(profile).join("redirector/rxce.sys");
    for nth in 1..MOST {
        let driver = Driver::load(&image)?;
        fault::fail_nth(driver.image(), nth);
        let answer = driver.start();
        let failed: Vec<_> = fault::failed_by_routine(driver.image())
            .into_keys()
            .collect();
        fault::fail_nth(driver.image(), 0);
        // What leaks is a stop here, whether or not it started.
        driver.unload()?;
        suites::machine::nothing_is_left()?;
        // A registry that cannot be read is one without values, and nobody needs to listen to events.
        let is_fatal = failed
            .iter()
            .any(|routine| !["ZwOpenKey", "EtwRegister"].contains(routine));
        let wanted = if is_fatal { NO_MEMORY } else { 0 };
        ensure!(
            answer == wanted,
            "DriverEntry with {failed:?} failing: {}",
            status::name(answer)
        );
        Redirector::again(profile)?.end()?;
        if failed.is_empty() {
            ensure!(nth > 4, "only {nth} calls can fail");
            return Ok(());
        }
    }
    bail!("more than {MOST} calls can fail")
}

/// Start, open, read, list, ask; the first failure ends it.
fn everything(redirector: &Redirector, file: &str, folder: &str) -> Result<(), NtStatus> {
    redirector.start()?;
    {
        let hello = File::create(file, &HowToOpen::default())?;
        hello.read_at(0, 100)?;
        hello.query_information(5, 24)?;
        hello.query_volume(7, 32)?;
        let root = File::create(folder, &HowToOpen::default())?;
        root.query_directory(37, Some("h*"), DirectoryFlags::RESTART, 4096)?;
        root.query_directory(37, Some("hello.txt"), DirectoryFlags::RESTART, 4096)?;
    }
    redirector.stop()
}

fn sweep(profile: &str) -> Result<()> {
    let tree = tree()?;
    let diod = Diod::start(tree.path())?;
    let (file, folder) = (
        path(diod.port(), tree.path(), r"\hello.txt"),
        path(diod.port(), tree.path(), ""),
    );
    let redirector = Redirector::load(profile)?;
    let image = redirector.driver().image();
    for nth in 1..MOST {
        fault::fail_nth(image, nth);
        let result = everything(&redirector, &file, &folder);
        let hit = fault::injected(image) != 0;
        fault::fail_nth(image, 0);
        if let Err(NtStatus(failure)) = result {
            ensure!(hit, "without a failing call: {}", status::name(failure));
            // Whatever failed, it stops.
            match redirector.stop() {
                Ok(()) | Err(NtStatus(status::REDIRECTOR_NOT_STARTED)) => {}
                Err(other) => bail!(
                    "stop after call {nth} failed ({}): {other}",
                    status::name(failure)
                ),
            }
        }
        if !hit {
            println!("{} calls", nth - 1);
            ensure!(nth > 50, "only {nth} calls can fail");
            return redirector.unload();
        }
        everything(&redirector, &file, &folder)
            .with_context(|| format!("a clean run after call {nth} had failed"))?;
    }
    bail!("more than {MOST} calls can fail")
}
