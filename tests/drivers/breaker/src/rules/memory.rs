//! Memory and code.

use core::{arch::asm, ffi::c_void, ptr};

use wdk_sys::UNICODE_STRING;

use super::{mdl::paged, table};
use crate::{
    driver::Bench,
    nt::{APC, DISPATCH, at, byte, free, memcpy, nt, peek, poke, pool, with},
};

table![
    null_write,
    bad_pointer_for_the_kernel,
    not_canonical,
    never_mapped,
    paged_pool_at_dispatch,
    pageable_code_at_dispatch,
    paged_pool_for_the_kernel_at_dispatch,
    allocation_taken_for_granted,
    endless_loop,
    endless_loop_at_dispatch,
    write_to_code,
    execution_of_data,
    illegal_instruction,
    breakpoint,
    assertion,
    division_by_zero,
    fast_fail,
    stack_overflow,
    overlapping_copy,
    probe_of_system_space,
    probe_misaligned,
    bug_check_by_driver,
];

fn null_write(bench: &Bench) {
    with(|block: *mut u64| poke(bench.either(ptr::null_mut(), block), 1));
}

fn bad_pointer_for_the_kernel(bench: &Bench) {
    with(|name: *mut UNICODE_STRING| {
        nt!(RtlInitUnicodeString(
            bench.either(ptr::null_mut(), name),
            ptr::null()
        ));
    });
}

fn not_canonical(_: &Bench) {
    peek(ptr::without_provenance::<u64>(0x8000_0000_0000_0000));
}

fn never_mapped(bench: &Bench) {
    // Far beyond what a small machine has handed out, and in system space like our device.
    let far = bench.object().map_addr(|address| address | 0xFFF_FFFF_0000);
    peek(far.cast::<u64>());
}

fn paged_pool_at_dispatch(bench: &Bench) {
    let block = paged();
    poke(byte(block, 0), 1_u8);
    at(bench.either(DISPATCH, APC), || peek(byte(block, 0)));
    free(block);
}

#[unsafe(link_section = "PAGE")]
#[inline(never)]
extern "C" fn pageable_code() -> u32 {
    core::hint::black_box(8)
}

fn pageable_code_at_dispatch(bench: &Bench) {
    pageable_code();
    at(bench.either(DISPATCH, APC), || pageable_code());
}

fn paged_pool_for_the_kernel_at_dispatch(bench: &Bench) {
    let block = paged();
    at(bench.either(DISPATCH, APC), || {
        nt!(KeQueryInterruptTimePrecise(block.cast()));
    });
    free(block);
}

fn allocation_taken_for_granted(bench: &Bench) {
    let block = pool(8);
    if bench.guilty() || !block.is_null() {
        poke(byte(block, 0), 1_u8);
        free(block);
    }
}

fn endless_loop(_: &Bench) {
    loop {
        core::hint::spin_loop();
    }
}

fn endless_loop_at_dispatch(bench: &Bench) {
    at(DISPATCH, || {
        let mut rounds = bench.either(u64::MAX, 1_000_000);
        while core::hint::black_box(rounds) != 0 {
            rounds = rounds.wrapping_sub(1);
        }
    });
}

extern "C" fn code() -> u32 {
    7
}

fn write_to_code(bench: &Bench) {
    let code = (code as extern "C" fn() -> u32 as *mut c_void).cast::<u8>();
    let mut copy = peek(code);
    poke(bench.either(code, &raw mut copy), 0x90);
}

fn execution_of_data(bench: &Bench) {
    let block = pool(16);
    // ret
    poke(byte(block, 0), 0xC3_u8);
    let target = bench.either(block, code as extern "C" fn() -> u32 as *mut c_void);
    // SAFETY: Sound for the innocent; the other one is to fault.
    let routine = unsafe { core::mem::transmute::<*mut c_void, extern "C" fn() -> u32>(target) };
    routine();
    free(block);
}

fn illegal_instruction(_: &Bench) {
    // SAFETY: Stops.
    unsafe { asm!("ud2") };
}

fn breakpoint(_: &Bench) {
    nt!(DbgBreakPoint());
}

fn assertion(_: &Bench) {
    let (what, file) = (c"it holds", c"memory.rs");
    nt!(RtlAssert(
        what.as_ptr().cast_mut().cast(),
        file.as_ptr().cast_mut().cast(),
        1,
        ptr::null_mut()
    ));
}

fn division_by_zero(bench: &Bench) {
    let divisor = bench.either(0_u32, 3);
    // SAFETY: Traps for 0; changes what it says.
    unsafe {
        asm!("div {divisor:e}", divisor = in(reg) divisor, inout("eax") 6 => _, inout("edx") 0 => _);
    };
}

fn fast_fail(_: &Bench) {
    // SAFETY: Stops. FAST_FAIL_CORRUPT_LIST_ENTRY.
    unsafe { asm!("int 0x29", in("ecx") 3) };
}

/// Uses 1 KiB of stack per level.
#[inline(never)]
fn deeper(levels: u32) -> u8 {
    let mut room = [1_u8; 1024];
    let room = core::hint::black_box(&mut room);
    let below = if levels == 0 {
        0
    } else {
        deeper(levels.wrapping_sub(1))
    };
    room.first().map_or(0, |first| first.wrapping_add(below))
}

fn stack_overflow(bench: &Bench) {
    deeper(bench.either(1000, 10));
}

fn overlapping_copy(bench: &Bench) {
    let block = pool(64);
    let to = byte(block, bench.either(8, 32)).cast();
    // SAFETY: Sound for the innocent.
    unsafe { memcpy(to, block, 16) };
    free(block);
}

fn probe_of_system_space(bench: &Bench) {
    // Of length 0 nothing is probed.
    nt!(ProbeForRead(bench.object(), bench.either(8, 0), 1));
}

fn probe_misaligned(bench: &Bench) {
    let address = ptr::without_provenance(0x1_0001);
    nt!(ProbeForRead(address, bench.either(8, 0), 8));
}

fn bug_check_by_driver(_: &Bench) {
    // RDR_FILE_SYSTEM. SAFETY: Callable at any time; it does not return.
    unsafe { wdk_sys::ntddk::KeBugCheckEx(0x27, 1, 2, 3, 4) }
}
