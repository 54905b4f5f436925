//! Programs run in a machine: a process of its own that boots ntsim, loads both drivers, and carries program after
//! program out. It ends with the first one that finds something.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use conform_ioctl::{DEVICE_NAME, FuzzCount, FuzzResult, IOCTL_FUZZ};
use ntsim::{File, Options, TraceMode};
use suites::machine::images;

use crate::listing::{self, Program};

/// Tells a child process where its programs are.
pub(crate) const PROGRAMS: &str = "FUZZ_PROGRAMS";
/// And which images.
const IMAGES: &str = "FUZZ_IMAGES";
/// Real time that one machine gets.
const LIMIT: Duration = Duration::from_secs(600);

/// What programs did, by [`FuzzCount`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts(pub(crate) [u64; FuzzCount::NAMES.len()]);

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (name, count)) in FuzzCount::NAMES.iter().zip(self.0).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {name}")?;
        }
        Ok(())
    }
}

/// How a machine ended too early.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The number of the program that was on.
    pub(crate) program: usize,
    /// In one line, without what changes from run to run.
    pub(crate) kind: String,
    /// Everything that was printed.
    pub(crate) output: String,
}

/// Runs programs, one after the other.
pub(crate) fn run(
    profile: &str,
    programs: &[Program],
) -> Result<std::result::Result<Counts, Failure>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("programs");
    fs::write(&file, listing::write(programs))?;
    let output = Command::new(env::current_exe()?)
        .env(PROGRAMS, &file)
        .env(IMAGES, images(profile))
        .output()?;
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let begun = out
        .lines()
        .filter(|line| line.starts_with("program "))
        .count();
    if output.status.success() {
        ensure!(
            begun == programs.len(),
            "{begun} of {} programs ran\n{out}",
            programs.len()
        );
        return Ok(Ok(sum(&out)));
    }
    if begun == 0 {
        bail!("the machine does not start: {}\n{out}{err}", output.status);
    }
    Ok(Err(Failure {
        program: begun.saturating_sub(1),
        kind: kind(output.status.code(), &err),
        output: err,
    }))
}

/// Failures are of a kind if they end in the same way with the same words, numbers apart.
fn kind(code: Option<i32>, err: &str) -> String {
    let line = err
        .lines()
        .find(|line| line.starts_with("found: "))
        .or_else(|| err.lines().find(|line| line.contains("0x")))
        .or_else(|| err.lines().next())
        .unwrap_or_default();
    // A bug check's code is what tells it from others; other numbers are not.
    let codes = line.contains("STOP");
    let words: Vec<&str> = line
        .split(|sign: char| !sign.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() < 40)
        .filter(
            |word| match word.starts_with(|sign: char| sign.is_ascii_digit()) {
                true => codes && word.len() < 12,
                false => true,
            },
        )
        .take(14)
        .collect();
    format!("exit {}: {}", code.unwrap_or(-1), words.join(" "))
}

fn sum(out: &str) -> Counts {
    let mut counts = Counts::default();
    for line in out.lines().filter_map(|line| line.strip_prefix("counts ")) {
        for (sum, word) in counts.0.iter_mut().zip(line.split(' ')) {
            *sum += word.parse().unwrap_or(0);
        }
    }
    counts
}

/// The machine: boots, runs the programs, unloads.
pub(crate) fn child(programs: &Path) -> Result<()> {
    let programs = listing::read(&fs::read_to_string(programs)?)?;
    let images = PathBuf::from(env::var_os(IMAGES).context("no images")?);
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("found: no result in {} s of real time", LIMIT.as_secs());
        std::process::exit(97);
    });
    ntsim::boot(Options {
        trace: TraceMode::Ring(2000),
        echo_debug_output: false,
        ..Options::default()
    });
    let load = |name: &str| suites::machine::start(&images.join(name));
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    for (number, program) in programs.iter().enumerate() {
        println!("program {number}");
        std::io::stdout().flush()?;
        let bytes: Vec<u8> = program.iter().flat_map(|step| step.to_bytes()).collect();
        let output = device
            .ioctl(IOCTL_FUZZ, &bytes, FuzzResult::SIZE)
            .context("IOCTL_FUZZ")?;
        let result = FuzzResult::from_bytes(&output).context("the result is malformed")?;
        let counts: Vec<String> = result.counts.iter().map(u32::to_string).collect();
        println!("counts {}", counts.join(" "));
        if result.violated {
            // Its threads may be where they were: nothing can be unloaded.
            eprintln!("found: {}", result.text.as_str());
            std::process::exit(1);
        }
    }
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    Ok(())
}
