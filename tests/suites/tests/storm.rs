//! Storms of conform.sys against the built rxce.sys, debug and release: fixed seeds here, fresh ones with `cargo xtask soak`.
//!
//! Each storm is a machine of its own, and prints its seed. The seed fixes what every thread chooses, not how the
//! threads interleave: a seed that failed is worth running more than once (`STORM_SEED`, `STORM_FLAGS`, `STORM_ROUNDS`, and
//! `STORM_FORCE_PENDING=1` if it says `Forced`).

use std::{
    env,
    fmt::Write as _,
    path::Path,
    process::{Command, ExitCode},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use conform_ioctl::{DEVICE_NAME, IOCTL_STORM, StormCount, StormFlags, StormRequest, StormResult};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{File, Options, Rules, TraceMode, fault, image::Image};
use suites::machine::images;

/// Tells a child process where the images are; with it come the seed, the flags, the threads and the rounds.
const IMAGES: &str = "STORM_IMAGES";
const SEED: &str = "STORM_SEED";
const FLAGS: &str = "STORM_FLAGS";
const THREADS: &str = "STORM_THREADS";
const ROUNDS: &str = "STORM_ROUNDS";
/// Set for a machine that forces requests to pend.
const PENDING: &str = "STORM_FORCE_PENDING";
/// Seconds to run fresh seeds for, or `forever`, instead of the tests.
const SOAK: &str = "STORM_SOAK";
/// Begins the line that tells how many call stacks failed.
const POINTS: &str = "points ";
/// Most storms in one machine until no call stack is new.
const MOST_REPEATS: u32 = 40;
/// Real time that one storm gets.
const LIMIT: Duration = Duration::from_secs(900);

/// A storm that the test command runs.
#[derive(Clone, Copy)]
struct Fixed {
    name: &'static str,
    pending: Pending,
    request: StormRequest,
}

impl Fixed {
    /// The same with a fault for each new call stack, and fewer rounds, which are repeated until there is no new one.
    fn with_stacks(&self) -> Self {
        let flags = self.request.flags.0 | StormFlags::FAULTS | StormFlags::STACKS;
        Self {
            request: StormRequest {
                seed: self.request.seed + 0x100,
                rounds: 40,
                flags: StormFlags(flags),
                ..self.request
            },
            ..*self
        }
    }

    fn mark(&self) -> &'static str {
        if self.request.flags.has(StormFlags::STACKS) {
            ", under faults"
        } else {
            ""
        }
    }
}

/// Whether the machine forces requests to pend, as Driver Verifier's option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    AsItComes,
    Forced,
}

const fn fixed(name: &'static str, seed: u64, threads: u32, rounds: u32, flags: u32) -> Fixed {
    Fixed {
        name,
        pending: Pending::AsItComes,
        request: StormRequest {
            seed,
            threads,
            rounds,
            flags: StormFlags(flags),
        },
    }
}

const FIXED: &[Fixed] = &[
    fixed("plain", 0x51EE_7001, 4, 250, 0),
    fixed("stuck requests", 0x51EE_7002, 4, 250, StormFlags::STUCK),
    fixed(
        "address errors, late calls",
        0x51EE_7003,
        4,
        250,
        StormFlags::ERRORS | StormFlags::LATE,
    ),
    fixed(
        "abortive and unruly",
        0x51EE_7004,
        4,
        250,
        StormFlags::ABORTIVE | StormFlags::UNRULY | StormFlags::STUCK,
    ),
    fixed("memory fails", 0x51EE_7005, 4, 250, StormFlags::FAULTS),
    fixed("everything", 0x51EE_7006, 6, 250, StormFlags::ALL),
    Fixed {
        pending: Pending::Forced,
        ..fixed("force pending", 0x51EE_7007, 4, 250, StormFlags::ALL)
    },
];

