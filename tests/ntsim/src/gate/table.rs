//! The table of entries: every routine and export that a thunk leads to, and the exported variables.

use super::{Routine, asm, raw};
use crate::arena::{self, Kind};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::collections::HashMap;

/// An exported kernel variable: drivers import the address of a pointer-sized cell.
pub struct Datum {
    /// The export's name.
    pub name: &'static str,
    /// Makes the initial value of the cell, at boot.
    pub value: fn() -> u64,
}

/// Where a thunk leads.
pub(crate) enum Entry {
    /// A routine of the simulated kernel.
    Kernel {
        routine: &'static Routine,
        thunk: usize,
    },
    /// An export of another driver; calls of it are recorded and passed on.
    Export { name: &'static str, target: usize },
    /// No entry: the number came from damaged code.
    Unknown,
}

impl Entry {
    /// The name with the module in front, for call stacks.
    pub(crate) fn full_name(&self) -> String {
        match self {
            Self::Export { name, .. } => (*name).to_owned(),
            Self::Kernel { .. } | Self::Unknown => format!("nt!{}", self.name()),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Kernel { routine, .. } => routine.name,
            Self::Export { name, .. } => name,
            Self::Unknown => "(no such routine)",
        }
    }
}

/// Bytes of a thunk: `mov eax, index; movabs r11, gate; jmp r11`, padded with `int3`.
const THUNK_BYTES: usize = 32;
/// Most entries of a process.
const MAX_ENTRIES: usize = 16 * 1024;

static ENTRIES: [AtomicPtr<Entry>; MAX_ENTRIES] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_ENTRIES];
static ENTRY_COUNT: AtomicUsize = AtomicUsize::new(0);
static KERNEL_COUNT: AtomicUsize = AtomicUsize::new(0);
static NAMES: Mutex<Option<Names>> = Mutex::new(None);

#[derive(Default)]
struct Names {
    routines: HashMap<&'static str, u32>,
    data: HashMap<&'static str, usize>,
    thunks: HashMap<usize, u32>,
    raw: HashMap<&'static str, usize>,
}

/// Number of kernel routines; they have the first indices of the table.
pub(crate) fn kernel_routine_count() -> usize {
    KERNEL_COUNT.load(Ordering::Relaxed)
}

/// The entry with this index, which a thunk loaded.
pub(crate) fn entry(index: u32) -> &'static Entry {
    let entry = ENTRIES
        .get(index as usize)
        .map_or(core::ptr::null_mut(), |slot| slot.load(Ordering::Acquire));
    // SAFETY: Slots are set once to leaked boxes.
    unsafe { entry.as_ref() }.unwrap_or(&Entry::Unknown)
}

fn add(entry: Entry) -> u32 {
    let index = ENTRY_COUNT.fetch_add(1, Ordering::Relaxed);
    match ENTRIES.get(index) {
        Some(slot) => slot.store(Box::leak(Box::new(entry)), Ordering::Release),
        None => crate::stop::host_failure("too many imports"),
    }
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Fills the table at boot.
pub fn install(tables: &[&'static [Routine]], data: &[&'static [Datum]]) {
    let routines: Vec<&'static Routine> = tables.iter().flat_map(|table| table.iter()).collect();
    let block = ThunkBlock::new(routines.len());
    let mut names = Names::default();
    for (position, routine) in routines.iter().enumerate() {
        let thunk = block.address(position);
        let index = add(Entry::Kernel { routine, thunk });
        assert!(
            names.routines.insert(routine.name, index).is_none(),
            "routine {} is in two tables",
            routine.name
        );
        names.thunks.insert(thunk, index);
        block.write(position, index);
    }
    block.seal();
    KERNEL_COUNT.store(routines.len(), Ordering::Relaxed);
    let data: Vec<&'static Datum> = data.iter().flat_map(|table| table.iter()).collect();
    let cells = arena::map(data.len().max(1) * 8, Kind::Data);
    for (position, datum) in data.iter().enumerate() {
        let cell = cells + position * 8;
        // SAFETY: The cell lies in the pages just mapped for all of them.
        unsafe { (cell as *mut u64).write((datum.value)()) };
        names.data.insert(datum.name, cell);
    }
    names.raw.extend(raw::install());
    *NAMES.lock() = Some(names);
}

/// The routine of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Routine> {
    match entry(index_of(name)?) {
        Entry::Kernel { routine, .. } => Some(routine),
        _ => None,
    }
}

/// The index of the routine of this name, for call counts.
pub(crate) fn index_of(name: &str) -> Option<u32> {
    NAMES.lock().as_ref()?.routines.get(name).copied()
}

/// The address that a driver importing this name gets: a thunk, or the cell of a variable.
#[must_use]
pub fn import(name: &str) -> Option<usize> {
    let Some(index) = index_of(name) else {
        return raw_code(name).or_else(|| datum(name));
    };
    match entry(index) {
        Entry::Kernel { thunk, .. } => Some(*thunk),
        _ => None,
    }
}

fn raw_code(name: &str) -> Option<usize> {
    NAMES.lock().as_ref()?.raw.get(name).copied()
}

/// The address of an exported variable's cell.
#[must_use]
pub fn datum(name: &str) -> Option<usize> {
    NAMES.lock().as_ref()?.data.get(name).copied()
}

/// The routine whose thunk starts at this address.
#[must_use]
pub fn name_of_thunk(address: usize) -> Option<&'static str> {
    let names = NAMES.try_lock()?;
    let index = *names.as_ref()?.thunks.get(&address)?;
    Some(entry(index).name())
}

/// A page-aligned block of thunks: written once, then executable and read-only.
pub(crate) struct ThunkBlock {
    base: usize,
    bytes: usize,
}

impl ThunkBlock {
    pub(crate) fn new(count: usize) -> Self {
        let bytes = arena::pages((count * THUNK_BYTES).max(1));
        Self {
            base: arena::map(bytes, Kind::Thunks),
            bytes,
        }
    }

    pub(crate) const fn address(&self, position: usize) -> usize {
        self.base + position * THUNK_BYTES
    }

    pub(crate) fn write(&self, position: usize, index: u32) {
        let mut code = [0xCC_u8; THUNK_BYTES];
        let parts: [&[u8]; 5] = [
            &[0xB8],
            &index.to_le_bytes(),
            &[0x49, 0xBB],
            &(asm::enter_address() as u64).to_le_bytes(),
            &[0x41, 0xFF, 0xE3],
        ];
        for (slot, byte) in code.iter_mut().zip(parts.concat()) {
            *slot = byte;
        }
        // SAFETY: The block is mapped writable and `position` is below the count it was made for.
        unsafe { (self.address(position) as *mut [u8; THUNK_BYTES]).write(code) };
    }

    pub(crate) fn seal(&self) {
        arena::protect(self.base, self.bytes, libc::PROT_READ | libc::PROT_EXEC);
    }
}

/// Adds an entry that passes calls on to another driver's export; its thunk is to be written by the caller.
pub(crate) fn bind_export(name: String, target: usize) -> u32 {
    add(Entry::Export {
        name: name.leak(),
        target,
    })
}
