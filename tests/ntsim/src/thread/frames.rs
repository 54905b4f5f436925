//! The border crossings in progress on a thread: written by the thread itself at every call, without a locked instruction,
//! and read by reports of other threads and by signal handlers at any time.
//!
//! A crossing has a slot of an array, the outermost the first one. `top` is the address of the first free slot: a crossing is
//! entered when it moves up, and left when it moves down. At a call of the kernel the gate (`gate/asm.rs`) writes the driver's
//! registers right into the first free slot, and [`Frames::push_call`] adds the rest. `slots` says why a reader gets what
//! was there.

mod slots;

use super::{Frame, GateFrame};
use crate::stop;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use parking_lot::RwLock;
use slots::InUse;

/// Driver stack that two crossings take at least: the kernel calls driver code with room for four arguments and a return
/// address, and that calls the kernel.
const STACK_OF_TWO: usize = 40;

/// A place for a crossing. Its words: one of the kinds below, for a call with the entry in the upper half; the caller of a call
/// or the target of a callback; and the driver's registers at a call, in the order of [`GateFrame`], or address and length of a
/// callback's name.
type Slot = slots::Slot<WORDS>;

const WORDS: usize = MORE + size_of::<GateFrame>() / 8;
/// Words of a slot by what they are.
const KIND_WORD: usize = 0;
const PLACE_WORD: usize = 1;
/// Those after these two.
const MORE: usize = 2;
/// The driver's stack pointer.
const STACK_POINTER: usize = MORE + core::mem::offset_of!(GateFrame, rsp) / 8;

/// Offset of the serial number in a slot.
pub(crate) const SERIAL: usize = core::mem::offset_of!(Slot, serial);
/// Offset of the registers in a slot.
pub(crate) const REGISTERS: usize = core::mem::offset_of!(Slot, words) + MORE * 8;

/// The half of the word that is the kind.
const KIND: u64 = 0xFFFF_FFFF;
const CALL: u64 = 0;
const FORWARDED: u64 = 1;
const CALLBACK: u64 = 2;

/// The crossings of a thread.
pub(super) struct Frames {
    in_use: InUse,
    /// The last slot, which is never in use: there is always a free one for the gate to write to.
    last: usize,
    /// Gone when the thread has left; readers keep it meanwhile.
    slots: RwLock<Box<[Slot]>>,
}

impl Frames {
    /// Room for all that fit on a driver stack of so many bytes.
    pub(super) fn new(stack_bytes: usize) -> Self {
        let count = 2 * (stack_bytes / STACK_OF_TWO) + 4;
        // Zeroed pages that nobody has touched cost nothing: few threads use more than some slots.
        let slots = Box::<[Slot]>::new_zeroed_slice(count);
        // SAFETY: A slot is integers, for which zeros are valid.
        let slots = unsafe { slots.assume_init() };
        let first = slots.as_ptr() as usize;
        Self {
            in_use: InUse {
                top: AtomicUsize::new(first),
                serial: AtomicU64::new(0),
                first,
            },
            last: first + (count - 1) * size_of::<Slot>(),
            slots: RwLock::new(slots),
        }
    }

    /// Where the gate finds the address of the first free slot.
    pub(super) fn top_address(&self) -> usize {
        self.in_use.top.as_ptr() as usize
    }

    /// The thread has left, and enters nothing any more.
    pub(super) fn release(&self) {
        let mut slots = self.slots.write();
        self.in_use.leave(self.in_use.first);
        *slots = Box::default();
    }

    /// Enters a call of the kernel, of which the gate has written the registers.
    pub(super) fn push_call(&self, entry: u32, caller: usize) {
        self.enter(self.free_slot(), CALL | u64::from(entry) << 32, caller);
    }

    /// The kernel passes a call on to another driver.
    pub(super) fn push_forwarded(&self) {
        let slot = self.free_slot();
        slot.begin();
        self.enter(slot, FORWARDED, 0);
    }

    /// The kernel calls driver code.
    pub(super) fn push_callback(&self, name: &'static str, target: usize) {
        let slot = self.free_slot();
        slot.begin();
        let [_, _, address, length, ..] = &slot.words;
        address.store(name.as_ptr() as u64, Ordering::Relaxed);
        length.store(name.len() as u64, Ordering::Relaxed);
        self.enter(slot, CALLBACK, target);
    }

    fn free_slot(&self) -> &Slot {
        let top = self.in_use.top();
        if top >= self.last {
            stop::host_failure("more border crossings than a driver stack has room for");
        }
        // SAFETY: `top` is the address of a slot of the array, which stays as long as the thread runs; all its members are
        // atomic.
        unsafe { &*(top as *const Slot) }
    }

    fn enter(&self, slot: &Slot, kind: u64, place: usize) {
        slot.words[KIND_WORD].store(kind, Ordering::Relaxed);
        slot.words[PLACE_WORD].store(place as u64, Ordering::Relaxed);
        self.in_use.enter(slot);
    }

    /// Leaves the innermost crossing.
    pub(super) fn pop(&self) {
        let top = self.in_use.top();
        if top > self.in_use.first {
            self.in_use.leave(top - size_of::<Slot>());
        }
    }

