//! The border crossings in progress on a thread: written by the thread itself at every call, without a locked instruction,
//! and read by reports of other threads and by signal handlers at any time.
//!
//! A crossing has a slot of an array, the outermost the first one. `top` is the address of the first free slot: a crossing is
//! entered when it moves up, and left when it moves down. At a call of the kernel the gate (`gate/asm.rs`) writes the driver's
//! registers right into the first free slot, and [`Frames::push_call`] adds the rest.
//!
//! # Why a reader gets what was there
//!
//! Each crossing has a serial number that no other crossing of the thread has. Who writes a slot makes the number in it 0
//! first, and writes the new one last; leaving a crossing changes nothing in its slot. A reader takes, from the outermost
//! inwards, each slot's number and then its words; it looks at `top` again, and then once more at each number. A slot that is
//! below that `top` and had the same number both times, not 0, was not written in between: its words belong to that number.
//! At the moment of the second look at `top` the slot was in use, with that number. So all such slots up to the first other
//! one are what the thread was in at that moment, from the outermost on. What is further in has changed meanwhile.
//!
//! The release fences and stores of the writer and the acquire fences and loads of the reader keep the order; on x86-64 all
//! of them are plain moves.

use super::{Frame, GateFrame};
use crate::stop;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use parking_lot::RwLock;

/// Driver stack that two crossings take at least: the kernel calls driver code with room for four arguments and a return
/// address, and that calls the kernel.
const STACK_OF_TWO: usize = 40;

/// A place for a crossing.
#[repr(C)]
pub(crate) struct Slot {
    /// The number of the crossing; 0 while it is written.
    serial: AtomicU64,
    /// One of the kinds below; for a call with the entry in the upper half.
    kind: AtomicU64,
    /// The caller of a call, the target of a callback.
    place: AtomicU64,
    /// The driver's registers at a call, in the order of [`GateFrame`]; address and length of a callback's name.
    words: [AtomicU64; WORDS],
}

const WORDS: usize = size_of::<GateFrame>() / 8;
/// Of the word that is the driver's stack pointer.
const STACK_POINTER: usize = core::mem::offset_of!(GateFrame, rsp) / 8;

/// Offset of the serial number in a slot.
pub(crate) const SERIAL: usize = core::mem::offset_of!(Slot, serial);
/// Offset of the registers in a slot.
pub(crate) const REGISTERS: usize = core::mem::offset_of!(Slot, words);

/// The half of the word that is the kind.
const KIND: u64 = 0xFFFF_FFFF;
const CALL: u64 = 0;
const FORWARDED: u64 = 1;
const CALLBACK: u64 = 2;

