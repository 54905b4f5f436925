//! Memory descriptor lists.
//!
//! Sources: the pages of the routines; "Using MDLs"; spec/verifier.md §3 (6F-7F, B0-B8), spec/tdi.md §1 (layout).

use crate::account::{self, Resource};
use crate::arena::{self, Kind, PAGE};
use crate::fault::{FaultKind, should_fail};
use crate::gate::Call;
use crate::layout::mm::{
    ALLOCATED_FIXED_SIZE, MAPPED_TO_SYSTEM_VA, Mdl, PAGES_LOCKED, PARTIAL, PARTIAL_HAS_BEEN_MAPPED,
    SOURCE_IS_NONPAGED_POOL, WRITE_OPERATION,
};
use crate::own::{self, Own};
use crate::pageable;
use crate::pool::{self, PoolKind};
use crate::stop::{self, Stop};

/// Offset of `Irp->MdlAddress` (spec/tdi.md §1).
const IRP_MDL_ADDRESS: usize = 8;

const fn span_pages(address: usize, bytes: usize) -> usize {
    (address % PAGE + bytes).div_ceil(PAGE)
}

const fn mdl_bytes(address: usize, bytes: usize) -> usize {
    size_of::<Mdl>() + span_pages(address, bytes) * 8
}

fn bad_mdl(call: &Call, sub: u64, mdl: &Mdl, text: &str) -> ! {
    not_an_mdl_for_this(call, Stop::verifier(sub), mdl, text)
}

/// As [`bad_mdl`], for what Driver Verifier has no number for.
fn bad_mdl_of_own(call: &Call, mdl: &Mdl, text: &str) -> ! {
    not_an_mdl_for_this(call, Own::Mdl.stop(), mdl, text)
}

fn not_an_mdl_for_this(call: &Call, stop: Stop, mdl: &Mdl, text: &str) -> ! {
    stop::violation(
        stop,
        [
            core::ptr::from_ref(mdl) as u64,
            u64::from(mdl.flags.cast_unsigned()),
            0,
        ],
        format!(
            "{} by {}: {text} (MDL flags 0x{:X})",
            call.routine(),
            stop::describe(call.caller()),
            mdl.flags
        ),
    )
}

/// The list that an argument points at. A pointer to nothing faults, and the report names routine and caller.
fn argument(call: &Call, n: usize) -> &'static mut Mdl {
    // SAFETY: Drivers own their lists and pass them to one routine at a time; a bad pointer faults and is reported.
    unsafe { &mut *call.ptr::<Mdl>(n) }
}

pub(super) fn mm_size_of_mdl(call: &Call) -> u64 {
    mdl_bytes(call.addr(0), call.addr(1)) as u64
}

/// Makes a list for memory of a driver at `caller`: `IoAllocateMdl` without its faults, for the kernel itself too.
pub fn allocate(address: usize, bytes: u32, caller: usize) -> *mut Mdl {
    let size = mdl_bytes(address, bytes as usize);
    let mdl = arena::alloc(size, Kind::Object) as *mut Mdl;
    let header = Mdl {
        next: core::ptr::null_mut(),
        size: i16::try_from(size).unwrap_or(i16::MAX),
        flags: ALLOCATED_FIXED_SIZE,
        process: core::ptr::null_mut(),
        mapped_system_va: 0,
        start_va: address & !(PAGE - 1),
        byte_count: bytes,
        byte_offset: u32::try_from(address % PAGE).unwrap_or(0),
    };
    // SAFETY: The memory was just allocated for this list.
    unsafe { mdl.write(header) };
    account::track(
        Resource::Mdl,
        mdl as u64,
        caller,
        format!("for {bytes} bytes at 0x{address:X}"),
    );
    mdl
}

