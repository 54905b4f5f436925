//! Who may use the drivers' devices, and what a control request of the wrong length gets.
//!
//! Every device of every driver refuses an ordinary user; every control code is tried with every length, and so is what is
//! no control code. Each driver gets a machine of its own. They need the driver images (`cargo xtask build --all`).

use std::{
    collections::BTreeSet,
    env,
    ops::RangeInclusive,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{File, NtStatus, Options, io::status, ob::namespace, se};
use suites::machine::{images, nothing_is_left, start};

/// Tells a child process its task and its driver.
const TASK: &str = "CONTROL_TASK";
const DRIVER: &str = "CONTROL_DRIVER";

/// `STATUS_REVISION_MISMATCH`, breaker.sys's answer to all that is no rule's code with its name.
const REVISION_MISMATCH: i32 = 0xC000_0059_u32.cast_signed();

/// Lengths up to this are all tried.
const ALL_UP_TO: usize = 48;

/// What a control code takes.
type Lengths = fn(u32) -> Option<(RangeInclusive<usize>, usize)>;

/// A driver, as its interface describes it.
struct Described {
    name: &'static str,
    /// Whether it imports from rxce.sys.
    imports: bool,
    /// Its control device; the others of its devices are found by looking.
    control: Option<(&'static str, Lengths)>,
    /// Answer to a code that it does not know.
    unknown: i32,
}

const DRIVERS: &[Described] = &[
    Described {
        name: "rxce",
        imports: false,
        control: None,
        unknown: status::INVALID_DEVICE_REQUEST,
    },
    Described {
        name: "bench",
        imports: true,
        control: Some((bench_ioctl::DEVICE_NAME, bench_ioctl::lengths)),
        unknown: status::INVALID_DEVICE_REQUEST,
    },
    Described {
        name: "breaker",
        imports: false,
        control: Some((breaker_ioctl::DEVICE_NAME, |_| None)),
        unknown: REVISION_MISMATCH,
    },
    Described {
        name: "conform",
        imports: true,
        control: Some((conform_ioctl::DEVICE_NAME, conform_ioctl::lengths)),
        unknown: status::INVALID_DEVICE_REQUEST,
    },
    Described {
        name: "exchange",
        imports: true,
        control: Some((exchange_ioctl::DEVICE_NAME, exchange_ioctl::lengths)),
        unknown: status::INVALID_DEVICE_REQUEST,
    },
    Described {
        name: "p9probe",
        imports: true,
        control: Some((p9probe_ioctl::DEVICE_NAME, p9probe_ioctl::lengths)),
        unknown: status::INVALID_DEVICE_REQUEST,
    },
];

/// A task, and what is done for it.
type Task = (&'static str, fn(&Described) -> Result<()>);

const TASKS: &[Task] = &[
    ("devices_are_for_administrators", access),
    ("every_length_is_checked", lengths),
    ("what_is_no_code_is_refused", unknown),
    ("a_second_run_is_refused", second),
];

fn main() -> ExitCode {
    let (Ok(task), Ok(driver)) = (env::var(TASK), env::var(DRIVER)) else {
        let trials = DRIVERS.iter().flat_map(|driver| {
            TASKS
                .iter()
                .filter(|(task, _)| concerns(driver, task))
                .map(|(task, _)| {
                    Trial::test(format!("{}::{task}", driver.name), || parent(driver, task))
                })
        });
        return libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code();
    };
    match child(&task, &driver) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn concerns(driver: &Described, task: &str) -> bool {
    match task {
        "devices_are_for_administrators" => true,
        "a_second_run_is_refused" => driver.name == "conform",
        // breaker.sys takes names, of any length.
        "every_length_is_checked" => !matches!(driver.name, "breaker" | "rxce"),
        _ => driver.control.is_some(),
    }
}

fn parent(driver: &Described, task: &str) -> Result<(), Failed> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env::current_exe()?)
        .env(TASK, task)
        .env(DRIVER, driver.name)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{text}", output.status).into())
}

/// Boots, loads, does the task, unloads, and sees that nothing is left.
fn child(task: &str, driver: &str) -> Result<()> {
    let find = |name| DRIVERS.iter().find(|driver| driver.name == name);
    let driver = find(driver).context("no such driver")?;
    let (_, run) = TASKS
        .iter()
        .find(|(name, _)| *name == task)
        .context("no such task")?;
    ntsim::boot(Options {
        echo_debug_output: false,
        ..Options::default()
    });
    let images = images("debug");
    let mut loaded = Vec::new();
    if driver.imports {
        loaded.push(start(&images.join("rxce.sys"))?);
    }
    let before: BTreeSet<String> = namespace::names().into_iter().collect();
    loaded.push(start(&images.join(driver.name).with_extension("sys"))?);
    let devices: Vec<String> = namespace::names()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    ensure!(!devices.is_empty(), "the driver has no device");
    if let Some((control, _)) = driver.control {
        ensure!(
            devices.contains(&control.to_ascii_lowercase()),
            "{control} is not among {devices:?}"
        );
    }
    run(driver)?;
    if task == "devices_are_for_administrators" {
        refused(driver, &devices)?;
    }
    for image in loaded.into_iter().rev() {
        image.unload()?;
    }
    nothing_is_left()
}

fn access(_: &Described) -> Result<()> {
    Ok(())
}

/// An ordinary user may open none of the devices; an administrator may, but for those that are for drivers only.
fn refused(driver: &Described, devices: &[String]) -> Result<()> {
    let denied =
        |opened: &Result<File, NtStatus>| matches!(opened, Err(NtStatus(status::ACCESS_DENIED)));
    for device in devices {
        se::set_user_admin(false);
        for path in [device.clone(), format!("{device}\\below")] {
            let opened = File::open(&path);
            ensure!(
                denied(&opened),
                "an ordinary user opened {path}: {:?}",
                opened.err()
            );
        }
        se::set_user_admin(true);
        let opened = File::open(device);
        let for_drivers = driver.control.is_none();
        ensure!(
            denied(&opened) == for_drivers,
            "an administrator who opens {device} gets {:?}",
            opened.err()
        );
    }
    Ok(())
}

fn open(driver: &Described) -> Result<(File, Lengths)> {
    let (name, lengths) = driver.control.context("no control device")?;
    Ok((File::open(name).context(name)?, lengths))
}

/// Every control code with every short length and the lengths around its limits, filled with zeros and with ones: what the
/// interface does not allow gets the documented status, and the machine goes on in any case.
fn lengths(driver: &Described) -> Result<()> {
    let (device, lengths) = open(driver)?;
    let codes: Vec<u32> = codes().filter(|code| lengths(*code).is_some()).collect();
    ensure!(!codes.is_empty(), "the interface has no codes");
    let mut tried = 0_u64;
    for code in codes {
        let (inputs, least) = lengths(code).context("the code is gone")?;
        let around = |limit: usize| limit.saturating_sub(1)..=limit.saturating_add(1);
        let short: Vec<usize> = (0..=ALL_UP_TO).chain(around(*inputs.start())).collect();
        let rooms: Vec<usize> = (0..=ALL_UP_TO).chain(around(least)).collect();
        let far: Vec<usize> = around(*inputs.end()).collect();
        let pairs = short
            .iter()
            .flat_map(|input| rooms.iter().map(move |room| (*input, *room)))
            .chain(
                far.iter()
                    .flat_map(|input| around(least).map(move |room| (*input, room))),
            );
        for (input, room) in pairs {
            let expected = if !inputs.contains(&input) {
                Some(status::INVALID_PARAMETER)
            } else if room < least {
                Some(status::BUFFER_TOO_SMALL)
            } else {
                None
            };
            for fill in [0, 0xFF] {
                let answer = device.ioctl(code, &vec![fill; input], room);
                tried += 1;
                let what = || format!("{code:#X} with {input} bytes of {fill:#X}, room for {room}");
                match (expected, answer) {
                    (Some(expected), Err(NtStatus(seen))) if seen == expected => {}
                    (Some(expected), answer) => {
                        bail!("{}: {answer:?}, expected {expected:#X}", what())
                    }
                    (None, Err(NtStatus(status::INVALID_DEVICE_REQUEST))) => {
                        bail!("{}: not known to the driver", what())
                    }
                    (None, _) => {}
                }
            }
        }
    }
    eprintln!("{tried} requests");
    Ok(())
}

/// Function codes around those in use, with every method and access.
fn codes() -> impl Iterator<Item = u32> {
    [0x22_u32, 0x21, 0x00].into_iter().flat_map(|kind| {
        (0x7F0..0x890_u32).flat_map(move |function| {
            (0..4_u32).flat_map(move |access| {
                (0..4_u32).map(move |method| kind << 16 | access << 14 | function << 2 | method)
            })
        })
    })
}

/// Everything else is refused, whatever comes with it.
fn unknown(driver: &Described) -> Result<()> {
    let (device, lengths) = open(driver)?;
    for code in codes().filter(|code| lengths(*code).is_none()) {
        for (input, room) in [(0, 0), (4, 0), (0, 4), (64, 4096)] {
            let answer = device.ioctl(code, &vec![0; input], room);
            ensure!(
                matches!(answer, Err(NtStatus(seen)) if seen == driver.unknown),
                "{code:#X} with {input} bytes, room for {room}: {answer:?}"
            );
        }
    }
    Ok(())
}

/// One run at a time; the next may begin when it has ended.
fn second(driver: &Described) -> Result<()> {
    let (first, _) = open(driver)?;
    let name = conform_ioctl::DEVICE_NAME;
    for _ in 0..2 {
        let second = File::open(name).err();
        ensure!(
            second == Some(NtStatus(status::SHARING_VIOLATION)),
            "a second open: {second:?}"
        );
    }
    first.ioctl(
        conform_ioctl::IOCTL_LIST,
        &[],
        conform_ioctl::ListHeader::SIZE,
    )?;
    drop(first);
    open(driver).map(drop)
}