    /// Leaves all but the outermost one.
    pub(super) fn leave_all_but_one(&self) {
        let second = self.in_use.first + size_of::<Slot>();
        self.in_use.leave(self.in_use.top().min(second));
    }

    /// How many are in progress; for the thread itself.
    pub(super) fn depth(&self) -> usize {
        self.in_use.depth::<WORDS>()
    }

    /// The driver's stack pointer at the innermost call of the kernel; for the thread itself.
    pub(super) fn stack_pointer(&self) -> Option<usize> {
        let mut at = self.in_use.top();
        while at > self.in_use.first {
            at -= size_of::<Slot>();
            // SAFETY: As in `free_slot`.
            let slot = unsafe { &*(at as *const Slot) };
            if slot.words[KIND_WORD].load(Ordering::Relaxed) & KIND == CALL {
                let pointer = slot.words[STACK_POINTER].load(Ordering::Relaxed);
                return usize::try_from(pointer).ok();
            }
        }
        None
    }

    /// What is in progress, outermost first.
    pub(super) fn read(&self) -> Vec<Frame> {
        self.copy(&self.slots.read())
    }

    /// The same for a signal handler: nothing if the thread is leaving.
    pub(super) fn try_read(&self) -> Option<Vec<Frame>> {
        Some(self.copy(&self.slots.try_read()?))
    }

    fn copy(&self, slots: &[Slot]) -> Vec<Frame> {
        self.in_use.read(slots).into_iter().map(frame).collect()
    }
}

/// What the words of a slot say.
fn frame([kind, place, words @ ..]: [u64; WORDS]) -> Frame {
    let place = usize::try_from(place).unwrap_or(0);
    match kind & KIND {
        CALLBACK => {
            let [address, length, ..] = words;
            let length = usize::try_from(length).unwrap_or(0);
            // SAFETY: `push_callback` took both from a `&'static str`.
            let name = unsafe { core::slice::from_raw_parts(address as *const u8, length) };
            // SAFETY: As above.
            let name = unsafe { core::str::from_utf8_unchecked(name) };
            Frame::Callback {
                name,
                target: place,
            }
        }
        FORWARDED => Frame::Forwarded,
        _ => {
            let [r15, r14, r13, r12, rdi, rsi, rbx, rbp, rsp] = words;
            Frame::Call {
                entry: u32::try_from(kind >> 32).unwrap_or(u32::MAX),
                registers: GateFrame {
                    r15,
                    r14,
                    r13,
                    r12,
                    rdi,
                    rsi,
                    rbx,
                    rbp,
                    rsp,
                },
                caller: place,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;

    const NAMES: [&str; 2] = ["even", "an odd one"];
    const DEPTH: usize = 6;

    /// A crossing of which everything follows from its number, which has that of the one around it in the upper half.
    fn push(frames: &Frames, around: usize, number: usize) {
        let target = around << 32 | number;
        frames.push_callback(NAMES[number % 2], target);
    }

    /// What is wrong with what a reader got.
    fn wrong(read: &[Frame]) -> Option<String> {
        let mut around = 0;
        for (index, frame) in read.iter().enumerate() {
            let Frame::Callback { name, target } = *frame else {
                return Some(format!("{frame:?} at {index}"));
            };
            let number = target & 0xFFFF_FFFF;
            if target >> 32 != around || NAMES[number % 2] != name {
                return Some(format!("{name} {target:#x} at {index}, in {around:#x}"));
            }
            around = number;
        }
        None
    }

    #[test]
    fn readers_get_what_was_there_while_the_thread_goes_on() {
        let frames = Frames::new(4096);
        let over = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut depths = [0_u32; DEPTH + 1];
                while !over.load(Ordering::Relaxed) {
                    let read = frames.read();
                    assert_eq!(wrong(&read), None);
                    depths[read.len()] += 1;
                }
                depths
            });
            let mut number = 0;
            for round in 0..200_000 {
                let mut around = 0;
                for _ in 0..=round % DEPTH {
                    number += 1;
                    push(&frames, around, number);
                    around = number;
                }
                for _ in 0..=round % DEPTH {
                    frames.pop();
                }
            }
            over.store(true, Ordering::Relaxed);
            reader.join()
        });
        assert!(seen.is_ok_and(|depths| depths.iter().sum::<u32>() > 0));
        assert_eq!(frames.depth(), 0);
    }

    #[test]
    fn a_crossing_that_stays_is_read_whole() {
        let frames = Frames::new(4096);
        push(&frames, 0, 1);
        frames.push_forwarded();
        frames.push_call(7, 0x1234);
        let read = frames.read();
        assert!(matches!(
            read[..],
            [
                Frame::Callback {
                    name: "an odd one",
                    target: 1
                },
                Frame::Forwarded,
                Frame::Call {
                    entry: 7,
                    caller: 0x1234,
                    ..
                }
            ]
        ));
        frames.leave_all_but_one();
        assert_eq!(frames.read().len(), 1);
        frames.release();
        assert!(frames.read().is_empty());
    }
}