pub(super) fn io_allocate_mdl(call: &Call) -> u64 {
    if should_fail(call, FaultKind::Mdl) {
        return 0;
    }
    let (address, bytes, secondary, irp) = (call.addr(0), call.u32(1), call.u8(2), call.addr(4));
    // The page: the length is limited by the page numbers that fit `Size`; 0 bytes make no sense but succeed.
    if span_pages(address, bytes as usize) > 4085 * 1024 {
        return 0;
    }
    let mdl = allocate(address, bytes, call.caller());
    if irp != 0 {
        attach(irp, secondary != 0, mdl);
    }
    mdl as u64
}

/// Links a new list to a packet: as its list, or at the end of its chain.
fn attach(irp: usize, secondary: bool, mdl: *mut Mdl) {
    let mut link = (irp + IRP_MDL_ADDRESS) as *mut *mut Mdl;
    if secondary {
        loop {
            // SAFETY: `link` points at the packet's list pointer or at the `next` member of a list of its chain.
            let next = unsafe { link.read() };
            if next.is_null() {
                break;
            }
            link = next.cast();
        }
    }
    // SAFETY: As above; the driver owns packet and chain during this call.
    unsafe { link.write(mdl) };
}

pub(super) fn io_free_mdl(call: &Call) -> u64 {
    let key = call.arg(0);
    if !account::is_tracked(Resource::Mdl, key) {
        own::violation(
            Own::Object,
            [key, 0, 0],
            format!(
                "IoFreeMdl by {} of 0x{key:X}, which is not a live MDL",
                stop::describe(call.caller())
            ),
        );
    }
    let mdl = argument(call, 0);
    if mdl.flags & PAGES_LOCKED != 0 && mdl.flags & PARTIAL == 0 {
        bad_mdl(call, 0xB8, mdl, "its pages are still locked");
    }
    if mdl.flags & (MAPPED_TO_SYSTEM_VA | PARTIAL) == MAPPED_TO_SYSTEM_VA {
        bad_mdl(call, 0xB8, mdl, "it is still mapped");
    }
    // A partial list that was mapped on its own is unmapped here ("IoFreeMdl" and wdm.h, MmPrepareMdlForReuse).
    if mdl.flags & PARTIAL_HAS_BEEN_MAPPED != 0 {
        unmap(mdl);
    }
    free(call.addr(0), call.caller());
    0
}

/// Frees a list made by [`allocate`].
pub fn free(mdl: usize, caller: usize) {
    account::untrack(Resource::Mdl, mdl as u64, caller);
    arena::free(mdl);
}

/// Describes resident system memory: what `MmBuildMdlForNonPagedPool` does, without its rules.
pub fn describe_resident(mdl: &mut Mdl) {
    mdl.flags |= SOURCE_IS_NONPAGED_POOL;
    mdl.mapped_system_va = mdl.virtual_address();
    fill_page_numbers(mdl);
}

pub(super) fn mm_build_mdl_for_non_paged_pool(call: &Call) -> u64 {
    let mdl = argument(call, 0);
    if mdl.flags & (PAGES_LOCKED | MAPPED_TO_SYSTEM_VA | SOURCE_IS_NONPAGED_POOL | PARTIAL) != 0 {
        bad_mdl_of_own(call, mdl, "it describes memory already");
    }
    check_resident(call, mdl);
    describe_resident(mdl);
    0
}

fn check_resident(call: &Call, mdl: &Mdl) {
    let address = mdl.virtual_address();
    if !arena::is_system(address) {
        bad_mdl(
            call,
            0x7F,
            mdl,
            &format!("0x{address:X} is not in system space"),
        );
    }
    if let Some(block) = pool::owner_block(address) {
        if block.kind == PoolKind::Paged {
            bad_mdl(
                call,
                0x7F,
                mdl,
                &format!("it describes {}", block.describe()),
            );
        }
        if address < block.address
            || address + mdl.byte_count as usize > block.address + block.bytes
        {
            bad_mdl_of_own(
                call,
                mdl,
                &format!(
                    "{} bytes at 0x{address:X} reach out of {}",
                    mdl.byte_count,
                    block.describe()
                ),
            );
        }
    } else if let Some(block) = pool::freed_block(address) {
        bad_mdl_of_own(
            call,
            mdl,
            &format!("it describes freed memory: {}", block.describe()),
        );
    }
}

