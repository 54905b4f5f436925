//! Memory descriptor lists.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    _LOCK_OPERATION::IoReadAccess, _MEMORY_CACHING_TYPE::MmCached, PMDL, POOL_FLAG_PAGED,
};

use super::table;
use crate::{
    driver::Bench,
    nt::{TAG, byte, free, nt, pool},
};

table![
    mdl_freed_twice,
    mdl_freed_locked,
    mdl_of_paged_pool,
    mdl_built_twice,
    mdl_past_the_block,
    mdl_partial_outside,
    mdl_partial_without_room,
    mdl_locked_twice,
    mdl_lock_of_nothing,
    mdl_unlock_of_nonpaged,
    mdl_unlock_of_partial,
    mdl_unlock_of_unlocked,
    mdl_mapped_twice,
    mdl_mapped_unlocked,
    mdl_unmap_of_unmapped,
    mdl_unmap_of_nonpaged,
];

/// Bytes of the blocks that are described.
const BYTES: u32 = 100;

/// An MDL for a block.
pub(super) fn describe(block: *mut c_void, bytes: u32) -> PMDL {
    nt!(IoAllocateMdl(block, bytes, 0, 0, ptr::null_mut()))
}

pub(super) fn free_mdl(mdl: PMDL) {
    nt!(IoFreeMdl(mdl));
}

pub(super) fn build(mdl: PMDL) {
    nt!(MmBuildMdlForNonPagedPool(mdl));
}

pub(super) fn lock(mdl: PMDL) {
    nt!(MmProbeAndLockPages(mdl, 0, IoReadAccess));
}

pub(super) fn unlock(mdl: PMDL) {
    nt!(MmUnlockPages(mdl));
}

pub(super) fn map(mdl: PMDL) -> *mut c_void {
    // NormalPagePriority.
    nt!(MmMapLockedPagesSpecifyCache(
        mdl,
        0,
        MmCached,
        ptr::null_mut(),
        0,
        16
    ))
}

pub(super) fn unmap(address: *mut c_void, mdl: PMDL) {
    nt!(MmUnmapLockedPages(address, mdl));
}

/// Paged pool: it has to be locked.
pub(super) fn paged() -> *mut c_void {
    nt!(ExAllocatePool2(POOL_FLAG_PAGED, BYTES.into(), TAG))
}

/// Runs something with a block of nonpaged pool and an MDL for it.
fn nonpaged(run: impl FnOnce(*mut c_void, PMDL)) {
    let block = pool(BYTES as usize);
    let mdl = describe(block, BYTES);
    run(block, mdl);
    free_mdl(mdl);
    free(block);
}

/// Runs something with an MDL for paged pool.
pub(super) fn pageable(run: impl FnOnce(PMDL)) {
    let block = paged();
    let mdl = describe(block, BYTES);
    run(mdl);
    free_mdl(mdl);
    free(block);
}

fn mdl_freed_twice(bench: &Bench) {
    nonpaged(|_, mdl| bench.if_guilty(|| free_mdl(mdl)));
}

fn mdl_freed_locked(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        bench.if_guilty(|| free_mdl(mdl));
        unlock(mdl);
    });
}

fn mdl_of_paged_pool(bench: &Bench) {
    let block = if bench.guilty() {
        paged()
    } else {
        pool(BYTES as usize)
    };
    let mdl = describe(block, BYTES);
    build(mdl);
    free_mdl(mdl);
    free(block);
}

fn mdl_built_twice(bench: &Bench) {
    nonpaged(|_, mdl| {
        build(mdl);
        bench.if_guilty(|| build(mdl));
    });
}

fn mdl_past_the_block(bench: &Bench) {
    let block = pool(BYTES as usize);
    let mdl = describe(block, bench.either(BYTES.wrapping_add(1), BYTES));
    build(mdl);
    free_mdl(mdl);
    free(block);
}

/// Runs something with a built MDL, its block, and a partial one for the same block.
fn partial(run: impl FnOnce(*mut c_void, PMDL, PMDL)) {
    nonpaged(|block, mdl| {
        build(mdl);
        let part = describe(block, BYTES);
        run(block, mdl, part);
        free_mdl(part);
    });
}

fn mdl_partial_outside(bench: &Bench) {
    partial(|block, mdl, part| {
        let start = byte(block, 50).cast();
        nt!(IoBuildPartialMdl(mdl, part, start, bench.either(51, 50)));
    });
}

fn mdl_partial_without_room(bench: &Bench) {
    let block = pool(10_000);
    let (mdl, part) = (describe(block, 10_000), describe(block, BYTES));
    build(mdl);
    nt!(IoBuildPartialMdl(
        mdl,
        part,
        block,
        bench.either(9_000, BYTES)
    ));
    free_mdl(part);
    free_mdl(mdl);
    free(block);
}

fn mdl_locked_twice(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        bench.if_guilty(|| lock(mdl));
        unlock(mdl);
    });
}

fn mdl_lock_of_nothing(bench: &Bench) {
    let block = paged();
    let place = bench.either(byte(block, 1 << 20).cast(), block);
    let mdl = describe(place, BYTES);
    lock(mdl);
    unlock(mdl);
    free_mdl(mdl);
    free(block);
}

fn mdl_unlock_of_nonpaged(bench: &Bench) {
    nonpaged(|_, mdl| {
        build(mdl);
        bench.if_guilty(|| unlock(mdl));
    });
}

fn mdl_unlock_of_partial(bench: &Bench) {
    let block = paged();
    let (mdl, part) = (describe(block, BYTES), describe(block, BYTES));
    lock(mdl);
    nt!(IoBuildPartialMdl(mdl, part, block, 0));
    bench.if_guilty(|| unlock(part));
    free_mdl(part);
    unlock(mdl);
    free_mdl(mdl);
    free(block);
}

fn mdl_unlock_of_unlocked(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        unlock(mdl);
        bench.if_guilty(|| unlock(mdl));
    });
}

fn mdl_mapped_twice(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        map(mdl);
        bench.if_guilty(|| {
            map(mdl);
        });
        unlock(mdl);
    });
}

fn mdl_mapped_unlocked(bench: &Bench) {
    pageable(|mdl| {
        bench.if_guilty(|| {
            map(mdl);
        });
        lock(mdl);
        map(mdl);
        unlock(mdl);
    });
}

fn mdl_unmap_of_unmapped(bench: &Bench) {
    pageable(|mdl| {
        lock(mdl);
        let address = map(mdl);
        unmap(address, mdl);
        bench.if_guilty(|| unmap(address, mdl));
        unlock(mdl);
    });
}

fn mdl_unmap_of_nonpaged(bench: &Bench) {
    nonpaged(|block, mdl| {
        build(mdl);
        bench.if_guilty(|| unmap(block, mdl));
    });
}
