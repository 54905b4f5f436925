//! Fuzzing of the loader: real images, changed in places that mean something or anywhere, are refused with an error or loaded, and
//! never harm ntsim. Nothing of them is run.
//!
//! Here a fixed number of cases comes from a fixed seed; `cargo xtask fuzz images` goes on with fresh seeds.

#[path = "common/images.rs"]
mod files;

use files::c_driver;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Tells a child process what to do: image, seed, number of cases.
const TASK: &str = "IMAGES_TASK";
/// Seconds to go on for, or `forever`, instead of the tests; and the first seed.
const LIMIT: &str = "FUZZ_LIMIT";
const SEED: &str = "FUZZ_SEED";
/// Cases per image in the test command.
const CASES: u64 = 600;
/// Where they come from.
const FIRST_SEED: u64 = 0xF022_0002;
/// How long a child may take: a loader that runs for ever is a finding.
const PATIENCE: Duration = Duration::from_secs(600);

/// The images that are changed, of different toolchains.
fn images() -> Vec<PathBuf> {
    let built = c_driver("../debug/x86_64/exchange.sys");
    vec![
        c_driver("worker.sys"),
        c_driver("library.sys"),
        c_driver("client/client.sys"),
        built,
    ]
}

fn main() -> ExitCode {
    let result = if let Ok(task) = std::env::var(TASK) {
        child(&task)
    } else if let Ok(limit) = std::env::var(LIMIT) {
        long(&limit)
    } else {
        let trials = images()
            .into_iter()
            .map(|image| {
                let name = image
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                Trial::test(format!("changed copies of {name}"), move || {
                    batch(&image, FIRST_SEED, CASES, true)
                })
            })
            .collect();
        return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.message().unwrap_or("failed"));
            ExitCode::FAILURE
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// A number that programs get wrong.
    fn number(&mut self) -> u32 {
        let small = u32::try_from(self.below(0x1_0000)).unwrap_or(0);
        let choices = [
            0,
            1,
            small,
            small & !0xFFF,
            u32::MAX,
            u32::MAX - 7,
            0x7FFF_FFFF,
            0x8000_0000,
            small << 16,
            0x1000,
        ];
        choices[self.below(choices.len())]
    }
}