/// Physical pages do not exist here; the page numbers are those of the addresses, so that drivers may copy them.
fn fill_page_numbers(mdl: &mut Mdl) {
    let first = (mdl.start_va / PAGE) as u64;
    let count = span_pages(mdl.virtual_address(), mdl.byte_count as usize);
    let numbers = core::ptr::from_mut(mdl).wrapping_add(1).cast::<u64>();
    for n in 0..count {
        // SAFETY: `size` says that the page numbers of the whole span follow the structure.
        unsafe { numbers.wrapping_add(n).write(first + n as u64) };
    }
}

pub(super) fn io_build_partial_mdl(call: &Call) -> u64 {
    let (source, target) = (argument(call, 0), argument(call, 1));
    let (address, length) = (call.addr(2), call.u32(3));
    let start = source.virtual_address();
    let end = start + source.byte_count as usize;
    // The page: length 0 means up to the end of the source.
    let bytes = if length == 0 {
        end.saturating_sub(address)
    } else {
        length as usize
    };
    if address < start || address + bytes > end {
        bad_mdl_of_own(
            call,
            source,
            &format!("{bytes} bytes at 0x{address:X} are not part of the source"),
        );
    }
    let room = usize::try_from(target.size).unwrap_or(0);
    if mdl_bytes(address, bytes) > room {
        bad_mdl_of_own(
            call,
            target,
            &format!("the target has {room} bytes: no room for the page numbers of {bytes} bytes"),
        );
    }
    if target.flags & (PAGES_LOCKED | PARTIAL_HAS_BEEN_MAPPED) != 0 {
        bad_mdl_of_own(
            call,
            target,
            "the target is in use (MmPrepareMdlForReuse was not called)",
        );
    }
    target.start_va = address & !(PAGE - 1);
    target.byte_offset = u32::try_from(address % PAGE).unwrap_or(0);
    target.byte_count = u32::try_from(bytes).unwrap_or(u32::MAX);
    target.process = source.process;
    target.flags &= ALLOCATED_FIXED_SIZE;
    target.flags |=
        PARTIAL | source.flags & (MAPPED_TO_SYSTEM_VA | SOURCE_IS_NONPAGED_POOL | WRITE_OPERATION);
    target.mapped_system_va = if source.flags & (MAPPED_TO_SYSTEM_VA | SOURCE_IS_NONPAGED_POOL) == 0
    {
        0
    } else {
        source.mapped_system_va + (address - start)
    };
    fill_page_numbers(target);
    0
}

pub(super) fn mm_probe_and_lock_pages(call: &Call) -> u64 {
    let mdl = argument(call, 0);
    if mdl.flags & (PAGES_LOCKED | MAPPED_TO_SYSTEM_VA | SOURCE_IS_NONPAGED_POOL | PARTIAL) != 0 {
        bad_mdl(
            call,
            0xB0,
            mdl,
            "it describes locked or resident memory already",
        );
    }
    let address = mdl.virtual_address();
    pageable::pin(address, mdl.byte_count as usize);
    let count = span_pages(address, mdl.byte_count as usize);
    let bad = (0..count)
        .map(|n| mdl.start_va + n * PAGE)
        .find(|&page| !arena::is_mapped(page.max(address)));
    if let Some(page) = bad {
        // The routine raises STATUS_ACCESS_VIOLATION; no frame of a driver without SEH can handle it.
        stop::bug_check(
            0x1E,
            [0xC000_0005, call.caller() as u64, 0, page as u64],
            format!(
                "MmProbeAndLockPages by {}: 0x{page:X} is not accessible",
                stop::describe(call.caller())
            ),
        );
    }
    mdl.flags |= PAGES_LOCKED;
    // LOCK_OPERATION: IoReadAccess 0, IoWriteAccess 1, IoModifyAccess 2.
    if call.u32(2) != 0 {
        mdl.flags |= WRITE_OPERATION;
    }
    fill_page_numbers(mdl);
    account::track(
        Resource::Mapping,
        call.arg(0),
        call.caller(),
        "locked pages",
    );
    0
}

