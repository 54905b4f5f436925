//! The registers of an interrupted thread: read, and changed where an instruction is carried out for it.

use crate::image::unwind::Registers;
use crate::{arena, image, thread};
use core::sync::atomic::Ordering;

/// The registers as the unwinder wants them.
pub(super) fn registers(general: &[i64; 23]) -> Registers {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
        REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP,
    };
    let get = |index: i32| {
        usize::try_from(index)
            .ok()
            .and_then(|index| general.get(index))
            .map_or(0, |value| value.cast_unsigned())
    };
    let order = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
        REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    Registers {
        general: order.map(get),
        rip: get(REG_RIP),
    }
}

/// `mov reg, cr8` and `mov cr8, reg` are privileged: header macros of some compilers read the IRQL that way. Carried out
/// here for code of a driver; returns whether the instruction was one of them.
pub(super) fn emulate_cr8(general: &mut [i64; 23]) -> bool {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
        REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP,
    };
    let Some(rip) = general
        .get(REG_RIP as usize)
        .and_then(|rip| usize::try_from(*rip).ok())
    else {
        return false;
    };
    let mut code = [0u8; 4];
    if image::find(rip).is_none() || !arena::read_checked(rip, &mut code) {
        return false;
    }
    let [
        prefix @ (0x44 | 0x45),
        0x0F,
        opcode @ (0x20 | 0x22),
        operand,
    ] = code
    else {
        return false;
    };
    // ModRM: register form, CR8 as the reg field with REX.R.
    if operand & 0xF8 != 0xC0 {
        return false;
    }
    let low = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    ];
    let high = [
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    let set = if prefix == 0x45 { high } else { low };
    let Some(slot) = set
        .get(usize::from(operand & 7))
        .and_then(|&index| general.get_mut(index as usize))
    else {
        return false;
    };
    let thread = thread::current();
    if opcode == 0x20 {
        *slot = i64::from(thread.irql());
    } else {
        thread
            .irql
            .store(u8::try_from(*slot & 0xF).unwrap_or(0), Ordering::Relaxed);
    }
    if let Some(rip) = general.get_mut(REG_RIP as usize) {
        *rip += 4;
    }
    true
}

/// Takes the trap after a stepped instruction; whether it was one.
pub(super) fn stepped(signal: i32, general: &mut [i64; 23]) -> bool {
    if signal != libc::SIGTRAP {
        return false;
    }
    let registers = registers(general);
    let counted = crate::count::trapped(&registers);
    let explored = || {
        let on = crate::explore::on();
        on.then(|| crate::explore::trapped(&registers)).flatten()
    };
    let Some(more) = counted.or_else(explored) else {
        return false;
    };
    if !more && let Some(flags) = general.get_mut(libc::REG_EFL as usize) {
        const TRAP_FLAG: i64 = 0x100;
        *flags &= !TRAP_FLAG;
    }
    true
}
