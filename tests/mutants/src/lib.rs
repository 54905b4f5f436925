//! The defects that can be planted in the engine, one at a time, to see which acceptance vector finds each.
//!
//! The engine and its driver are built with them by the feature `mutants`, into one image of its own, which is never
//! shipped. A defect is a single change at a place marked `mutant!(Name)`; which one is there is chosen at run time, by
//! the number that [`select`] is given before the driver is started. Without the feature, `mutant!` is the word `false`.

#![no_std]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

mod catalogue;

pub use catalogue::Mutant;

/// The number of the defect that is there; 0 for none.
static SELECTED: AtomicU32 = AtomicU32::new(0);

/// Plants the defect with this number and takes out any other; 0 plants none. `false` if there is no such number.
pub fn select(number: u32) -> bool {
    let known = number == 0 || Mutant::ALL.iter().any(|mutant| mutant.number() == number);
    SELECTED.store(if known { number } else { 0 }, Ordering::Relaxed);
    known
}

/// Whether this defect is there.
#[must_use]
pub fn is_selected(mutant: Mutant) -> bool {
    SELECTED.load(Ordering::Relaxed) == mutant.number()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_defect_is_there_at_a_time() {
        assert!(Mutant::ALL.iter().all(|&mutant| !is_selected(mutant)));
        for &mutant in Mutant::ALL {
            assert!(select(mutant.number()));
            let there: std::vec::Vec<_> = Mutant::ALL
                .iter()
                .filter(|&&one| is_selected(one))
                .collect();
            assert_eq!(there, [&mutant]);
        }
        assert!(!select(u32::MAX));
        assert!(Mutant::ALL.iter().all(|&mutant| !is_selected(mutant)));
    }

    #[test]
    fn numbers_and_descriptions_are_different() {
        let numbers: BTreeSet<u32> = Mutant::ALL.iter().map(|mutant| mutant.number()).collect();
        assert_eq!(numbers.len(), Mutant::ALL.len());
        assert!(!numbers.contains(&0));
        let texts: BTreeSet<&str> = Mutant::ALL
            .iter()
            .map(|mutant| mutant.description())
            .collect();
        assert_eq!(texts.len(), Mutant::ALL.len());
    }
}