fn main() -> ExitCode {
    let result = if let Some(images) = env::var_os(IMAGES) {
        child(Path::new(&images))
    } else if let Ok(limit) = env::var(SOAK) {
        soak(&limit)
    } else {
        let trials = ["debug", "release"].into_iter().flat_map(trials).collect();
        return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(profile: &'static str) -> impl Iterator<Item = Trial> {
    // The shipped image again, with a fault for each call stack.
    let stacks = FIXED
        .iter()
        .filter(move |_| profile == "release")
        .map(Fixed::with_stacks);
    FIXED.iter().copied().chain(stacks).map(move |storm| {
        let seed = storm.request.seed;
        let name = format!("{profile}::{}{} (seed {seed:#x})", storm.name, storm.mark());
        Trial::test(name, move || {
            let text = run_child(&images(profile), &storm.request, storm.pending)
                .map_err(|error| Failed::from(format!("{error:#}")))?;
            println!("{profile}, {}{}: {text}", storm.name, storm.mark());
            record(profile, &storm, &text)
        })
    })
}

/// Keeps the figures: a round is one schedule of all its threads, and so many circuits lived and died in it.
fn record(profile: &str, storm: &Fixed, text: &str) -> Result<(), Failed> {
    let torn_down = StormCount::NAMES[StormCount::TornDown as usize];
    let lives = text.split("; ").find(|count| count.ends_with(torn_down));
    let name = format!(
        "storm of the {profile} image: {}{}",
        storm.name,
        storm.mark()
    );
    if storm.request.flags.has(StormFlags::STACKS) {
        let points = text.lines().find_map(|line| line.strip_prefix(POINTS));
        let points = points.and_then(|points| points.parse().ok());
        let points = points
            .filter(|points| *points != 0)
            .ok_or("nothing failed")?;
        evidence::record(evidence::Kind::Swept, &name, points)?;
        return Ok(());
    }
    let rounds = storm.request.rounds.into();
    let note = lives.unwrap_or_default();
    evidence::record_with_note(evidence::Kind::Explored, &name, rounds, note)?;
    Ok(())
}

/// Runs a storm in a process of its own; what it counted, or why it failed.
fn run_child(images: &Path, request: &StormRequest, pending: Pending) -> Result<String> {
    let mut command = Command::new(env::current_exe()?);
    if pending == Pending::Forced {
        command.env(PENDING, "1");
    }
    let output = command
        .env(IMAGES, images)
        .env(SEED, format!("{:#x}", request.seed))
        .env(FLAGS, format!("{:#x}", request.flags.0))
        .env(THREADS, request.threads.to_string())
        .env(ROUNDS, request.rounds.to_string())
        .output()?;
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(
        output.status.success(),
        "{} {request:x?} {pending:?}\n{out}{err}",
        output.status
    );
    Ok(out.trim().to_owned())
}

/// A number from the environment, decimal or hexadecimal.
fn number<T: FromStr + TryFrom<u64>>(name: &str) -> Result<Option<T>> {
    let Ok(text) = env::var(name) else {
        return Ok(None);
    };
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let value = value.and_then(|value| T::try_from(value).ok());
    value
        .map(Some)
        .with_context(|| format!("{name}={text} is not a number that fits"))
}

/// Boots, loads both drivers, lets the storm go, unloads them, and sees that nothing is left.
fn child(images: &Path) -> Result<()> {
    let request = StormRequest {
        seed: number(SEED)?.context("no seed")?,
        threads: number(THREADS)?.unwrap_or(4),
        rounds: number(ROUNDS)?.unwrap_or(400),
        flags: StormFlags(number(FLAGS)?.unwrap_or(0)),
    };
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("no result in {} s of real time", LIMIT.as_secs());
        std::process::exit(97);
    });
    ntsim::boot(Options {
        trace: TraceMode::Ring(2000),
        seed: request.seed,
        rules: match env::var_os(PENDING) {
            Some(_) => Rules::USUAL | Rules::FORCE_PENDING,
            None => Rules::USUAL,
        },
        ..Options::default()
    });
    let load = |name: &str| suites::machine::start(&images.join(name));
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let result = if request.flags.has(StormFlags::STACKS) {
        // So many storms take their time; what fails is run again by hand without this.
        ntsim::trace::set_recording(false);
        until_nothing_new(&device, request, rxce.image())?
    } else {
        once(&device, request)?
    };
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    at_work(&result)
}

