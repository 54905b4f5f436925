//! Executive resources, look-aside lists, remove locks.

use core::{mem::offset_of, ptr};

use wdk_sys::{
    ERESOURCE, GENERAL_LOOKASIDE, IO_REMOVE_LOCK, NPAGED_LOOKASIDE_LIST, PALLOCATE_FUNCTION, PVOID,
};

use super::table;
use crate::{
    driver::Bench,
    nt::{DISPATCH, TAG, at, free, new, nt, peek, pool, settle},
    thread,
};

table![
    resource_freed,
    resource_acquired_with_apcs,
    resource_released_with_apcs,
    resource_misaligned,
    resource_initialised_twice,
    resource_deleted_twice,
    resource_not_owned,
    resource_order_inverted,
    resource_in_paged_pool,
    resource_at_dispatch,
    lookaside_initialised_twice,
    lookaside_deleted_twice,
    lookaside_freed,
    lookaside_of_small_entries,
    remove_lock_wrong_tag,
    remove_lock_wrong_tag_at_the_end,
    remove_lock_initialised_twice,
];

fn resource() -> *mut ERESOURCE {
    let resource = new();
    nt!(ExInitializeResourceLite(resource));
    resource
}

fn delete(resource: *mut ERESOURCE) {
    nt!(ExDeleteResourceLite(resource));
    free(resource);
}

fn enter() {
    nt!(KeEnterCriticalRegion());
}

fn leave() {
    nt!(KeLeaveCriticalRegion());
}

fn acquire(resource: *mut ERESOURCE) {
    nt!(ExAcquireResourceExclusiveLite(resource, 1));
}

fn share(resource: *mut ERESOURCE) {
    nt!(ExAcquireResourceSharedLite(resource, 1));
}

fn release(resource: *mut ERESOURCE) {
    nt!(ExReleaseResourceLite(resource));
}

fn resource_freed(bench: &Bench) {
    let resource = resource();
    if !bench.guilty() {
        nt!(ExDeleteResourceLite(resource));
    }
    free(resource);
}

fn resource_acquired_with_apcs(bench: &Bench) {
    let resource = resource();
    if !bench.guilty() {
        enter();
    }
    acquire(resource);
    // Again, alone and shared.
    acquire(resource);
    share(resource);
    for _ in 0..3 {
        release(resource);
    }
    leave();
    delete(resource);
}

fn resource_released_with_apcs(bench: &Bench) {
    let resource = resource();
    enter();
    acquire(resource);
    bench.if_guilty(leave);
    release(resource);
    leave();
    delete(resource);
}

fn resource_misaligned(bench: &Bench) {
    let block = pool(size_of::<ERESOURCE>() + 8);
    let resource = block
        .cast::<u8>()
        .wrapping_add(bench.either(4, 8))
        .cast::<ERESOURCE>();
    nt!(ExInitializeResourceLite(resource));
    nt!(ExDeleteResourceLite(resource));
    free(block);
}

fn resource_initialised_twice(bench: &Bench) {
    let resource = resource();
    if !bench.guilty() {
        nt!(ExDeleteResourceLite(resource));
    }
    nt!(ExInitializeResourceLite(resource));
    delete(resource);
}

fn resource_deleted_twice(bench: &Bench) {
    let resource = resource();
    bench.if_guilty(|| {
        nt!(ExDeleteResourceLite(resource));
    });
    delete(resource);
}

unsafe extern "C" fn release_what_another_has(resource: PVOID) {
    enter();
    release(resource.cast());
    leave();
}

/// Waits for both kinds of use, one after the other.
unsafe extern "C" fn wait_for_it(resource: PVOID) {
    enter();
    share(resource.cast());
    release(resource.cast());
    acquire(resource.cast());
    release(resource.cast());
    leave();
}

fn resource_not_owned(bench: &Bench) {
    let resource = resource();
    enter();
    acquire(resource);
    let body: thread::Body = bench.either(release_what_another_has, wait_for_it);
    let other = thread::start(body, resource);
    // The other thread runs into it meanwhile.
    settle();
    nt!(ExConvertExclusiveToSharedLite(resource));
    settle();
    release(resource);
    leave();
    thread::join(other);
    delete(resource);
}

fn both(first: *mut ERESOURCE, second: *mut ERESOURCE) {
    acquire(first);
    acquire(second);
    // In any order: no rule.
    release(first);
    release(second);
}

fn resource_order_inverted(bench: &Bench) {
    let (one, other) = (resource(), resource());
    enter();
    both(one, other);
    if bench.guilty() {
        both(other, one);
    } else {
        both(one, other);
    }
    leave();
    delete(one);
    delete(other);
}

fn resource_in_paged_pool(bench: &Bench) {
    let block: PVOID = if bench.guilty() {
        super::mdl::paged()
    } else {
        pool(200)
    };
    nt!(ExInitializeResourceLite(block.cast()));
    nt!(ExDeleteResourceLite(block.cast()));
    free(block);
}