fn get32(file: &[u8], at: usize) -> u32 {
    file.get(at..at + 4).map_or(0, |bytes| {
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    })
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = file.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Offset in the file of an address of the image.
fn offset(file: &[u8], rva: u32) -> Option<usize> {
    let headers = get32(file, 0x3C) as usize;
    let count = usize::from(*file.get(headers + 6)?);
    (0..count)
        .map(|n| headers + 24 + 240 + n * 40)
        .find_map(|header| {
            let inside = rva.checked_sub(get32(file, header + 12))?;
            (inside < get32(file, header + 16))
                .then_some((get32(file, header + 20).checked_add(inside)?) as usize)
        })
}

/// Where tables of the image begin, in the file, and how long they are.
fn tables(file: &[u8]) -> Vec<(usize, usize)> {
    let headers = get32(file, 0x3C) as usize;
    let mut tables = vec![(headers, 24 + 240), (headers + 24 + 240, 400)];
    for number in [0_usize, 1, 3, 5, 6, 12] {
        let at = headers + 24 + 112 + number * 8;
        if let Some(place) = offset(file, get32(file, at)) {
            tables.push((place, (get32(file, at + 4) as usize).min(2000)));
        }
    }
    // Unwind data: where the function table leads.
    let functions = offset(file, get32(file, headers + 24 + 112 + 24));
    for n in 0..8 {
        let unwind = functions.and_then(|start| offset(file, get32(file, start + n * 12 + 8)));
        tables.extend(unwind.map(|place| (place, 16)));
    }
    tables
}

/// Changes a copy of an image in one to six ways.
fn change(original: &[u8], random: &mut Random) -> Vec<u8> {
    let mut file = original.to_vec();
    let tables = tables(original);
    for _ in 0..=random.below(6) {
        let (start, bytes) = tables[random.below(tables.len())];
        let aligned = start + random.below(bytes / 4) * 4;
        match random.below(9) {
            0..=3 => {
                let number = random.number();
                put(&mut file, aligned, &number.to_le_bytes());
            }
            4 => {
                let near = get32(&file, aligned).wrapping_add(random.number());
                put(&mut file, aligned, &near.to_le_bytes());
            }
            5 => {
                let byte = u8::try_from(random.below(256)).unwrap_or(0);
                put(&mut file, start + random.below(bytes), &[byte]);
            }
            6 => {
                // One part of a table over another one.
                let (from, length) = tables[random.below(tables.len())];
                let part = file.get(from..from + length.min(64)).map(<[u8]>::to_vec);
                put(&mut file, aligned, &part.unwrap_or_default());
            }
            7 => {
                let place = random.below(file.len());
                let byte = u8::try_from(random.below(256)).unwrap_or(0);
                put(&mut file, place, &[byte]);
            }
            _ => {
                let length = random.below(file.len() + 1);
                if random.below(8) == 0 {
                    file.truncate(length);
                }
            }
        }
    }
    file
}

/// Loads the cases; says after each where it is, for the case that it is the last.
fn child(task: &str) -> Result<(), Failed> {
    let mut words = task.splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (seed, count) = (number().ok_or("no seed")?, number().ok_or("no count")?);
    let original = std::fs::read(words.next().ok_or("no image")?)?;
    ntsim::boot(ntsim::Options {
        trace: ntsim::TraceMode::Off,
        ..ntsim::Options::default()
    });
    let unchanged = ntsim::image::probe(&original).map_err(|error| error.to_string())?;
    let (mut loaded, mut named) = (0, 0);
    for case in 0..count {
        println!("case {case}");
        let file = change(&original, &mut Random(seed.wrapping_add(case << 20)));
        if let Ok(functions) = ntsim::image::probe(&file) {
            loaded += 1;
            named += u64::from(functions > 0);
        }
    }
    println!("loaded {loaded} named {named} whole {unchanged}");
    Ok(())
}

/// Runs cases in a process of their own. `even`: enough of them have to be loaded and refused for the result to mean anything.
fn batch(image: &std::path::Path, seed: u64, count: u64, even: bool) -> Result<(), Failed> {
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .env(TASK, format!("{seed} {count} {}", image.display()))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    let id = child.id().to_string();
    let (ended, watch) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if watch.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().ok_or("no output")?, &mut out)?;
    let output = child.wait_with_output()?;
    drop(ended);
    let _ = watch.join();
    let last = out.lines().last().unwrap_or_default();
    if !output.status.success() || !last.starts_with("loaded ") {
        return Err(format!(
            "{}, seed {seed:#x}, {last}: {} after {:?}\n{}",
            image.display(),
            output.status,
            started.elapsed(),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let numbers: Vec<u64> = last
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let (loaded, named) = (numbers[0], numbers[1]);
    if even && (loaded < count / 20 || loaded > count * 19 / 20 || named < count / 50) {
        return Err(format!("the cases are all alike: {last} of {count}").into());
    }
    Ok(())
}

/// The endless form.
fn long(limit: &str) -> Result<(), Failed> {
    let limit = match limit {
        "forever" => None,
        seconds => Some(Duration::from_secs(seconds.parse()?)),
    };
    let mut seed = match std::env::var(SEED) {
        Ok(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16)?,
            None => text.parse()?,
        },
        Err(_) => u64::from(std::process::id()) << 32 | 0x5EED,
    };
    let (started, mut ran) = (Instant::now(), 0);
    while limit.is_none_or(|limit| started.elapsed() < limit) {
        for image in images() {
            batch(&image, seed, 5000, false)?;
            ran += 5000;
        }
        println!("seed {seed:#x}: {ran} images so far");
        seed = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
    }
    println!(
        "fuzzed: executions={ran} in {} s, nothing found",
        started.elapsed().as_secs()
    );
    Ok(())
}
