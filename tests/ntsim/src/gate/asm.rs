//! The two stack switches, in assembly.
//!
//! Facts: x64 calling convention and "x64 prolog and epilog" of the MSVC documentation (rbx, rbp, rdi, rsi, r12-r15 and
//! xmm6-xmm15 are preserved; the caller provides 32 bytes above the return address for the register arguments);
//! System V ABI (rdi, rsi and all xmm registers are volatile).
//!
//! The host stack pointer to continue at is kept in the thread's processor control region, addressed by GS.

use crate::thread::{REGISTERS, SERIAL, Thread};
use core::arch::global_asm;
use core::mem::offset_of;

/// Offset in the processor control region of the host stack pointer to use when driver code calls the kernel.
pub(crate) const HOST_STACK: usize = 0x3000;

/// Offset of the address of the variable that has the address of the thread's first free slot for a border crossing
/// (`thread/frames.rs`).
pub(crate) const FRAMES: usize = 0x3010;

/// Offset of a byte: not 0 if driver code is to run with the trap flag set.
pub(crate) const TRAP: usize = 0x3008;

/// What the gate saved of the driver's registers at a call, in memory order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GateFrame {
    /// Non-volatile register.
    pub r15: u64,
    /// Non-volatile register.
    pub r14: u64,
    /// Non-volatile register.
    pub r13: u64,
    /// Non-volatile register.
    pub r12: u64,
    /// Non-volatile in the Windows convention.
    pub rdi: u64,
    /// Non-volatile in the Windows convention.
    pub rsi: u64,
    /// Non-volatile register.
    pub rbx: u64,
    /// Non-volatile register.
    pub rbp: u64,
    /// The driver's stack pointer; the return address is there.
    pub rsp: u64,
}

global_asm!(
    ".globl ntsim_gate_enter",
    "ntsim_gate_enter:",
    // Spill the register arguments to their home space: all arguments are one array now.
    "mov [rsp + 8], rcx",
    "mov [rsp + 16], rdx",
    "mov [rsp + 24], r8",
    "mov [rsp + 32], r9",
    "mov r10, rsp",
    // The other registers that the driver gets back go where they are kept: nobody takes the slot for anything while its
    // serial number is 0.
    "mov r11, gs:[{frames}]",
    "mov r11, [r11]",
    "mov qword ptr [r11 + {serial}], 0",
    "lea r11, [r11 + {registers}]",
    "mov [r11 + {r15}], r15",
    "mov [r11 + {r14}], r14",
    "mov [r11 + {r13}], r13",
    "mov [r11 + {r12}], r12",
    "mov [r11 + {rdi}], rdi",
    "mov [r11 + {rsi}], rsi",
    "mov [r11 + {rbx}], rbx",
    "mov [r11 + {rbp}], rbp",
    "mov [r11 + {rsp}], r10",
    "mov rsp, gs:[{host}]",
    "sub rsp, 160",
    "movaps [rsp], xmm6",
    "movaps [rsp + 16], xmm7",
    "movaps [rsp + 32], xmm8",
    "movaps [rsp + 48], xmm9",
    "movaps [rsp + 64], xmm10",
    "movaps [rsp + 80], xmm11",
    "movaps [rsp + 96], xmm12",
    "movaps [rsp + 112], xmm13",
    "movaps [rsp + 128], xmm14",
    "movaps [rsp + 144], xmm15",
    "mov edi, eax",
    "mov rsi, r11",
    "cld",
    "call {dispatch}",
    "movaps xmm6, [rsp]",
    "movaps xmm7, [rsp + 16]",
    "movaps xmm8, [rsp + 32]",
    "movaps xmm9, [rsp + 48]",
    "movaps xmm10, [rsp + 64]",
    "movaps xmm11, [rsp + 80]",
    "movaps xmm12, [rsp + 96]",
    "movaps xmm13, [rsp + 112]",
    "movaps xmm14, [rsp + 128]",
    "movaps xmm15, [rsp + 144]",
    // The crossing has been left: its slot is the first free one again. The host has preserved the others.
    "mov r11, gs:[{frames}]",
    "mov r11, [r11]",
    "lea r11, [r11 + {registers}]",
    "mov rdi, [r11 + {rdi}]",
    "mov rsi, [r11 + {rsi}]",
    "mov rsp, [r11 + {rsp}]",
    // Back to the driver; the trap flag takes effect after the instruction that follows `popfq`.
    "cmp byte ptr gs:[{trap}], 0",
    "je 3f",
    ".globl ntsim_gate_trap",
    "ntsim_gate_trap:",
    "mov byte ptr gs:[{trap}], 0",
    "pushfq",
    "or dword ptr [rsp], 0x100",
    "popfq",
    "3:",
    "ret",
    ".globl ntsim_gate_trap_end",
    "ntsim_gate_trap_end:",
    "",
    // rdi entry, rsi arguments, rdx their number, rcx driver stack pointer.
    ".globl ntsim_gate_call",
    "ntsim_gate_call:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push qword ptr gs:[{host}]",
    "mov gs:[{host}], rsp",
    "lea rax, [rdx + 1]",
    "and rax, -2",
    "mov r11d, 4",
    "cmp rax, r11",
    "cmovb rax, r11",
    "and rcx, -16",
    "shl rax, 3",
    "sub rcx, rax",
    "mov r11, rdi",
    "mov rsp, rcx",
    // Four arguments, as nearly always, need no memory; the caller gives no less.
    "cmp rdx, 4",
    "jne 5f",
    "mov rcx, [rsi]",
    "mov rdx, [rsi + 8]",
    "mov r8, [rsi + 16]",
    "mov r9, [rsi + 24]",
    "jmp 6f",
    "5:",
    "mov rdi, rsp",
    "mov rcx, rdx",
    "cld",
    "rep movsq",
    "mov rcx, [rsp]",
    "mov rdx, [rsp + 8]",
    "mov r8, [rsp + 16]",
    "mov r9, [rsp + 24]",
    "6:",
    "xor ebp, ebp",
    "cmp byte ptr gs:[{trap}], 0",
    "je 4f",
    ".globl ntsim_gate_trap_in",
    "ntsim_gate_trap_in:",
    "mov byte ptr gs:[{trap}], 0",
    "pushfq",
    "or dword ptr [rsp], 0x100",
    "popfq",
    "4:",
    "call r11",
    ".globl ntsim_gate_return",
    "ntsim_gate_return:",
    "mov rsp, gs:[{host}]",
    "pop qword ptr gs:[{host}]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    "",
    // rdi: host stack pointer saved by the outermost ntsim_gate_call.
    ".globl ntsim_gate_abandon",
    "ntsim_gate_abandon:",
    "mov gs:[{host}], rdi",
    "xor eax, eax",
    "jmp ntsim_gate_return",
    host = const HOST_STACK,
    frames = const FRAMES,
    serial = const SERIAL,
    registers = const REGISTERS,
    r15 = const offset_of!(GateFrame, r15),
    r14 = const offset_of!(GateFrame, r14),
    r13 = const offset_of!(GateFrame, r13),
    r12 = const offset_of!(GateFrame, r12),
    rdi = const offset_of!(GateFrame, rdi),
    rsi = const offset_of!(GateFrame, rsi),
    rbx = const offset_of!(GateFrame, rbx),
    rbp = const offset_of!(GateFrame, rbp),
    rsp = const offset_of!(GateFrame, rsp),
    trap = const TRAP,
    dispatch = sym super::dispatch::dispatch,
);

