//! Exports that are no ordinary calls: compiler helpers with a convention of their own. Their code is copied into
//! system space and never leaves the driver's stack.

use crate::arena::{self, Kind};
use core::arch::global_asm;
use core::sync::atomic::{AtomicUsize, Ordering};

global_asm!(
    // "__chkstk Routine": rax is the size of a frame; every page of it is touched in order, so that the guard page is met;
    // only r10, r11 and the flags may change, and the stack pointer stays.
    ".globl ntsim_chkstk",
    "ntsim_chkstk:",
    "lea r10, [rsp + 8]",
    "mov r11, r10",
    "sub r10, rax",
    "jae 2f",
    "xor r10d, r10d",
    "2:",
    "sub r11, 4096",
    "cmp r11, r10",
    "jb 3f",
    "test byte ptr [r11], 0",
    "jmp 2b",
    "3:",
    "test byte ptr [r10], 0",
    "ret",
    ".globl ntsim_chkstk_end",
    "ntsim_chkstk_end:",
);

unsafe extern "C" {
    fn ntsim_chkstk();
    fn ntsim_chkstk_end();
}

static CODE: AtomicUsize = AtomicUsize::new(0);

/// Whether this is code of such an export.
pub(super) fn contains(address: usize) -> bool {
    address & !(arena::PAGE - 1) == CODE.load(Ordering::Relaxed)
}

/// Copies the code into system space; names and addresses of the exports.
pub(super) fn install() -> [(&'static str, usize); 1] {
    let start = ntsim_chkstk as *const () as usize;
    let bytes = ntsim_chkstk_end as *const () as usize - start;
    let page = arena::map(arena::PAGE, Kind::Thunks);
    // SAFETY: Copies position-independent code between its two labels into a page that nobody else knows yet.
    unsafe { core::ptr::copy_nonoverlapping(start as *const u8, page as *mut u8, bytes) };
    arena::protect(page, arena::PAGE, libc::PROT_READ | libc::PROT_EXEC);
    CODE.store(page, Ordering::Relaxed);
    [("__chkstk", page)]
}