/// Locks the pages of a list for the kernel itself.
pub fn lock(mdl: &mut Mdl) {
    pageable::pin(mdl.virtual_address(), mdl.byte_count as usize);
    mdl.flags |= PAGES_LOCKED;
    fill_page_numbers(mdl);
}

/// Undoes [`lock`], and a mapping if there is one.
pub fn unlock(mdl: &mut Mdl) {
    if mdl.flags & MAPPED_TO_SYSTEM_VA != 0 {
        unmap(mdl);
    }
    pageable::unpin(mdl.virtual_address(), mdl.byte_count as usize);
    mdl.flags &= !(PAGES_LOCKED | WRITE_OPERATION);
}

pub(super) fn mm_unlock_pages(call: &Call) -> u64 {
    let mdl = argument(call, 0);
    if mdl.flags & SOURCE_IS_NONPAGED_POOL != 0 {
        bad_mdl(call, 0x7E, mdl, "it was built for nonpaged pool");
    }
    if mdl.flags & PARTIAL != 0 {
        bad_mdl(call, 0xB5, mdl, "it is a partial list");
    }
    if mdl.flags & PAGES_LOCKED == 0 {
        bad_mdl(call, 0x7D, mdl, "its pages are not locked");
    }
    unlock(mdl);
    account::untrack(Resource::Mapping, call.arg(0), call.caller());
    0
}

pub(super) fn mm_map_locked_pages_specify_cache(call: &Call) -> u64 {
    let mdl = argument(call, 0);
    if mdl.flags & (MAPPED_TO_SYSTEM_VA | SOURCE_IS_NONPAGED_POOL) != 0 {
        bad_mdl(call, 0xB2, mdl, "it is mapped already");
    }
    if mdl.flags & (PAGES_LOCKED | PARTIAL) == 0 {
        bad_mdl(call, 0xB2, mdl, "its pages are not locked");
    }
    if should_fail(call, FaultKind::Map) {
        return 0;
    }
    map(mdl) as u64
}

/// Maps the pages of a list into system space and returns the address of its buffer there.
pub fn map(mdl: &mut Mdl) -> usize {
    let address = mdl.virtual_address();
    let mapped = if arena::is_system(address) {
        address
    } else {
        let bytes = span_pages(address, mdl.byte_count as usize) * PAGE;
        arena::alias(mdl.start_va, bytes) + mdl.byte_offset as usize
    };
    mdl.flags |= MAPPED_TO_SYSTEM_VA;
    if mdl.flags & PARTIAL != 0 {
        mdl.flags |= PARTIAL_HAS_BEEN_MAPPED;
    }
    mdl.mapped_system_va = mapped;
    mapped
}

fn unmap(mdl: &mut Mdl) {
    if mdl.mapped_system_va != mdl.virtual_address() {
        let bytes = span_pages(mdl.virtual_address(), mdl.byte_count as usize) * PAGE;
        arena::unmap(mdl.mapped_system_va & !(PAGE - 1), bytes);
    }
    mdl.flags &= !(MAPPED_TO_SYSTEM_VA | PARTIAL_HAS_BEEN_MAPPED);
    mdl.mapped_system_va = 0;
}

pub(super) fn mm_unmap_locked_pages(call: &Call) -> u64 {
    let mdl = argument(call, 1);
    if mdl.flags & SOURCE_IS_NONPAGED_POOL != 0 {
        bad_mdl(call, 0xB4, mdl, "it was built for nonpaged pool");
    }
    if mdl.flags & MAPPED_TO_SYSTEM_VA == 0 || mdl.mapped_system_va != call.addr(0) {
        bad_mdl(
            call,
            0xB4,
            mdl,
            &format!("it is not mapped at 0x{:X}", call.addr(0)),
        );
    }
    unmap(mdl);
    0
}
