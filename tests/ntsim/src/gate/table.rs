//! The table of entries: every routine and export that a thunk leads to, and the exported variables.

use super::{Routine, asm, raw};
use crate::arena::{self, Kind};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::collections::HashMap;

/// Routines that drivers import from a module other than the kernel: `rdbss.sys`.
pub struct Library {
    /// The module's file name in import tables; empty for routines that only the library itself hands out by address.
    pub module: &'static str,
    /// Its name in call stacks.
    pub stem: &'static str,
    /// Its routines.
    pub routines: &'static [Routine],
}

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
        /// The module that exports it, as call stacks name it.
        stem: &'static str,
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
            Self::Kernel { stem, .. } => format!("{stem}!{}", self.name()),
            Self::Unknown => format!("nt!{}", self.name()),
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
    /// The module of routines that are not the kernel's, in lower case.
    modules: HashMap<u32, &'static str>,
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

/// Adds an entry, if there is room.
fn add(entry: Entry) -> Option<u32> {
    let index = ENTRY_COUNT.fetch_add(1, Ordering::Relaxed);
    ENTRIES
        .get(index)?
        .store(Box::leak(Box::new(entry)), Ordering::Release);
    u32::try_from(index).ok()
}

/// Fills the table at boot.
pub fn install(
    tables: &[&'static [Routine]],
    libraries: &[&'static Library],
    data: &[&'static [Datum]],
) {
    let kernel = tables.iter().flat_map(|table| table.iter());
    let others = libraries.iter().flat_map(|library| {
        library
            .routines
            .iter()
            .map(|routine| (routine, Some(*library)))
    });
    let routines: Vec<(&'static Routine, Option<&'static Library>)> = kernel
        .map(|routine| (routine, None))
        .chain(others)
        .collect();
    let block = ThunkBlock::new(routines.len());
    let mut names = Names::default();
    for (position, (routine, library)) in routines.iter().enumerate() {
        let thunk = block.address(position);
        let stem = library.map_or("nt", |library| library.stem);
        let Some(index) = add(Entry::Kernel {
            routine,
            thunk,
            stem,
        }) else {
            crate::stop::host_failure("too many kernel routines");
        };
        if let Some(library) = library {
            names.modules.insert(index, library.module);
        }
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

/// Names of all routines that drivers may import.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = NAMES
        .lock()
        .iter()
        .flat_map(|names| names.routines.keys().copied())
        .collect();
    names.sort_unstable();
    names
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

/// The address that a driver importing this name from the kernel gets: a thunk, or the cell of a variable.
#[must_use]
pub fn import(name: &str) -> Option<usize> {
    match index_of(name) {
        Some(index) if module_of(index).is_none() => thunk(name),
        Some(_) => None,
        None => raw_code(name).or_else(|| datum(name)),
    }
}

/// The same for a name and the module that it is imported from: a [`Library`], or else the kernel.
#[must_use]
pub fn import_from(module: &str, name: &str) -> Option<usize> {
    if !is_library(module) {
        return import(name);
    }
    let own = module_of(index_of(name)?).is_some_and(|own| own.eq_ignore_ascii_case(module));
    own.then(|| thunk(name)).flatten()
}

/// Whether a [`Library`] stands for this module.
fn is_library(module: &str) -> bool {
    NAMES.lock().as_ref().is_some_and(|names| {
        let mut modules = names.modules.values();
        modules.any(|known| !known.is_empty() && known.eq_ignore_ascii_case(module))
    })
}

fn module_of(index: u32) -> Option<&'static str> {
    NAMES.lock().as_ref()?.modules.get(&index).copied()
}

/// The thunk of a routine of any module.
pub(crate) fn thunk(name: &str) -> Option<usize> {
    match entry(index_of(name)?) {
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

/// Adds an entry that passes calls on to another driver's export, if there is room; its thunk is to be written by the caller.
pub(crate) fn bind_export(name: String, target: usize) -> Option<u32> {
    add(Entry::Export {
        name: name.leak(),
        target,
    })
}
