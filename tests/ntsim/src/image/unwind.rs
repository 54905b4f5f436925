//! Walks driver call stacks with the unwind data of the images.
//!
//! Facts: "x64 exception handling" of the MSVC documentation (`RUNTIME_FUNCTION`, `UNWIND_INFO`, `UNWIND_CODE`).
//! Stacks may be damaged when this runs: memory is read through the host's kernel, which refuses bad addresses.

use super::load::{LoadError, Memory, Result};
use super::{Image, find};
use crate::gate::GateFrame;
use crate::thread::Frame;
use object::LittleEndian as LE;
use object::pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION;
use object::read::pe::PeFile64;

/// Longest stack that is walked.
const MAX_FRAMES: usize = 64;
/// Longest chain of unwind data of one function.
const MAX_CHAIN: usize = 32;
/// Bytes of a `RUNTIME_FUNCTION`.
const FUNCTION_BYTES: u32 = 12;
const RSP: usize = 4;

/// A `RUNTIME_FUNCTION`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    begin: u32,
    end: u32,
    info: u32,
}

/// Reads the function table of an image.
pub(super) fn functions(memory: &Memory, parsed: &PeFile64) -> Result<Vec<Function>> {
    let Some(directory) = parsed
        .data_directories()
        .get(IMAGE_DIRECTORY_ENTRY_EXCEPTION)
    else {
        return Ok(Vec::new());
    };
    let (start, bytes) = (directory.virtual_address.get(LE), directory.size.get(LE));
    if memory.range(start, bytes as usize).is_err() {
        return Err(LoadError::Format(
            "its function table lies outside the image".to_owned(),
        ));
    }
    let mut functions: Vec<_> = (0..bytes / FUNCTION_BYTES)
        .filter_map(|n| entry(|at| memory.read(at).ok(), start + n * FUNCTION_BYTES))
        .collect();
    functions.sort_by_key(|function| function.begin);
    Ok(functions)
}

fn entry(read: impl Fn(u32) -> Option<[u8; 4]>, rva: u32) -> Option<Function> {
    let word = |n: u32| read(rva.checked_add(n * 4)?).map(u32::from_le_bytes);
    Some(Function {
        begin: word(0)?,
        end: word(1)?,
        info: word(2)?,
    })
}

/// General registers in the order of the unwind codes (rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … r15).
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// General registers.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
}

/// The driver addresses on the stack of a thread that called the kernel, innermost first.
#[must_use]
pub fn walk_from_call(frame: &GateFrame) -> Vec<usize> {
    let general = [
        0, 0, 0, frame.rbx, frame.rsp, frame.rbp, frame.rsi, frame.rdi, 0, 0, 0, 0, frame.r12,
        frame.r13, frame.r14, frame.r15,
    ];
    let mut registers = Registers { general, rip: 0 };
    if pop_return(&mut registers).is_none() {
        return Vec::new();
    }
    walk(registers, Position::AfterCall)
}

/// The driver addresses that led to one border crossing, innermost first.
pub(crate) fn walk_from(frame: &Frame) -> Vec<usize> {
    match frame {
        Frame::Call { registers, .. } => walk_from_call(registers),
        Frame::Preempted(registers) => walk(*registers, Position::AtInstruction),
        Frame::Forwarded | Frame::Callback { .. } => Vec::new(),
    }
}

/// Whether the instruction pointer is the address after a call, or of an instruction that did not finish.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    AfterCall,
    AtInstruction,
}

/// The driver addresses from these registers outwards, as far as driver code reaches.
pub(crate) fn walk(mut registers: Registers, mut position: Position) -> Vec<usize> {
    let mut frames = Vec::new();
    while frames.len() < MAX_FRAMES {
        let rip = usize::try_from(registers.rip).unwrap_or(0);
        if find(rip).is_none_or(|image| !image.is_loaded()) {
            break;
        }
        frames.push(rip);
        if unwind(&mut registers, position).is_none() {
            break;
        }
        position = Position::AfterCall;
    }
    frames
}

/// Undoes one function.
fn unwind(registers: &mut Registers, position: Position) -> Option<()> {
    let rip = usize::try_from(registers.rip).ok()?;
    let image = find(rip)?;
    let offset = u32::try_from(rip - image.base).ok()?;
    undo(image, registers, offset, position)
}

