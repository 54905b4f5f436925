//! Kernel routines called with arguments that make no sense: the machine may stop or return, whatever fits, but ntsim itself
//! must not fail.

use crate::driver::Builder;
use crate::scenarios::{Bench, NON_PAGED, TAG};
use libtest_mimic::Failed;
use ntsim::{Options, TraceMode};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Tells a child process which routine to call, and from which seed.
pub(crate) const VARIABLE: &str = "NTSIM_WILD";
/// How many seeds each routine gets; the variable `NTSIM_WILD_SEEDS` changes it.
const SEEDS: u64 = 2;
/// Calls of one seed, as long as the machine runs.
const CALLS: u64 = 24;
/// Real time of one machine.
const LIMIT: Duration = Duration::from_secs(120);

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The machine: calls one routine until it stops or was called often enough.
pub(crate) fn child(task: &str) {
    let (name, seed) = task.split_once(':').unwrap();
    let name: &'static str = name.to_owned().leak();
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("no end in {} s", LIMIT.as_secs());
        std::process::exit(100);
    });
    ntsim::boot(Options {
        trace: TraceMode::Ring(100),
        spin_limit: Duration::from_millis(200),
        burn_limit: Duration::from_secs(1),
        echo_debug_output: false,
        ..Options::default()
    });
    let bench = Bench::load(|driver: &mut Builder| {
        driver.forward("ExAllocatePool2");
        if name != "ExAllocatePool2" {
            driver.forward(name);
        }
    });
    let block = bench.allocate(4096);
    let full = bench.allocate(64);
    // SAFETY: The block was just allocated, and nobody else knows it.
    unsafe { core::ptr::write_bytes(full as *mut u8, 0xFF, 64) };
    let call: &'static str = format!("do_{name}").leak();
    let mut state = seed.parse().unwrap();
    for _ in 0..CALLS {
        let arguments: [u64; 8] = core::array::from_fn(|_| {
            let small = next(&mut state) % 130;
            [
                0,
                1,
                small,
                u64::from(u32::MAX),
                0x7FFF_FFFF,
                u64::MAX,
                1 << 40,
                1 << 63,
                block,
                block + small,
                block + 4090,
                full,
                0x1000_0000_0000,
                TAG,
                NON_PAGED,
                bench.driver.object() as u64,
            ][usize::try_from(next(&mut state) % 16).unwrap()]
        });
        eprintln!("{name} {arguments:X?}");
        bench.call(call, &arguments);
    }
    // What these calls left behind is no concern here.
    std::process::exit(0);
}

/// Calls every routine.
pub(crate) fn every_routine() -> Result<(), Failed> {
    let names = ntsim_names()?;
    assert!(names.len() > 200, "few routines: {}", names.len());
    let seeds = std::env::var("NTSIM_WILD_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS);
    let tasks: Vec<String> = names
        .iter()
        .flat_map(|name| (0..seeds).map(move |seed| format!("{name}:{seed}")))
        .collect();
    let taken = AtomicUsize::new(0);
    let one = || -> Result<(), Failed> {
        while let Some(task) = tasks.get(taken.fetch_add(1, Ordering::Relaxed)) {
            let output = Command::new(std::env::current_exe()?)
                .env(VARIABLE, task)
                .output()?;
            // Returned, a hang, a stop.
            if !matches!(output.status.code(), Some(0 | 98 | 99)) {
                let report = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{task}: {}\n{report}", output.status).into());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread of the test panicked")?)
    })
}

/// The routines, asked for in a process of their own: there is one kernel per process, and this one must not have any.
fn ntsim_names() -> Result<Vec<String>, Failed> {
    let output = Command::new(std::env::current_exe()?)
        .env(VARIABLE, "")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Prints the names.
pub(crate) fn print_names() {
    ntsim::boot(Options::default());
    for name in ntsim::gate::names() {
        println!("{name}");
    }
}
