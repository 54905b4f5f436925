//! `__chkstk`: touches each page of a large stack frame before it is used, so that a guard page is met in order.
//!
//! The compiler calls it with the frame's size in `rax`; it changes no register but the flags ("x64 prolog and epilog").

core::arch::global_asm!(
    ".globl __chkstk",
    "__chkstk:",
    "push rcx",
    "push rax",
    // Where the stack pointer was before the call.
    "lea rcx, [rsp + 24]",
    "2:",
    "cmp rax, 0x1000",
    "jb 3f",
    "sub rcx, 0x1000",
    "test dword ptr [rcx], eax",
    "sub rax, 0x1000",
    "jmp 2b",
    "3:",
    "sub rcx, rax",
    "test dword ptr [rcx], eax",
    "pop rax",
    "pop rcx",
    "ret",
);
