//! Duels in which the engine's kernel calls fail: in each round the first from a call stack that has not failed yet, until
//! twenty rounds bring no new one. Nobody chooses the order of threads then.
//!
//! Such a round may end in other ways than the duel allows, so it is not judged. The machine must not stop or hang, the tear-down must succeed, and
//! the engine must hold what it held before.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use conform_ioctl::{DEVICE_NAME, DUELS, DuelRequest, DuelResult, IOCTL_DUEL};
use libtest_mimic::{Failed, Trial};
use ntsim::{File, Options, TraceMode};

use suites::machine::{self, images};

/// Tells a child process where the images are; with it comes the duel.
pub(crate) const IMAGES: &str = "EXPLORE_FAULTS_IMAGES";
const DUEL: &str = "EXPLORE_FAULTS_DUEL";
/// The duels whose parts need no memory: tear-down needs none, nor does what the peer does.
const NOTHING_CAN_FAIL: [&str; 5] = [
    "tear-down/tear-down",
    "tear-down/remote-release",
    "tear-down/remote-abort",
    "tear-down/address-error",
    "receive/tear-down",
];
/// More rounds than any duel needs.
const MOST: u32 = 2000;
/// Real time that a duel gets.
const LIMIT: Duration = Duration::from_secs(600);

/// One for each duel of the engine.
pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    let own = |duel: &str| duel.starts_with("racy/") || duel.starts_with("fixed/");
    let duels = DUELS.iter().filter(move |duel| !own(duel));
    duels.map(|&duel| {
        Trial::test(format!("release::{duel}::under faults"), move || {
            let points = run_child(&images("release"), duel)?;
            let name = format!("duel {duel} under faults, release");
            evidence::record(evidence::Kind::Swept, &name, points)?;
            Ok(())
        })
    })
}

fn run_child(images: &Path, duel: &str) -> Result<u64, Failed> {
    let output = Command::new(env::current_exe()?)
        .env(IMAGES, images)
        .env(DUEL, duel)
        .output()?;
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    match out.trim().parse() {
        Ok(points) if output.status.success() => Ok(points),
        _ => Err(format!("{}\n{out}{err}", output.status).into()),
    }
}

/// The machine of one duel; prints how many rounds had a failing call.
pub(crate) fn run() -> Result<()> {
    let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
    let name = env::var(DUEL)?;
    let duel = DUELS.iter().position(|duel| *duel == name);
    let duel = duel.with_context(|| format!("there is no duel {name}"))?;
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("no result in {} s of real time", LIMIT.as_secs());
        std::process::exit(97);
    });
    ntsim::boot(Options {
        trace: TraceMode::Ring(2000),
        ..Options::default()
    });
    let load = |name: &str| machine::start(&images.join(name));
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let request = DuelRequest {
        duel: u32::try_from(duel)?,
        rounds: MOST,
        faults: true,
    };
    let output = device
        .ioctl(IOCTL_DUEL, &request.to_bytes(), DuelResult::SIZE)
        .context("IOCTL_DUEL")?;
    let result = DuelResult::from_bytes(&output).context("the result is malformed")?;
    ensure!(
        !result.violated,
        "after {} rounds, {} with a failing call: {}",
        result.rounds,
        result.faulted,
        result.text.as_str()
    );
    ensure!(result.rounds < MOST, "new call stacks without end");
    ensure!(
        (result.faulted == 0) == NOTHING_CAN_FAIL.contains(&name.as_str()),
        "{} rounds had a failing call",
        result.faulted
    );
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    println!("{}", result.faulted);
    Ok(())
}
