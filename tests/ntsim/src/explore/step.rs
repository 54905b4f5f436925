//! Preemption between two instructions: the processor's trap flag, on the host thread that runs the driver.
//!
//! A thread that is to be preempted in the middle of driver code returns to it with the trap flag set, and the signal
//! handler counts: instructions of the drivers that are looked at, which touch memory other than the thread's own stack and
//! constants. Before the one that is asked for, the thread waits for its next turn inside the handler. What the processor does
//! inside one instruction stays whole, and stores become visible in program order.

use core::cell::{Cell, RefCell};
use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use super::token;
use crate::image::{self, unwind::Registers};
use crate::thread;
use crate::{arena, gate};

/// Longest x86 instruction.
const LONGEST: usize = 15;

/// A walk in progress.
#[derive(Clone, Copy)]
struct Walk {
    left: usize,
    next: u32,
    /// Where the last trap was: a repeated string instruction traps more than once.
    last: usize,
}

thread_local! {
    static WALK: Cell<Option<Walk>> = const { Cell::new(None) };
    static DECODED: RefCell<HashMap<usize, Option<Instruction>>> = RefCell::default();
}

/// Has the current thread stepped as soon as it is back in driver code, if there is something to step.
pub(super) fn arm(steps: Option<(u32, usize)>) {
    let Some((next, left)) = steps else { return };
    WALK.set(Some(Walk {
        left,
        next,
        last: 0,
    }));
    thread::current().trap_on_return();
}

/// A trap of the current thread: true if it was one of these. `Some(false)`: no more of them.
pub(crate) fn trapped(registers: &Registers) -> Option<bool> {
    let mut walk = WALK.get()?;
    let rip = usize::try_from(registers.rip).unwrap_or(0);
    let Some(image) = image::find(rip) else {
        if gate::is_on_the_way(rip) {
            return Some(true);
        }
        // It called the kernel, or returned to it.
        WALK.set(None);
        token::too_short();
        return Some(false);
    };
    let first = rip != walk.last;
    walk.last = rip;
    if first && token::looks_at(&image.name) && touches_memory(rip, registers) {
        walk.left -= 1;
        if walk.left == 0 {
            WALK.set(None);
            thread::current().preempted_at(*registers, || {
                token::preempt_for(walk.next, (rip - image.base) as u64);
            });
            return Some(false);
        }
    }
    WALK.set(Some(walk));
    Some(true)
}

/// Whether the next instruction touches memory that other threads may touch too.
fn touches_memory(rip: usize, registers: &Registers) -> bool {
    DECODED.with_borrow_mut(|decoded| {
        let instruction = decoded.entry(rip).or_insert_with(|| decode(rip));
        instruction.is_some_and(|instruction| shared_operand(&instruction, registers))
    })
}

fn decode(rip: usize) -> Option<Instruction> {
    let mut code = [0; LONGEST];
    // The last bytes of a section may be followed by nothing.
    let length = (1..=LONGEST).rev().find(|&length| {
        code.get_mut(..length)
            .is_some_and(|code| arena::read_checked(rip, code))
    })?;
    let mut decoder = Decoder::with_ip(64, code.get(..length)?, rip as u64, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

fn shared_operand(instruction: &Instruction, registers: &Registers) -> bool {
    let (low, high) = thread::current().stack_limits();
    (0..instruction.op_count()).any(|operand| {
        let kind = instruction.op_kind(operand);
        let is_memory = matches!(
            kind,
            OpKind::Memory
                | OpKind::MemorySegRSI
                | OpKind::MemoryESRDI
                | OpKind::MemorySegESI
                | OpKind::MemoryESEDI
        );
        // `lea` and the long forms of `nop` name an address and do not go there.
        if !is_memory
            || matches!(
                instruction.mnemonic(),
                iced_x86::Mnemonic::Lea | iced_x86::Mnemonic::Nop
            )
        {
            return false;
        }
        let address =
            instruction.virtual_address(operand, 0, |register, _, _| value_of(register, registers));
        let Some(address) = address.and_then(|address| usize::try_from(address).ok()) else {
            return true;
        };
        !(low..high).contains(&address) && !image::is_constant(address)
    })
}

/// The value of a general register; segments other than GS begin at 0, and GS is not shared.
fn value_of(register: Register, registers: &Registers) -> Option<u64> {
    if register.is_segment_register() {
        return Some(0);
    }
    let full = register.full_register();
    if full == Register::RIP {
        return Some(registers.rip);
    }
    if !full.is_gpr64() {
        return None;
    }
    let value = registers.general.get(full.number()).copied()?;
    match register.size() {
        8 => Some(value),
        4 => Some(value & 0xFFFF_FFFF),
        _ => None,
    }
}
