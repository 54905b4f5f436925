//! Nonpaged pool of the shipped image for each circuit, the share of its tables included.
//!
//! It needs the release images of rxce.sys and bench.sys (`cargo xtask build --all`).

use suites::bench::{machine::Machine, memory};

/// The limit, IRPs not counted.
const MOST_BYTES: f64 = 512.0;
/// Ids go round sixteen tables that double. So many circuits need little more than a table has before it doubles, so the
/// share of the tables is nearly as large as it can be.
const CIRCUITS: u32 = 16 * 516;

/// So many circuits at once fit in so much memory of the host, ntsim's own tables included. A machine boots once per process:
/// this is part of the same test.
const LIVE: u32 = 100_000;
const MOST_RESIDENT: f64 = 4.0 * 1024.0 * 1024.0 * 1024.0;

#[test]
fn a_circuit_takes_at_most_512_bytes_of_nonpaged_pool() {
    let images = suites::machine::images("release");
    let machine = Machine::boot(&images).expect("the machine boots");
    let tags = memory::per_circuit(&machine, CIRCUITS).expect("the circuits are built");
    machine.resize(LIVE).expect("the circuits are built");
    let resident = memory::resident_bytes().expect("the host says how much");
    machine.shut_down().expect("nothing is left over");
    println!("{resident} bytes resident with {LIVE} circuits, all rules off");
    assert!(resident < MOST_RESIDENT, "{resident} bytes are resident");
    let whole: f64 = tags.values().sum();
    println!("{whole:.1} bytes for each of {CIRCUITS} circuits: {tags:.1?}");
    // The tables and the circuits' blocks: less would mean that the account misses one.
    assert!(
        tags.contains_key("RxVc") && tags.contains_key("RxRg"),
        "{tags:?}"
    );
    assert!(whole <= MOST_BYTES, "{whole} bytes: {tags:?}");
}
