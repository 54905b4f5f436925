//! Nonpaged pool of the shipped image for each circuit, the share of its tables included.
//!
//! It needs the release images of rxce.sys and bench.sys (`cargo xtask build --all`).

use std::path::Path;

use suites::bench::{machine::Machine, memory};

/// The limit, IRPs not counted.
const MOST_BYTES: f64 = 512.0;
/// Ids go round sixteen tables that double. So many circuits need little more than a table has before it doubles, so the
/// share of the tables is nearly as large as it can be.
const CIRCUITS: u32 = 16 * 516;

#[test]
fn a_circuit_takes_at_most_512_bytes_of_nonpaged_pool() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/drivers/release/x86_64");
    let machine = Machine::boot(&images).expect("the machine boots");
    let tags = memory::per_circuit(&machine, CIRCUITS).expect("the circuits are built");
    machine.shut_down().expect("nothing is left over");
    let whole: f64 = tags.values().sum();
    println!("{whole:.1} bytes for each of {CIRCUITS} circuits: {tags:.1?}");
    // The tables and the circuits' blocks: less would mean that the account misses one.
    assert!(
        tags.contains_key("RxVc") && tags.contains_key("RxRg"),
        "{tags:?}"
    );
    assert!(whole <= MOST_BYTES, "{whole} bytes: {tags:?}");
}
