//! Every vector of conform.sys against the built rxce.sys, debug and release, each in a machine of its own.
//!
//! It needs the driver images (`cargo xtask build --all`); where one is missing the tests fail and say so. In ntsim
//! every vector is possible, down to its last part: "not possible here" is a failure.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use conform_ioctl::{
    Basis, DEVICE_NAME, INTERFACE_VERSION, IOCTL_LIST, IOCTL_RUN, ListHeader, RunResult,
    VectorInfo, Verdict,
};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{Driver, File, Options};

/// Tells a child process what to do: `list`, or the index of a vector.
const TASK: &str = "CONFORM_TASK";
/// Tells a child process where the images are.
const IMAGES: &str = "CONFORM_IMAGES";
/// Real time that one vector gets. They take milliseconds: what they wait for is virtual.
const LIMIT: Duration = Duration::from_secs(180);
/// Least number of vectors: a table that shrinks by accident is no success.
const LEAST: usize = 60;

fn main() -> ExitCode {
    if let Some(task) = env::var_os(TASK) {
        let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
        return match child(&images, &task.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trials = ["debug", "release"].into_iter().flat_map(trials).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One test per vector of the driver; if the driver cannot say what it has, that is the one test, and it fails.
fn trials(profile: &'static str) -> Vec<Trial> {
    let images = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/drivers")
        .join(profile)
        .join("x86_64");
    let listed = run_child(&images, "list").and_then(|text| {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() < LEAST {
            return Err(format!(
                "only {} vectors, at least {LEAST} are expected",
                lines.len()
            )
            .into());
        }
        Ok(lines)
    });
    let lines = match listed {
        Ok(lines) => lines,
        Err(failed) => {
            return vec![Trial::test(format!("{profile}::vectors"), move || {
                Err(failed)
            })];
        }
    };
    let one = |(index, line): (usize, String)| {
        let images = images.clone();
        let name = format!("{profile}::{line}");
        Trial::test(name, move || {
            run_child(&images, &index.to_string()).map(drop)
        })
    };
    lines.into_iter().enumerate().map(one).collect()
}

/// Runs this program as a machine of its own; its output, or why it failed.
fn run_child(images: &Path, task: &str) -> Result<String, Failed> {
    let output = Command::new(env::current_exe()?)
        .env(TASK, task)
        .env(IMAGES, images)
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{}\n{out}{err}", output.status).into())
}

/// Boots, loads both drivers, does the task, unloads them, and sees that nothing is left.
fn child(images: &Path, task: &str) -> Result<()> {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!(
            "the machine hangs: no result in {} s of real time",
            LIMIT.as_secs()
        );
        std::process::exit(97);
    });
    ntsim::boot(Options::default());
    let load = |name: &str| -> Result<Driver> {
        let path = images.join(name);
        let driver = Driver::load(&path).with_context(|| {
            format!(
                "cannot load {} (made by `cargo xtask build --all`)",
                path.display()
            )
        })?;
        let status = driver.start();
        ensure!(status >= 0, "DriverEntry of {name} returned {status:#010X}");
        Ok(driver)
    };
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let result = match task {
        "list" => list(&device),
        index => run(&device, index.parse()?),
    };
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    result
}

fn list(device: &File) -> Result<()> {
    let room = ListHeader::SIZE + 256 * VectorInfo::SIZE;
    let output = device.ioctl(IOCTL_LIST, &[], room).context("IOCTL_LIST")?;
    let header = ListHeader::from_bytes(&output).context("the list has no header")?;
    ensure!(
        header.version == INTERFACE_VERSION,
        "conform.sys has interface version {}",
        header.version
    );
    let records = output
        .get(ListHeader::SIZE..)
        .unwrap_or_default()
        .chunks_exact(VectorInfo::SIZE);
    ensure!(
        records.len() == header.count as usize,
        "{} of {} vectors listed",
        records.len(),
        header.count
    );
    for record in records {
        let info = VectorInfo::from_bytes(record).context("a record of the list is malformed")?;
        let mark = match info.basis {
            Basis::Documented => "",
            Basis::OwnChoice => " (own choice)",
        };
        println!("{}: {}{mark}", info.id.as_str(), info.title.as_str());
    }
    Ok(())
}

fn run(device: &File, index: u32) -> Result<()> {
    let output = device
        .ioctl(IOCTL_RUN, &index.to_le_bytes(), RunResult::SIZE)
        .context("IOCTL_RUN")?;
    let result = RunResult::from_bytes(&output).context("the result is malformed")?;
    let text = result.text.as_str();
    match result.verdict {
        Verdict::Passed if result.parts_missing == 0 => Ok(()),
        Verdict::Passed => {
            bail!("passed, but in part not possible here, which must not be: {text}")
        }
        Verdict::Failed => bail!("failed: {text}"),
        Verdict::NotPossible => bail!("not possible here, which must not be: {text}"),
    }
}