/// Storms with other seeds until one brings no new call stack that can fail; the last one's result, with what all of them counted.
fn until_nothing_new(
    device: &File,
    mut request: StormRequest,
    engine: &Image,
) -> Result<StormResult> {
    let mut sums = [0; StormCount::NAMES.len()];
    for _ in 0..MOST_REPEATS {
        let before = fault::failed_stacks(engine);
        let mut result = once(device, request)?;
        for (sum, count) in sums.iter_mut().zip(result.counts) {
            *sum += count;
        }
        let now = fault::failed_stacks(engine);
        if now == before {
            println!("{POINTS}{now}");
            result.counts = sums;
            return Ok(result);
        }
        request.seed += 0x1000;
    }
    bail!("new call stacks after {MOST_REPEATS} storms")
}

/// One storm.
fn once(device: &File, request: StormRequest) -> Result<StormResult> {
    let output = device
        .ioctl(IOCTL_STORM, &request.to_bytes(), StormResult::SIZE)
        .context("IOCTL_STORM")?;
    let result = StormResult::from_bytes(&output).context("the result is malformed")?;
    println!("{}", summary(&request, &result));
    if result.violated {
        // Its threads are where they were: nothing can be unloaded.
        eprintln!("after {} rounds: {}", result.rounds, result.text.as_str());
        std::process::exit(1);
    }
    ensure!(
        result.rounds == request.rounds,
        "only {} rounds",
        result.rounds
    );
    Ok(result)
}

/// A storm in which nothing happened shows nothing.
fn at_work(result: &StormResult) -> Result<()> {
    let needed = [
        StormCount::Built,
        StormCount::Sent,
        StormCount::SentAndWaited,
        StormCount::Initiated,
        StormCount::TornDown,
        StormCount::SendCompleted,
        StormCount::Received,
        StormCount::Ready,
        StormCount::Disconnected,
        StormCount::EndedLater,
        StormCount::Competitions,
        StormCount::Completions,
        StormCount::SendPossible,
        StormCount::DatagramsCompleted,
        StormCount::Datagrams,
    ];
    for count in needed {
        if result.counts[count as usize] == 0 {
            bail!(
                "nothing of this kind happened: {}",
                StormCount::NAMES[count as usize]
            );
        }
    }
    Ok(())
}

fn summary(request: &StormRequest, result: &StormResult) -> String {
    let mut text = format!(
        "seed {:#x}, flags {:#x}, {} threads, {} rounds",
        request.seed, request.flags.0, request.threads, result.rounds
    );
    for (name, count) in StormCount::NAMES.iter().zip(result.counts) {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {count} {name}");
        }
    }
    text
}

/// Fresh seeds, one after the other, until the time is over or a storm fails.
fn soak(limit: &str) -> Result<()> {
    let limit = match limit {
        "forever" => None,
        seconds => Some(Duration::from_secs(seconds.parse()?)),
    };
    let started = Instant::now();
    let mut seed: u64 = match number(SEED)? {
        Some(seed) => seed,
        None => rand::random(),
    };
    let mut storms = 0_u64;
    while limit.is_none_or(|limit| started.elapsed() < limit) {
        let profile = if storms.is_multiple_of(2) {
            "release"
        } else {
            "debug"
        };
        // The high bytes: the lowest bits of successive seeds alternate.
        let [.., pending, threads, flags] = seed.to_le_bytes().map(u32::from);
        let request = StormRequest {
            seed,
            threads: 2 + threads % (StormRequest::MOST_THREADS - 1),
            rounds: number(ROUNDS)?.unwrap_or(400),
            flags: StormFlags(number(FLAGS)?.unwrap_or(flags & StormFlags::ALL)),
        };
        let pending = if pending.is_multiple_of(2) {
            Pending::AsItComes
        } else {
            Pending::Forced
        };
        println!(
            "{profile}: {}",
            run_child(&images(profile), &request, pending)?
        );
        storms += 1;
        seed = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
    }
    println!(
        "{storms} storms in {} s, none failed",
        started.elapsed().as_secs()
    );
    Ok(())
}
