//! Scenarios about pool and memory descriptor lists.

use crate::driver::Builder;
use crate::scenarios::{Bench, NON_PAGED, TAG, boot, pool};
use ntsim::{Options, Rules, TraceMode};

pub(crate) fn pool_is_zeroed_aligned_and_accounted() {
    let bench = Bench::new(pool);
    let block = bench.allocate(20);
    assert_eq!(block % 16, 0);
    assert_eq!(bench.call("peek", &[block]), 0);
    let page = bench.allocate(5000);
    assert_eq!(page % 4096, 0);
    let images = ntsim::account().images;
    assert_eq!((images[0].1.pool_blocks, images[0].1.pool_bytes), (2, 5020));
    bench.call("do_ExFreePoolWithTag", &[block, TAG]);
    bench.call("do_ExFreePool", &[page]);
    bench.unload();
}

pub(crate) fn pool_leak_at_unload() {
    let bench = Bench::new(pool);
    bench.allocate(24);
    bench.unload();
}

pub(crate) fn pool_fast_mode() {
    boot(Options {
        trace: TraceMode::Off,
        rules: Rules::USUAL - Rules::SPECIAL_POOL,
        ..Options::default()
    });
    let bench = Bench::load(pool);
    let blocks: Vec<u64> = (1..2000).map(|bytes| bench.allocate(bytes * 3)).collect();
    for &block in &blocks {
        assert_eq!(block % 16, 0);
        assert_eq!(bench.call("peek", &[block]), 0);
    }
    assert_eq!(ntsim::account().images[0].1.pool_blocks, 1999);
    for &block in &blocks {
        bench.call("do_ExFreePool", &[block]);
    }
    bench.unload();
}

/// More live blocks than the host lets us guard.
pub(crate) fn pool_many_blocks() {
    boot(Options {
        trace: TraceMode::Off,
        ..Options::default()
    });
    let bench = Bench::load(pool);
    let (allocate, free) = (
        bench.driver.image().export("do_ExAllocatePool2"),
        bench.driver.image().export("do_ExFreePool"),
    );
    let blocks: Vec<u64> = (0..40_000)
        .map(|_| ntsim::gate::call(allocate.unwrap(), &[NON_PAGED, 100, TAG]))
        .collect();
    for block in blocks {
        ntsim::gate::call(free.unwrap(), &[block]);
    }
    bench.unload();
}

fn mdl(driver: &mut Builder) {
    pool(driver);
    for name in [
        "IoAllocateMdl",
        "IoFreeMdl",
        "MmBuildMdlForNonPagedPool",
        "IoBuildPartialMdl",
    ] {
        driver.forward(name);
    }
}

pub(crate) fn mdl_leak_at_unload() {
    let bench = Bench::new(mdl);
    bench.call("do_IoAllocateMdl", &[0x6000_0000_1000, 100, 0, 0, 0]);
    bench.unload();
}

pub(crate) fn mdl_life() {
    let bench = Bench::new(mdl);
    let block = bench.allocate(10_000);
    let whole = bench.call("do_IoAllocateMdl", &[block, 10_000, 0, 0, 0]);
    bench.call("do_MmBuildMdlForNonPagedPool", &[whole]);
    // MappedSystemVa at 0x18.
    assert_eq!(bench.call("peek", &[whole + 0x18]), block);
    let part = bench.call("do_IoAllocateMdl", &[block + 5000, 100, 0, 0, 0]);
    bench.call("do_IoBuildPartialMdl", &[whole, part, block + 5000, 100]);
    assert_eq!(bench.call("peek", &[part + 0x18]), block + 5000);
    assert_eq!(ntsim::account().images[0].1.mdls, 2);
    bench.call("do_IoFreeMdl", &[part]);
    bench.call("do_IoFreeMdl", &[whole]);
    bench.call("do_ExFreePool", &[block]);
    bench.unload();
}
