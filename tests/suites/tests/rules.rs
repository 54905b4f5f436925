//! Every rule that breaker.sys breaks, each in a machine of its own: the machine has to stop with that rule's code, and
//! not at all for the legal neighbour. docs/ntsim.md has the table, which is checked for being up to date.
//!
//! It needs the driver's image (`cargo xtask build`); where it is missing the tests fail and say so.

#[path = "rules/table.rs"]
mod table;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use breaker_ioctl::{DEVICE_NAME, Machine, Rule, Stop, Twin, control_code, rules};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{Driver, File, Options, PoolGuard};

/// Tells a child process what to do: the control code.
const TASK: &str = "RULES_TASK";
/// Tells a child process where the images are.
const IMAGES: &str = "RULES_IMAGES";
/// Real time that one rule gets.
const LIMIT: Duration = Duration::from_secs(90);
/// The driver, and the name of its second copy.
const DRIVER: &str = "breaker.sys";
const BELOW: &str = "below.sys";

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
    let images = match copies() {
        Ok(images) => images,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let folder = images.path().to_owned();
    let mut trials: Vec<Trial> = rules()
        .enumerate()
        .flat_map(|(number, rule)| trials(&folder, number, rule))
        .collect();
    trials.push(Trial::test("docs: the table is up to date", || {
        table::check().map_err(|error| format!("{error:#}").into())
    }));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    drop(images);
    conclusion.exit_code()
}

/// The driver twice, under two names, in a folder of their own.
fn copies() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/drivers/debug/x86_64");
    for (from, to) in [
        (DRIVER, DRIVER),
        (DRIVER, BELOW),
        ("breaker.pdb", "breaker.pdb"),
    ] {
        let from = built.join(from);
        fs::copy(&from, folder.path().join(to)).with_context(|| {
            format!(
                "cannot copy {} (made by `cargo xtask build`)",
                from.display()
            )
        })?;
    }
    Ok(folder)
}

fn trials(images: &Path, number: usize, rule: &'static Rule) -> Vec<Trial> {
    let trial = |name: String, twin: Twin| {
        let images = images.to_owned();
        Trial::test(name, move || {
            let code = control_code(number, twin).ok_or("a number without a control code")?;
            let output = Command::new(env::current_exe()?)
                .env(TASK, code.to_string())
                .env(IMAGES, &images)
                .output()?;
            let report = String::from_utf8_lossy(&output.stderr);
            let judged = match twin {
                Twin::Guilty => guilty(rule, output.status.code(), &report),
                Twin::Innocent if output.status.success() => Ok(()),
                Twin::Innocent => Err("the legal neighbour did not pass".to_owned()),
            };
            judged.map_err(|why| Failed::from(format!("{why}: {}\n{report}", output.status)))
        })
    };
    let mut trials = vec![trial(rule.name.to_owned(), Twin::Guilty)];
    if rule.has_twin {
        trials.push(trial(format!("{} (legal)", rule.name), Twin::Innocent));
    }
    trials
}

/// Whether the machine ended as the rule says, and said where.
fn guilty(rule: &Rule, code: Option<i32>, report: &str) -> Result<(), String> {
    match rule.stop {
        Stop::Hang if code == Some(98) => Ok(()),
        Stop::Hang => Err("no hang".to_owned()),
        Stop::BugCheck(wanted, parameters) => {
            if code != Some(ntsim::stop::EXIT_CODE) {
                return Err("no stop".to_owned());
            }
            let (met, values) = stop_of(report).ok_or("the report has no stop")?;
            if met != wanted {
                return Err(format!("expected stop {wanted:#X}"));
            }
            for (wanted, value) in parameters.iter().zip(values) {
                if wanted.is_some_and(|wanted| wanted != value) {
                    return Err(format!("expected the parameters {parameters:X?}"));
                }
            }
            if report.contains("breaker.sys") {
                Ok(())
            } else {
                Err("the report does not name the driver".to_owned())
            }
        }
    }
}

/// Code and parameters of a report: `*** STOP 0x000000C4 (0x13, 0x0, 0x0, 0x0) …`.
fn stop_of(report: &str) -> Option<(u32, Vec<u64>)> {
    let hexadecimal = |text: &str| u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
    let (code, rest) = report.split_once("*** STOP ")?.1.split_once(" (")?;
    let values: Option<Vec<u64>> = rest
        .split_once(')')?
        .0
        .split(',')
        .map(hexadecimal)
        .collect();
    Some((u32::try_from(hexadecimal(code)?).ok()?, values?))
}

/// How a machine is set for a rule.
fn options(machine: Machine) -> Options {
    let usual = Options {
        spin_limit: Duration::from_secs(2),
        burn_limit: Duration::from_secs(1),
        ..Options::default()
    };
    match machine {
        Machine::Usual => usual,
        Machine::GuardInFront => Options {
            pool_guard: PoolGuard::Start,
            ..usual
        },
        Machine::ForcePending => Options {
            force_pending: true,
            ..usual
        },
        Machine::LowResources => Options {
            low_resources: 10_000,
            ..usual
        },
    }
}

/// Boots, loads both copies, breaks the rule or does not, and unloads them.
fn child(images: &Path, code: &str) -> Result<()> {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("no result in {} s of real time", LIMIT.as_secs());
        std::process::exit(1);
    });
    let code = code.parse()?;
    let (rule, _) = breaker_ioctl::rule_of(code).context("no such rule")?;
    ntsim::boot(options(rule.machine));
    let load = |name: &str| -> Result<Driver> {
        let driver = Driver::load(&images.join(name))?;
        let status = driver.start();
        ensure!(status >= 0, "DriverEntry of {name} returned {status:#010X}");
        Ok(driver)
    };
    let (breaker, below) = (load(DRIVER)?, load(BELOW)?);
    let device = File::open(DEVICE_NAME).context(DEVICE_NAME)?;
    device
        .ioctl(code, rule.name.as_bytes(), 0)
        .context("the rule's control code")?;
    drop(device);
    breaker.unload()?;
    below.unload()?;
    let left = ntsim::account().total;
    ensure!(left == ntsim::account::Counts::default(), "left: {left}");
    Ok(())
}
