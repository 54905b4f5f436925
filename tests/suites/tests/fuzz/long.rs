//! Batches of programs, what becomes of findings, and the endless form.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use evidence::Kind;

use crate::{
    listing,
    machine::{self, Counts},
    program, pure, shrink,
    target::{self, Target},
};

/// Seconds to go on for, or `forever`, instead of the tests.
pub(crate) const LIMIT: &str = "FUZZ_LIMIT";
/// The first seed; a random one without it.
const SEED: &str = "FUZZ_SEED";
/// One target alone.
const TARGET: &str = "FUZZ_TARGET";
/// Programs for one machine.
const BATCH: u64 = 100;

/// Where inputs are kept that once found something.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/regressions")
}

/// Runs `count` programs of a seed. What is found is made small, saved, and an error.
pub(crate) fn batch(target: &Target, profile: &str, seed: u64, count: u64) -> Result<Counts> {
    let programs: Vec<_> = (0..count)
        .map(|n| program::of_seed(target, seed, n))
        .collect();
    let failure = match machine::run(profile, &programs)? {
        Ok(counts) => return Ok(counts),
        Err(failure) => failure,
    };
    let number = failure.program;
    println!(
        "{}: program {number} of seed {seed:#x} ({profile}) finds: {}",
        target.name, failure.kind
    );
    let finding = shrink::shrink(profile, &programs, failure)?;
    let text = format!(
        "# {} of {}, program {number} of seed {seed:#x}, {profile} image\n# {}\n{}",
        if finding.stable {
            "A finding"
        } else {
            "An unsteady finding"
        },
        target.name,
        finding.failure.kind,
        listing::write(&finding.programs)
    );
    let file = directory().join(format!("{}-{seed:x}-{number}.steps", target.name));
    fs::create_dir_all(directory())?;
    fs::write(&file, &text)?;
    bail!(
        "{}\n{text}saved as {}",
        finding.failure.output,
        file.display()
    )
}

/// Replays what is kept, each file in a machine of its own, with both forms of the image.
pub(crate) fn regressions() -> Result<()> {
    let mut replayed = 0;
    for entry in fs::read_dir(directory())? {
        let path = entry?.path();
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).with_context(|| name.clone())?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("steps") => {
                let programs = listing::read(&text).with_context(|| name.clone())?;
                for profile in ["debug", "release"] {
                    if let Err(failure) = machine::run(profile, &programs)? {
                        bail!(
                            "{name} finds ({profile}): {}\n{}",
                            failure.kind,
                            failure.output
                        );
                    }
                }
            }
            Some("hex") => pure::replay(&text).with_context(|| name.clone())?,
            _ => continue,
        }
        replayed += 1;
    }
    ensure!(replayed > 0, "no regressions in {}", directory().display());
    evidence::record(Kind::Fuzzed, "inputs that once found something", replayed)?;
    Ok(())
}

/// Goes on with fresh seeds until the time is over or something is found.
pub(crate) fn run(limit: &str) -> Result<()> {
    let limit = match limit {
        "forever" => None,
        seconds => Some(Duration::from_secs(seconds.parse()?)),
    };
    let only = env::var(TARGET).ok();
    let chosen = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let programs: Vec<&Target> = target::TARGETS
        .iter()
        .filter(|target| chosen(target.name))
        .collect();
    let inputs: Vec<&pure::Target> = pure::TARGETS
        .iter()
        .filter(|target| chosen(target.name))
        .collect();
    ensure!(
        programs.len() + inputs.len() > 0,
        "no such target; there are: {}",
        names().join(", ")
    );
    let mut seed = match env::var(SEED) {
        Ok(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16)?,
            None => text.parse()?,
        },
        Err(_) => rand::random(),
    };
    let started = Instant::now();
    let (mut ran, mut turn) = (0, 0_u64);
    while limit.is_none_or(|limit| started.elapsed() < limit) {
        let profile = if turn.is_multiple_of(2) {
            "release"
        } else {
            "debug"
        };
        for target in &programs {
            let counts = batch(target, profile, seed, BATCH)?;
            println!(
                "seed {seed:#x}, {profile}, {}: {BATCH} programs, {counts}",
                target.name
            );
            ran += BATCH;
        }
        for target in &inputs {
            pure::run(target, seed, 100_000)?;
            ran += 100_000;
        }
        turn += 1;
        seed = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
    }
    println!(
        "fuzzed: executions={ran} in {} s, nothing found",
        started.elapsed().as_secs()
    );
    Ok(())
}

fn names() -> Vec<&'static str> {
    let programs = target::TARGETS.iter().map(|target| target.name);
    programs
        .chain(pure::TARGETS.iter().map(|target| target.name))
        .collect()
}
