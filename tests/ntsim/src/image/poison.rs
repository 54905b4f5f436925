//! Imports that nobody exports: each gets an inaccessible address of its own, so that a call of it and a read of it both
//! fault, and the report names it.

use crate::arena;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Address and `module!name`.
static POISONED: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());
/// Room for a structure read through the import.
const SPACING: usize = arena::PAGE;

/// An inaccessible address that stands for this import.
pub(super) fn poison(name: String) -> usize {
    let base = arena::reserve(SPACING);
    POISONED.lock().insert(base, name);
    base
}

/// The import that this address stands for.
pub(crate) fn poisoned(address: usize) -> Option<String> {
    let poisoned = POISONED.try_lock()?;
    let (base, name) = poisoned.range(..=address).next_back()?;
    (address - base < SPACING).then(|| name.clone())
}
