//! The rule classes of Driver Verifier, each of which can be switched on and off, and which rule belongs to which.
//!
//! The bits are those of `verifier.exe /flags` (spec/verifier.md §1). What Verifier calls its automatic checks, and what would
//! stop or corrupt a machine without Verifier, too, belongs to no class here: it always stops.

use crate::own::{self, Own};
use crate::stop::Stop;

bitflags::bitflags! {
    /// A set of rule classes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rules: u32 {
        /// Each pool block at a guard page, and inaccessible after its free. Off: a plain allocator, which is fast.
        const SPECIAL_POOL = 0x1;
        /// Pageable memory is inaccessible at `DISPATCH_LEVEL`; objects must not be in it; limits of the IRQL of calls.
        const FORCE_IRQL = 0x2;
        /// Calls fail by chance: how many of 10,000, [`crate::Options::low_resources`] says.
        const LOW_RESOURCES = 0x4;
        /// Nothing may be left at unload.
        const POOL_TRACKING = 0x8;
        /// What drivers do with requests.
        const IO = 0x10;
        /// The order in which locks are taken.
        const DEADLOCK = 0x20;
        /// Addresses and strings from user space.
        const SECURITY = 0x100;
        /// `IoCallDriver` returns `STATUS_PENDING` to drivers, whose requests are completed later by another thread;
        /// meanwhile the request is inaccessible to its owner. Needs [`Rules::IO`], as Verifier's does.
        const FORCE_PENDING = 0x200;
        /// Timers, work items, resources and look-aside lists in freed memory, handles, overlapping copies.
        const MISCELLANEOUS = 0x800;
        /// Buffers on a stack of devices must not change while drivers below have them. Needs [`Rules::IO`].
        const INVARIANT_MDL_STACK = 0x2000;
        /// The same for the buffers of one driver.
        const INVARIANT_MDL_DRIVER = 0x4000;
        /// The right IRQL and the right pairs of calls.
        const DDI = 0x2_0000;
        /// More of the same.
        const DDI_ADDITIONAL = 0x8_0000;
        /// Threads are held up by chance where they synchronise, so that races come to light.
        const DELAY_FUZZING = 0x80_0000;
        /// Pool that is executable.
        const CODE_INTEGRITY = 0x200_0000;

        /// What `verifier /standard` switches on, as far as it exists here.
        const STANDARD = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x100 | 0x800 | 0x2_0000;
        /// What is on unless told otherwise: the standard, and those of the rest that cost nothing.
        const USUAL = Self::STANDARD.bits() | 0x8_0000 | 0x200_0000;
    }
}

impl Rules {
    /// Whether one of these classes is on in this machine.
    pub(crate) fn is_on(self) -> bool {
        crate::options().rules.intersects(self)
    }

    /// The classes one of which has to be on for this stop; none for what always stops.
    #[must_use]
    pub const fn of(stop: Stop) -> Self {
        match (stop.code, stop.sub) {
            (0x93, _) => Self::MISCELLANEOUS,
            (0xC4, sub) => Self::of_sub_code(sub),
            (0xC9, _) => Self::IO,
            (own::CODE, sub) => Self::of_own(sub),
            _ => Self::empty(),
        }
    }

    const fn of_own(sub: u64) -> Self {
        const LEFT: u64 = Own::Left as u64;
        const CALLBACK_IRQL: u64 = Own::CallbackIrql as u64;
        const CALLBACK_CONTEXT: u64 = Own::CallbackContext as u64;
        match sub {
            LEFT => Self::POOL_TRACKING,
            CALLBACK_IRQL | CALLBACK_CONTEXT => Self::IO,
            _ => Self::empty(),
        }
    }

    const fn of_sub_code(sub: u64) -> Self {
        match sub {
            0x15
            | 0x17
            | 0xCA..=0xCD
            | 0xD0..=0xD2
            | 0xDC
            | 0xDD
            | 0xF0
            | 0xF5..=0xF7
            | 0x123
            | 0x130
            | 0x131 => Self::MISCELLANEOUS,
            0x62 => Self::POOL_TRACKING,
            0x80 | 0xE1 | 0xE5 | 0x11A | 0x120..=0x122 => Self::FORCE_IRQL,
            0xC0..=0xC6 | 0xD5..=0xD7 | 0xFA | 0xFB | 0x105 | 0x135 => Self::IO,
            0xE2..=0xE4 => Self::SECURITY,
            0xE6 | 0x2_0003..=0x2_0025 | 0x4_0000..=0x4_FFFF => {
                Self::DDI.union(Self::DDI_ADDITIONAL)
            }
            0x1000..=0x100B => Self::DEADLOCK,
            0x1010 | 0x1011 => Self::INVARIANT_MDL_STACK.union(Self::INVARIANT_MDL_DRIVER),
            0x2000..=0x2005 => Self::CODE_INTEGRITY,
            _ => Self::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_is_verifiers_own() {
        // spec/verifier.md §1: 0x209BB, of which 0x80 (DMA) does not exist here.
        assert_eq!(Rules::STANDARD.bits(), 0x209BB & !0x80);
    }

    #[test]
    fn every_class_is_a_bit_of_flags() {
        assert_eq!(Rules::from_bits(0x209BB), None);
        assert_eq!(Rules::from_bits_truncate(0x209BB), Rules::STANDARD);
        assert_eq!(Rules::of(Stop::io(0x20A)), Rules::IO);
        assert_eq!(Rules::of(Stop::plain(0xD5)), Rules::empty());
    }
}
