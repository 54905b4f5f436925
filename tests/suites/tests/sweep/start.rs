//! Start and stop of the image, both as a service and as a library, with each kernel call failing.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{Driver, Error, fault};
use object::{
    LittleEndian,
    pe::ImageNtHeaders64,
    read::pe::{Import, PeFile64},
};

use crate::{FAILED, POINTS};

/// STATUS_INSUFFICIENT_RESOURCES.
const NO_MEMORY: i32 = 0xC000_009A_u32.cast_signed();
/// More fallible calls than a start has.
const MOST: u32 = 20;

/// Calls without which the image does without: nobody can listen to its events then.
const DISPENSABLE: &[&str] = &["EtwRegister"];

/// Starts with each call failing; after each the image must go without a trace, and a clean start succeed.
pub(crate) fn sweep(images: &Path) -> Result<()> {
    for name in fault::FALLIBLE {
        ensure!(ntsim::gate::find(name).is_some(), "ntsim has no {name}");
    }
    let mut failed = BTreeSet::new();
    let service = service(&images.join("rxce.sys"), &mut failed)?;
    let library = library(images)?;
    println!("{POINTS} calls of DriverEntry {service}");
    println!("{POINTS} calls of DllInitialize {library}");
    for routine in failed {
        println!("{FAILED} {routine}");
    }
    Ok(())
}

fn service(path: &Path, failed: &mut BTreeSet<&str>) -> Result<u32> {
    for nth in 1..MOST {
        let driver = Driver::load(path)?;
        fault::fail_nth(driver.image(), nth);
        let status = driver.start();
        let hit = fault::injected(driver.image()) != 0;
        let fatal = is_fatal(driver.image());
        failed.extend(fault::failed_by_routine(driver.image()).keys());
        fault::fail_nth(driver.image(), 0);
        // The leak rules are checked here, whether or not it started.
        driver.unload()?;
        ensure!(
            status == if fatal { NO_MEMORY } else { 0 },
            "DriverEntry with call {nth} failing ({hit}) returned {status:#010X}"
        );
        clean(path)?;
        if !hit {
            return Ok(nth - 1);
        }
    }
    bail!("{MOST} fallible calls in DriverEntry")
}

/// Whether a call has failed that the image cannot do without.
fn is_fatal(image: &ntsim::image::Image) -> bool {
    let failed = fault::failed_by_routine(image);
    failed.keys().any(|name| !DISPENSABLE.contains(name))
}

fn clean(path: &Path) -> Result<()> {
    let driver = Driver::load(path)?;
    let status = driver.start();
    ensure!(status == 0, "a clean start returned {status:#010X}");
    Ok(driver.unload()?)
}

/// conform.sys brings rxce.sys along.
fn library(images: &Path) -> Result<u32> {
    let path = images.join("conform.sys");
    for nth in 1..MOST {
        fault::fail_nth_of_new_images(nth);
        let loaded = Driver::load(&path);
        fault::fail_nth_of_new_images(0);
        match loaded {
            Err(Error::DllInitialize(name, status)) => ensure!(
                name == "rxce.sys" && status == NO_MEMORY,
                "DllInitialize of {name} returned {status:#010X}"
            ),
            Err(other) => bail!("conform.sys could not be loaded: {other}"),
            Ok(driver) => {
                let library = ntsim::image::by_name("rxce.sys").context("no rxce.sys")?;
                let (hit, fatal) = (fault::injected(library) != 0, is_fatal(library));
                fault::fail_nth(library, 0);
                fault::fail_nth(driver.image(), 0);
                driver.unload()?;
                ensure!(!fatal, "DllInitialize succeeded with call {nth} failing");
                if !hit {
                    return Ok(nth - 1);
                }
            }
        }
        clean(&path)?;
    }
    bail!("{MOST} fallible calls in DllInitialize")
}

/// The kernel routines that an image imports and that can be made to fail.
pub(crate) fn fallible_imports(path: &Path) -> Result<BTreeSet<String>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let parsed = PeFile64::parse(&*bytes)?;
    let table = parsed.import_table()?.context("no imports")?;
    let mut found = BTreeSet::new();
    let mut modules = table.descriptors()?;
    while let Some(module) = modules.next()? {
        let mut thunks = table.thunks(module.original_first_thunk.get(LittleEndian))?;
        while let Some(thunk) = thunks.next::<ImageNtHeaders64>()? {
            if let Import::Name(_, name) = table.import::<ImageNtHeaders64>(thunk)? {
                let name = String::from_utf8_lossy(name).into_owned();
                if fault::FALLIBLE.contains(&name.as_str()) {
                    found.insert(name);
                }
            }
        }
    }
    Ok(found)
}