/// The crossings of a thread.
pub(super) struct Frames {
    /// Address of the first free slot; only the thread itself changes it.
    top: AtomicUsize,
    /// The number of the last crossing; the thread's own.
    serial: AtomicU64,
    first: usize,
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
            top: AtomicUsize::new(first),
            serial: AtomicU64::new(0),
            first,
            last: first + (count - 1) * size_of::<Slot>(),
            slots: RwLock::new(slots),
        }
    }

    /// Where the gate finds the address of the first free slot.
    pub(super) fn top_address(&self) -> usize {
        self.top.as_ptr() as usize
    }

    /// The thread has left, and enters nothing any more.
    pub(super) fn release(&self) {
        let mut slots = self.slots.write();
        self.top.store(self.first, Ordering::Release);
        *slots = Box::default();
    }

    /// Enters a call of the kernel, of which the gate has written the registers.
    pub(super) fn push_call(&self, entry: u32, caller: usize) {
        let (top, slot) = self.free_slot();
        self.enter(top, slot, CALL | u64::from(entry) << 32, caller);
    }

    /// The kernel passes a call on to another driver.
    pub(super) fn push_forwarded(&self) {
        let (top, slot) = self.begin();
        self.enter(top, slot, FORWARDED, 0);
    }

    /// The kernel calls driver code.
    pub(super) fn push_callback(&self, name: &'static str, target: usize) {
        let (top, slot) = self.begin();
        let [address, length, ..] = &slot.words;
        address.store(name.as_ptr() as u64, Ordering::Relaxed);
        length.store(name.len() as u64, Ordering::Relaxed);
        self.enter(top, slot, CALLBACK, target);
    }

    /// The first free slot, which nobody takes for anything any more.
    fn begin(&self) -> (usize, &Slot) {
        let (top, slot) = self.free_slot();
        slot.serial.store(0, Ordering::Relaxed);
        // What is written from here on is not seen without the 0.
        fence(Ordering::Release);
        (top, slot)
    }

    fn free_slot(&self) -> (usize, &Slot) {
        let top = self.top.load(Ordering::Relaxed);
        if top >= self.last {
            stop::host_failure("more border crossings than a driver stack has room for");
        }
        // SAFETY: `top` is the address of a slot of the array, which stays as long as the thread runs; all its members are
        // atomic.
        (top, unsafe { &*(top as *const Slot) })
    }

    fn enter(&self, top: usize, slot: &Slot, kind: u64, place: usize) {
        let serial = self.serial.load(Ordering::Relaxed) + 1;
        self.serial.store(serial, Ordering::Relaxed);
        slot.kind.store(kind, Ordering::Relaxed);
        slot.place.store(place as u64, Ordering::Relaxed);
        slot.serial.store(serial, Ordering::Release);
        self.top.store(top + size_of::<Slot>(), Ordering::Release);
    }

    /// Leaves the innermost crossing.
    pub(super) fn pop(&self) {
        let top = self.top.load(Ordering::Relaxed);
        if top > self.first {
            self.top.store(top - size_of::<Slot>(), Ordering::Release);
        }
    }

    /// Leaves all but the outermost one.
    pub(super) fn leave_all_but_one(&self) {
        let top = self.top.load(Ordering::Relaxed);
        self.top
            .store(top.min(self.first + size_of::<Slot>()), Ordering::Release);
    }

    /// How many are in progress; for the thread itself.
    pub(super) fn depth(&self) -> usize {
        (self.top.load(Ordering::Acquire) - self.first) / size_of::<Slot>()
    }

    /// The driver's stack pointer at the innermost call of the kernel; for the thread itself.
    pub(super) fn stack_pointer(&self) -> Option<usize> {
        let mut at = self.top.load(Ordering::Relaxed);
        while at > self.first {
            at -= size_of::<Slot>();
            // SAFETY: As in `free_slot`.
            let slot = unsafe { &*(at as *const Slot) };
            if slot.kind.load(Ordering::Relaxed) & KIND == CALL {
                let pointer = slot.words.get(STACK_POINTER)?.load(Ordering::Relaxed);
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
        let seen: Vec<(u64, Words)> = slots.iter().take(self.depth()).map(Slot::copy).collect();
        // The words come before the second look at `top`, and that before the second one at the numbers.
        fence(Ordering::Acquire);
        let in_use = self.depth();
        slots
            .iter()
            .take(in_use)
            .zip(seen)
            .take_while(|(slot, (serial, _))| {
                *serial != 0 && slot.serial.load(Ordering::Relaxed) == *serial
            })
            .map(|(_, (_, words))| words.frame())
            .collect()
    }
}

/// What a slot held.
struct Words {
    kind: u64,
    place: u64,
    words: [u64; WORDS],
}

impl Slot {
    fn copy(&self) -> (u64, Words) {
        let serial = self.serial.load(Ordering::Acquire);
        let words = Words {
            kind: self.kind.load(Ordering::Relaxed),
            place: self.place.load(Ordering::Relaxed),
            words: core::array::from_fn(|n| {
                let word = self.words.get(n);
                word.map_or(0, |word| word.load(Ordering::Relaxed))
            }),
        };
        (serial, words)
    }
}

impl Words {
    /// Only for words that belong together.
    fn frame(&self) -> Frame {
        let place = usize::try_from(self.place).unwrap_or(0);
        match self.kind & KIND {
            CALLBACK => {
                let [address, length, ..] = self.words;
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
                let [r15, r14, r13, r12, rdi, rsi, rbx, rbp, rsp] = self.words;
                Frame::Call {
                    entry: u32::try_from(self.kind >> 32).unwrap_or(u32::MAX),
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
