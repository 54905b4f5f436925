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
use breaker_ioctl::{DEVICE_NAME, Machine, Rule, Stop, TRANSPORT_NAME, Twin, control_code, rules};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{File, Options, PoolGuard, Rules};

/// Tells a child process what to do: the control code.
const TASK: &str = "RULES_TASK";
/// Set for a machine in which the rule's class is off.
const OFF: &str = "RULES_OFF";
/// One rule of each class that can be switched off, for a run in which it is: what stops all the same is no option.
const SWITCHED_OFF: [&str; 9] = [
    "irql_set_event",
    "unload_with_pool",
    "irp_another_status",
    "lock_order_inverted",
    "irp_with_a_user_buffer",
    "overlapping_copy",
    "irql_clear_event",
    "pool_executable",
    "irp_buffer_changed",
];
/// Rules that the kernel looks at when the driver's code has returned: nothing of it is on the stack.
const AFTERWARDS: [&str; 16] = [
    "mutex_held_at_the_end",
    "dpc_changes_irql",
    "work_item_changes_apcs",
    "irp_cancelled_for_ever",
    "entry_at_raised_irql",
    "unload_with_pool",
    "unload_with_an_irp",
    "unload_with_an_mdl",
    "unload_with_a_handle",
    "unload_with_a_reference",
    "unload_with_a_device",
    "unload_with_a_timer",
    "unload_with_an_etw_provider",
    "unload_with_a_thread",
    "unload_with_a_work_item",
    "unload_in_a_completion_routine",
];
/// Tells a child process where the images are.
const IMAGES: &str = "RULES_IMAGES";
/// Real time that one rule gets.
const LIMIT: Duration = Duration::from_secs(600);
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
    trials.extend(
        rules()
            .enumerate()
            .filter(|(_, rule)| SWITCHED_OFF.contains(&rule.name))
            .map(|(number, rule)| off(&folder, number, rule)),
    );
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
    let built = suites::machine::images("debug");
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

/// The rule is broken where nobody watches: nothing stops.
fn off(images: &Path, number: usize, rule: &'static Rule) -> Trial {
    let images = images.to_owned();
    Trial::test(format!("{} (off)", rule.name), move || {
        let code = control_code(number, Twin::Guilty).ok_or("a number without a control code")?;
        let output = Command::new(env::current_exe()?)
            .env(TASK, code.to_string())
            .env(IMAGES, &images)
            .env(OFF, "1")
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let report = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}\n{report}", output.status).into())
    })
}

/// The options without the class of a rule.
fn without(options: Options, rule: &Rule) -> Options {
    let Stop::BugCheck(code, [sub, ..]) = rule.stop else {
        return options;
    };
    let class = Rules::of(ntsim::stop::Stop {
        code,
        sub: sub.unwrap_or_default(),
    });
    Options {
        rules: options.rules - class,
        ..options
    }
}

/// Whether the machine ended as the rule says, and said where.
fn guilty(rule: &Rule, code: Option<i32>, report: &str) -> Result<(), String> {
    match rule.stop {
        Stop::Hang(wanted) if code == Some(98) => {
            let shown = waiters(report);
            if shown == wanted {
                Ok(())
            } else {
                Err(format!(
                    "{shown} waits with the driver's stack instead of {wanted}"
                ))
            }
        }
        Stop::Hang(_) => Err("no hang".to_owned()),
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
            let place = if AFTERWARDS.contains(&rule.name) {
                Some(report)
            } else {
                stack_of(report)
            };
            if place.is_some_and(|place| place.contains("breaker.sys")) {
                Ok(())
            } else {
                Err("the report does not name the driver where it should".to_owned())
            }
        }
    }
}

/// How many waiting threads of a hang's report have the driver's stack. Each that is not idle must have one.
fn waiters(report: &str) -> usize {
    let waits = report.split("\n  thread ").skip(1);
    let waits = waits.filter(|wait| !wait.lines().next().unwrap_or("").contains("(idle server)"));
    let with_stack = |wait: &&str| {
        let lines = wait.lines().skip(1);
        let mut lines = lines.take_while(|line| line.starts_with("    "));
        lines.any(|line| line.trim_start().starts_with("breaker.sys+"))
    };
    waits.filter(with_stack).count()
}

/// The driver's call stack of a report.
fn stack_of(report: &str) -> Option<&str> {
    let (_, rest) = report.split_once("driver call stack:")?;
    Some(rest.split_once("last calls:")?.0)
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
        Machine::Usual | Machine::Transport => usual,
        Machine::GuardInFront => Options {
            pool_guard: PoolGuard::Start,
            ..usual
        },
        Machine::ForcePending => Options {
            rules: usual.rules | Rules::FORCE_PENDING,
            ..usual
        },
        Machine::InvariantMdl => Options {
            rules: usual.rules | Rules::INVARIANT_MDL_STACK,
            ..usual
        },
        Machine::LowResources => Options {
            rules: usual.rules | Rules::LOW_RESOURCES,
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
    let options = options(rule.machine);
    let is_off = env::var_os(OFF).is_some();
    ntsim::boot(if is_off {
        without(options, rule)
    } else {
        options
    });
    if rule.machine == Machine::Transport {
        ntsim::udp::install(TRANSPORT_NAME);
    }
    let load = |name: &str| suites::machine::start(&images.join(name));
    let (breaker, below) = (load(DRIVER)?, load(BELOW)?);
    let device = File::open(DEVICE_NAME).context(DEVICE_NAME)?;
    device
        .ioctl(code, rule.name.as_bytes(), 0)
        .context("the rule's control code")?;
    drop(device);
    breaker.unload()?;
    below.unload()?;
    if is_off {
        // What it broke may be a rule about what is left.
        return Ok(());
    }
    let left = ntsim::account().total;
    ensure!(left == ntsim::account::Counts::default(), "left: {left}");
    Ok(())
}