unsafe extern "C" {
    fn ntsim_gate_enter();
    fn ntsim_gate_call(entry: usize, args: *const u64, count: usize, stack: usize) -> u64;
    fn ntsim_gate_return();
    fn ntsim_gate_trap();
    fn ntsim_gate_trap_end();
    fn ntsim_gate_trap_in();
    fn ntsim_gate_abandon(host_stack: usize) -> !;
}

/// Address that import thunks jump to.
pub(super) fn enter_address() -> usize {
    ntsim_gate_enter as *const () as usize
}

/// Whether driver code that was called by [`enter_driver`] returns to this address: the end of a driver stack segment.
pub(crate) fn is_return_to_host(address: usize) -> bool {
    address == ntsim_gate_return as *const () as usize
}

/// Whether a thread whose trap flag was set is not in driver code yet.
pub(super) fn is_return_to_driver(address: usize) -> bool {
    let back = ntsim_gate_trap as *const () as usize..ntsim_gate_trap_end as *const () as usize;
    let down = ntsim_gate_trap_in as *const () as usize..ntsim_gate_return as *const () as usize;
    back.contains(&address) || down.contains(&address)
}

/// Switches to the driver stack and runs `target`.
pub(super) fn enter_driver(target: usize, args: &[u64], stack: usize) -> u64 {
    let padded;
    let args = match *args {
        [] => &[0; 4],
        [first] => {
            padded = [first, 0, 0, 0];
            &padded
        }
        [first, second] => {
            padded = [first, second, 0, 0];
            &padded
        }
        [first, second, third] => {
            padded = [first, second, third, 0];
            &padded
        }
        _ => args,
    };
    // SAFETY: `stack` is the current thread's free driver stack (`Thread::push`), GS is this thread's control region, and
    // a `target` that is no code faults, which the signal handler reports.
    unsafe { ntsim_gate_call(target, args.as_ptr(), args.len(), stack) }
}

/// Returns from the outermost [`enter_driver`] of this thread.
pub(super) fn abandon(thread: &Thread) -> ! {
    let stack = thread.outermost_host_stack();
    // SAFETY: The control region of the current thread says where its outermost call saved the host stack, and that
    // frame is alive as we are nested in it.
    unsafe { ntsim_gate_abandon(stack) }
}