/// Undoes functions from all over an image, on a stack that is the image itself: for the fuzzer. Returns how many could be.
pub(super) fn try_all(image: &Image) -> usize {
    let step = (image.functions.len() / 32).max(1);
    let places = image.functions.iter().step_by(step).flat_map(|function| {
        let middle = function.begin / 2 + function.end / 2;
        [function.begin, middle, function.end.wrapping_sub(1)]
    });
    places
        .filter(|offset| {
            let mut registers = Registers {
                general: [image.base as u64; 16],
                rip: 0,
            };
            undo(image, &mut registers, *offset, Position::AtInstruction).is_some()
        })
        .count()
}

/// Undoes the function at an offset of an image.
fn undo(image: &Image, registers: &mut Registers, offset: u32, position: Position) -> Option<()> {
    // A call may be the last instruction of its function.
    let probe = if position == Position::AfterCall {
        offset.checked_sub(1)?
    } else {
        offset
    };
    let found = image
        .functions
        .partition_point(|function| function.begin <= probe)
        .checked_sub(1);
    let function = found
        .and_then(|index| image.functions.get(index))
        .filter(|function| probe < function.end);
    // A function without unwind data is a leaf: its return address is on top of the stack.
    if let Some(function) = function {
        apply(registers, image.base, *function, offset - function.begin)?;
    }
    pop_return(registers)
}

fn apply(
    registers: &mut Registers,
    base: usize,
    mut function: Function,
    mut offset: u32,
) -> Option<()> {
    for _ in 0..MAX_CHAIN {
        let info = base + function.info as usize;
        let [flags, _prolog, count, frame] = read::<4>(info)?;
        let frame_register = usize::from(frame & 0xF);
        let frame_offset = u64::from(frame >> 4) * 16;
        let mut index = 0;
        while index < usize::from(count) {
            let [at, code] = read::<2>(info + 4 + index * 2)?;
            let here = info + 4 + index * 2;
            let operand = |n: usize| {
                read::<2>(here + n * 2).map(|bytes| u64::from(u16::from_le_bytes(bytes)))
            };
            let detail = code >> 4;
            let done = u32::from(at) <= offset;
            index += slots(code & 0xF, detail);
            if !done {
                continue;
            }
            let established = frame_register != 0;
            let saved_base = if established {
                registers
                    .general
                    .get(frame_register)?
                    .wrapping_sub(frame_offset)
            } else {
                registers.general[RSP]
            };
            match code & 0xF {
                0 => *registers.general.get_mut(usize::from(detail))? = pop(registers)?,
                1 if detail == 0 => drop_bytes(registers, operand(1)? * 8),
                1 => drop_bytes(registers, operand(1)? | (operand(2)? << 16)),
                2 => drop_bytes(registers, u64::from(detail) * 8 + 8),
                3 => registers.general[RSP] = saved_base,
                4 => {
                    *registers.general.get_mut(usize::from(detail))? =
                        read_u64(saved_base.wrapping_add(operand(1)? * 8))?
                }
                5 => {
                    let far = operand(1)? | (operand(2)? << 16);
                    *registers.general.get_mut(usize::from(detail))? =
                        read_u64(saved_base.wrapping_add(far))?;
                }
                // Saved xmm registers and epilog descriptions do not matter for the walk; machine frames end it.
                6..=9 => {}
                _ => return None,
            }
        }
        // UNW_FLAG_CHAININFO: the codes of another function follow.
        if flags >> 3 & 4 == 0 {
            return Some(());
        }
        let chained = info + 4 + usize::from(count).next_multiple_of(2) * 2;
        function = entry(
            |at| read::<4>(base + at as usize),
            u32::try_from(chained - base).ok()?,
        )?;
        offset = u32::MAX;
    }
    None
}

/// Takes bytes from the stack.
fn drop_bytes(registers: &mut Registers, bytes: u64) {
    registers.general[RSP] = registers.general[RSP].wrapping_add(bytes);
}

/// Slots that an unwind code takes.
const fn slots(operation: u8, detail: u8) -> usize {
    match (operation, detail) {
        (1, 0) | (4 | 8, _) => 2,
        (1 | 5 | 9, _) => 3,
        _ => 1,
    }
}

fn pop(registers: &mut Registers) -> Option<u64> {
    let value = read_u64(registers.general[RSP])?;
    drop_bytes(registers, 8);
    Some(value)
}

fn pop_return(registers: &mut Registers) -> Option<()> {
    registers.rip = pop(registers)?;
    Some(())
}

fn read_u64(address: u64) -> Option<u64> {
    read::<8>(usize::try_from(address).ok()?).map(u64::from_le_bytes)
}

fn read<const N: usize>(address: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    crate::arena::read_checked(address, &mut bytes).then_some(bytes)
}
