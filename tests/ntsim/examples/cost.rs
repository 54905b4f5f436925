//! What the bench itself costs: nanoseconds for a kernel call through the gate, and for a pool block.
//!
//! `cargo run --release -p ntsim --example cost -- [fast] [traced]`

use ntsim::{Options, Rules, TraceMode};
use std::time::Instant;

const ROUNDS: u32 = 200_000;

fn main() {
    let has = |word: &str| std::env::args().any(|argument| argument == word);
    let trace = if has("traced") {
        TraceMode::Ring(100_000)
    } else {
        TraceMode::Off
    };
    ntsim::boot(Options {
        trace,
        rules: if has("fast") {
            Rules::empty()
        } else {
            Rules::USUAL
        },
        ..Options::default()
    });
    let import =
        |name: &str| ntsim::gate::import(name).unwrap_or_else(|| panic!("no routine {name}"));
    let (irql, allocate, free) = (
        import("KeGetCurrentIrql"),
        import("ExAllocatePool2"),
        import("ExFreePool"),
    );
    let call = per_round(|| {
        ntsim::gate::call(irql, &[]);
    });
    let block = per_round(|| {
        let block = ntsim::gate::call(allocate, &[0x40, 100, 0x7473_6554]);
        ntsim::gate::call(free, &[block]);
    });
    println!(
        "into driver code, one kernel call, and back: {call} ns; allocate and free 100 bytes: {block} ns"
    );
}

fn per_round(mut body: impl FnMut()) -> u128 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        body();
    }
    start.elapsed().as_nanos() / u128::from(ROUNDS)
}
