//! One process of a search: a machine, a duel, so many schedules.

use std::{env, path::PathBuf, str::FromStr, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use conform_ioctl::{DEVICE_NAME, DUELS, DuelRequest, DuelResult, IOCTL_DUEL};
use ntsim::{
    File, Options, Rules, TraceMode,
    explore::{self, Plan, Schedule},
};

/// Tells a child process where the images are; with it come the duel, the plan, and the most schedules.
pub(crate) const IMAGES: &str = "EXPLORE_IMAGES";
pub(crate) const DUEL_NAME: &str = "EXPLORE_CHILD_DUEL";
pub(crate) const PLAN: &str = "EXPLORE_PLAN";
pub(crate) const ROUNDS: &str = "EXPLORE_ROUNDS";
/// The last line of a child that found nothing begins with this; then come a [`super::find::Progress`]'s fields.
pub(crate) const DONE: &str = "done:";
/// Real time that a process gets.
const LIMIT: Duration = Duration::from_secs(900);

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

fn number<T: FromStr>(text: Option<&str>) -> Result<T> {
    text.and_then(|text| text.parse().ok())
        .context("a number is missing")
}

/// `exhaustive BOUND FIRST`, `random SEED stepping`, `pct SEED CHANGES`, or `replay SCHEDULE`.
fn plan(text: &str) -> Result<Plan> {
    let mut words = text.split(' ');
    Ok(match words.next() {
        Some("exhaustive") => Plan::Exhaustive {
            bound: number(words.next())?,
            first: number::<Schedule>(words.next())?,
        },
        Some("random") => Plan::Random {
            seed: number(words.next())?,
            stepping: number(words.next())?,
        },
        Some("pct") => Plan::Pct {
            seed: number(words.next())?,
            changes: number(words.next())?,
        },
        Some("replay") => Plan::Replay(number(words.next())?),
        _ => bail!("no plan: {text}"),
    })
}

/// Runs the schedules, and sees that nothing is left.
pub(crate) fn run() -> Result<()> {
    let images = PathBuf::from(variable(IMAGES)?);
    let name = variable(DUEL_NAME)?;
    let plan = plan(&variable(PLAN)?)?;
    let duel = DUELS.iter().position(|duel| *duel == name);
    let duel = duel.with_context(|| format!("there is no duel {name}"))?;
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("no result in {} s of real time", LIMIT.as_secs());
        std::process::exit(97);
    });
    // Some duels are about conform.sys itself.
    let own = name.starts_with("racy/") || name.starts_with("fixed/");
    let replays = matches!(plan, Plan::Replay(_));
    ntsim::boot(Options {
        explore: true,
        // It would see a wrong order of locks without the help of any schedule.
        rules: if own {
            Rules::USUAL - Rules::DEADLOCK
        } else {
            Rules::USUAL
        },
        trace: TraceMode::Ring(20_000),
        echo_debug_output: replays,
        ..Options::default()
    });
    ntsim::trace::set_recording(false);
    explore::search(plan, &[if own { "conform.sys" } else { "rxce.sys" }]);
    if replays {
        explore::tell_on_stop();
    }
    let load = |name: &str| suites::machine::start(&images.join(name));
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let request = DuelRequest {
        duel: u32::try_from(duel)?,
        rounds: number(Some(&variable(ROUNDS)?))?,
        faults: false,
    };
    let output = device
        .ioctl(IOCTL_DUEL, &request.to_bytes(), DuelResult::SIZE)
        .context("IOCTL_DUEL")?;
    let result = DuelResult::from_bytes(&output).context("the result is malformed")?;
    let report = explore::report();
    if replays {
        println!("{}", ntsim::trace::timeline());
        println!(
            "hash {:016x}, preempted {} times",
            report.hash, report.preempted
        );
    }
    if result.violated {
        eprintln!("violated: {}", result.text.as_str());
        eprintln!("schedule {}", report.last);
        // Its threads are where they were: nothing can be unloaded.
        std::process::exit(1);
    }
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    println!(
        "{DONE} {} {} {} {} {} {:016x} {}",
        report.schedules,
        report.decisions,
        report.exhausted,
        report.diverged,
        result.outcomes,
        report.hash,
        report.next
    );
    Ok(())
}