fn resource_at_dispatch(bench: &Bench) {
    let resource = resource();
    enter();
    at(bench.either(DISPATCH, 1), || {
        nt!(ExAcquireResourceExclusiveLite(resource, 0));
        release(resource);
    });
    leave();
    delete(resource);
}

/// `POOL_NX_ALLOCATION`.
const NX: u32 = 512;

fn initialise(list: *mut NPAGED_LOOKASIDE_LIST, bytes: u64) {
    nt!(ExInitializeNPagedLookasideList(
        list, None, None, NX, bytes, TAG, 0
    ));
}

fn remove(list: *mut NPAGED_LOOKASIDE_LIST) {
    nt!(ExDeleteNPagedLookasideList(list));
}

/// As the inline code of the headers: an entry from the list's own routine, and into the list.
fn use_it(list: *mut NPAGED_LOOKASIDE_LIST) {
    // The pool aligns a block less than the structure wants it: its members are read by their places.
    let member = |offset: usize| list.cast::<u8>().wrapping_add(offset);
    let kind = peek(member(offset_of!(GENERAL_LOOKASIDE, Type)).cast::<u32>());
    let tag = peek(member(offset_of!(GENERAL_LOOKASIDE, Tag)).cast::<u32>());
    let bytes = peek(member(offset_of!(GENERAL_LOOKASIDE, Size)).cast::<u32>());
    let allocate = member(offset_of!(GENERAL_LOOKASIDE, __bindgen_anon_4));
    if let Some(allocate) = peek(allocate.cast::<PALLOCATE_FUNCTION>()) {
        // SAFETY: The routine's own arguments, as the headers pass them.
        let entry = unsafe { allocate(kind, bytes.into(), tag) };
        nt!(ExpInterlockedPushEntrySList(list.cast(), entry.cast()));
    }
}

fn lookaside_initialised_twice(bench: &Bench) {
    let list = new();
    initialise(list, 32);
    if !bench.guilty() {
        use_it(list);
        remove(list);
    }
    initialise(list, 32);
    remove(list);
    free(list);
}

fn lookaside_deleted_twice(bench: &Bench) {
    let list = new();
    initialise(list, 32);
    bench.if_guilty(|| remove(list));
    remove(list);
    free(list);
}

fn lookaside_freed(bench: &Bench) {
    let list = new();
    initialise(list, 32);
    if !bench.guilty() {
        remove(list);
    }
    free(list);
}

fn lookaside_of_small_entries(bench: &Bench) {
    let list = new();
    initialise(list, bench.either(4, 8));
    remove(list);
    free(list);
}

/// Tags of those who have a remove lock.
const ONE: PVOID = ptr::without_provenance_mut(1);
const OTHER: PVOID = ptr::without_provenance_mut(2);
#[expect(clippy::cast_possible_truncation, reason = "it is 0x20")]
const LOCK_BYTES: u32 = size_of::<IO_REMOVE_LOCK>() as u32;

fn remove_lock() -> *mut IO_REMOVE_LOCK {
    let lock = new();
    nt!(IoInitializeRemoveLockEx(lock, TAG, 0, 0, LOCK_BYTES));
    lock
}

fn hold(lock: *mut IO_REMOVE_LOCK, tag: PVOID) {
    nt!(IoAcquireRemoveLockEx(
        lock,
        tag,
        c"".as_ptr(),
        0,
        LOCK_BYTES
    ));
}

fn let_go(lock: *mut IO_REMOVE_LOCK, tag: PVOID) {
    nt!(IoReleaseRemoveLockEx(lock, tag, LOCK_BYTES));
}

fn let_go_and_wait(lock: *mut IO_REMOVE_LOCK, tag: PVOID) {
    nt!(IoReleaseRemoveLockAndWaitEx(lock, tag, LOCK_BYTES));
}

unsafe extern "C" fn let_go_later(lock: PVOID) {
    settle();
    let_go(lock.cast(), OTHER);
}

fn remove_lock_wrong_tag(bench: &Bench) {
    let lock = remove_lock();
    hold(lock, OTHER);
    hold(lock, ONE);
    let_go(lock, ONE);
    bench.if_guilty(|| let_go(lock, ONE));
    let_go(lock, OTHER);
    free(lock);
}

fn remove_lock_wrong_tag_at_the_end(bench: &Bench) {
    let lock = remove_lock();
    hold(lock, ONE);
    hold(lock, OTHER);
    let other = thread::start(let_go_later, lock);
    let_go_and_wait(lock, bench.either(ptr::without_provenance_mut(3), ONE));
    thread::join(other);
    free(lock);
}

fn remove_lock_initialised_twice(bench: &Bench) {
    let lock = remove_lock();
    if !bench.guilty() {
        hold(lock, ONE);
        let_go_and_wait(lock, ONE);
    }
    nt!(IoInitializeRemoveLockEx(lock, TAG, 0, 0, LOCK_BYTES));
    free(lock);
}
