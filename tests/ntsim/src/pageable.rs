//! Force IRQL checking: pageable memory is paged out whenever a thread comes to `DISPATCH_LEVEL`.
//!
//! Paged pool and sections whose names begin with `PAGE` become inaccessible then. Whoever touches them below
//! `DISPATCH_LEVEL` gets them back (a page fault, as on a real machine); whoever touches them at it stops the machine with
//! 0xD1, or 0x0A in a kernel routine. Page protection is one for all threads, as on a real machine: what another thread has
//! just paged in, a thread at `DISPATCH_LEVEL` can touch unseen.

use crate::arena::{self, PAGE};
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Pages that may be paged out.
struct Range {
    bytes: usize,
    protection: i32,
    resident: bool,
    /// How often it is locked in memory.
    pins: u32,
}

#[derive(Default)]
struct Ranges {
    all: BTreeMap<usize, Range>,
    /// First addresses of those that are resident, and perhaps of some that are gone.
    resident: Vec<usize>,
}

impl Ranges {
    fn at(&mut self, address: usize) -> Option<(usize, &mut Range)> {
        let (&base, range) = self.all.range_mut(..=address).next_back()?;
        (address < base + range.bytes).then_some((base, range))
    }

    /// Makes the range of an address accessible, and returns it.
    fn page_in(&mut self, address: usize) -> Option<&mut Range> {
        let (base, range) = self.at(address)?;
        if !range.resident {
            range.resident = true;
            arena::protect(base, range.bytes, range.protection);
            self.resident.push(base);
            ANY_RESIDENT.store(true, Ordering::Release);
        }
        self.at(address).map(|(_, range)| range)
    }
}

static RANGES: Mutex<Option<Ranges>> = Mutex::new(None);
/// Whether there may be something to page out.
static ANY_RESIDENT: AtomicBool = AtomicBool::new(false);

fn with<R>(run: impl FnOnce(&mut Ranges) -> R) -> R {
    run(RANGES.lock().get_or_insert_default())
}

/// Adds pages that are accessible with this protection.
pub(crate) fn add(base: usize, bytes: usize, protection: i32) {
    if !crate::Rules::FORCE_IRQL.is_on() {
        return;
    }
    with(|ranges| {
        let range = Range {
            bytes,
            protection,
            resident: true,
            pins: 0,
        };
        ranges.all.insert(base, range);
        ranges.resident.push(base);
        ANY_RESIDENT.store(true, Ordering::Release);
    });
}

/// Forgets what begins between two addresses, which is given back; it is accessible until then.
pub(crate) fn remove(start: usize, bytes: usize) {
    if !crate::Rules::FORCE_IRQL.is_on() {
        return;
    }
    with(|ranges| {
        let bases: Vec<usize> = ranges
            .all
            .range(start..start + bytes)
            .map(|(base, _)| *base)
            .collect();
        for base in bases {
            ranges.page_in(base);
            ranges.all.remove(&base);
        }
    });
}

/// A thread comes to `DISPATCH_LEVEL`: everything that is not locked goes.
pub(crate) fn trim() {
    // Looked at first: threads that come here all the time share the line of the variable as long as nobody writes it.
    if !ANY_RESIDENT.load(Ordering::Acquire) || !ANY_RESIDENT.swap(false, Ordering::AcqRel) {
        return;
    }
    with(|ranges| {
        for base in core::mem::take(&mut ranges.resident) {
            match ranges.all.get_mut(&base) {
                Some(range) if range.pins == 0 => {
                    range.resident = false;
                    arena::protect(base, range.bytes, libc::PROT_NONE);
                }
                Some(_) => ranges.resident.push(base),
                None => {}
            }
        }
    });
}

/// How a fault was met.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub(crate) address: usize,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

/// Whether a fault comes of paging alone: the memory is pageable, and allows the access when it is there.
pub(crate) fn is_page_fault(access: Access) -> bool {
    with(|ranges| {
        ranges.at(access.address).is_some_and(|(_, range)| {
            (!access.write || range.protection & libc::PROT_WRITE != 0)
                && (!access.execute || range.protection & libc::PROT_EXEC != 0)
        })
    })
}

/// Pages the range of an address in.
pub(crate) fn page_in(address: usize) {
    with(|ranges| {
        ranges.page_in(address);
    });
}

/// Locks the pageable memory among these bytes, which is then accessible at any IRQL.
pub(crate) fn pin(address: usize, bytes: usize) {
    change_pins(address, bytes, |pins| pins.saturating_add(1));
}

/// Undoes [`pin`].
pub(crate) fn unpin(address: usize, bytes: usize) {
    change_pins(address, bytes, |pins| pins.saturating_sub(1));
    ANY_RESIDENT.store(true, Ordering::Release);
}

fn change_pins(address: usize, bytes: usize, change: impl Fn(u32) -> u32) {
    with(|ranges| {
        let mut at = address;
        let end = address.saturating_add(bytes);
        while at < end {
            if let Some(range) = ranges.page_in(at) {
                range.pins = change(range.pins);
            }
            at = match ranges.at(at) {
                Some((base, range)) => base + range.bytes,
                None => (at & !(PAGE - 1)) + PAGE,
            };
        }
    });
}

/// What pageable memory an address is in.
pub(crate) fn describe(address: usize) -> Option<String> {
    if !crate::Rules::FORCE_IRQL.is_on() {
        // There is none (`add`).
        return None;
    }
    let pageable = with(|ranges| ranges.at(address).is_some_and(|(_, range)| range.pins == 0));
    pageable.then(|| match crate::pool::owner_block(address) {
        Some(block) => block.describe(),
        None => crate::stop::describe(address),
    })
}
