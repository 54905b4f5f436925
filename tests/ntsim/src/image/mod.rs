//! Loaded driver images: what is where, and whose an address is.

mod bind;
mod calls;
mod checksum;
mod exports;
mod layout;
mod load;
mod poison;
mod symbols;
pub mod unwind;

use crate::arena;
use crate::fault::Plan;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(crate) use calls::hand_on;
pub use load::{LoadError, exported, imports, load, probe};
pub(crate) use load::{imported_modules, is_driver};
pub(crate) use poison::poisoned;

/// A section of an image.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Offset from the image's base.
    pub rva: u32,
    /// Bytes in memory.
    pub bytes: u32,
    /// Code may run there.
    pub executable: bool,
    /// Data may be written there.
    pub writable: bool,
    /// It may be dropped after initialisation.
    pub discardable: bool,
}

impl Section {
    /// Whether the section is pageable code or data by the naming convention ("Making Drivers Pageable").
    #[must_use]
    pub fn is_pageable(&self) -> bool {
        self.name.starts_with("PAGE")
    }
}

/// A driver image that is, or was, loaded. Objects of this type live as long as the process.
pub struct Image {
    /// Number, from 0 in the order of loading.
    pub id: u32,
    /// File name, such as `example.sys`.
    pub name: String,
    /// Where it was loaded from.
    pub path: PathBuf,
    /// First address.
    pub base: usize,
    /// Bytes in memory.
    pub bytes: usize,
    /// Address of the entry point; 0 for none.
    pub entry: usize,
    /// Its sections.
    pub sections: Vec<Section>,
    /// The fault plan.
    pub faults: Plan,
    /// Names of the modules it imports from.
    pub imports: Vec<String>,
    symbols: symbols::Symbols,
    exports: HashMap<String, exports::Export>,
    functions: Vec<unwind::Function>,
    loaded: AtomicBool,
    calls: calls::Calls,
    driver_object: AtomicUsize,
}

const MAX_IMAGES: usize = 64;
static IMAGES: [AtomicPtr<Image>; MAX_IMAGES] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_IMAGES];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static REGISTERING: Mutex<()> = Mutex::new(());

fn slots() -> impl Iterator<Item = &'static Image> {
    // SAFETY: Slots are set once to leaked boxes, before the count says so.
    IMAGES
        .iter()
        .take(COUNT.load(Ordering::Acquire))
        .filter_map(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
}

/// Adds an image to the list, if it has room.
fn register(image: Image) -> Option<&'static Image> {
    let _registering = REGISTERING.lock();
    let position = COUNT.load(Ordering::Acquire);
    let slot = IMAGES.get(position)?;
    let image: &'static mut Image = Box::leak(Box::new(image));
    image.id = u32::try_from(position).unwrap_or(u32::MAX);
    let image: &'static Image = image;
    slot.store(core::ptr::from_ref(image).cast_mut(), Ordering::Release);
    COUNT.store(position + 1, Ordering::Release);
    Some(image)
}

/// The image that contains this address, also one that was unloaded.
#[must_use]
pub fn find(address: usize) -> Option<&'static Image> {
    if !arena::is_system(address) {
        return None;
    }
    slots().find(|image| address.wrapping_sub(image.base) < image.bytes)
}

/// Whether this address is data of an image that nobody can write.
#[must_use]
pub(crate) fn is_constant(address: usize) -> bool {
    find(address)
        .and_then(|image| image.section(address))
        .is_some_and(|section| !section.writable)
}

/// The loaded image of this file name, in any case of letters.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Image> {
    slots().find(|image| image.is_loaded() && image.name.eq_ignore_ascii_case(name))
}

/// The file name of a path.
#[must_use]
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// All loaded images.
#[must_use]
pub fn loaded() -> Vec<&'static Image> {
    slots().filter(|image| image.is_loaded()).collect()
}

/// An address as `image+0xoffset (nearest export+0xoffset)`, as the name of an import thunk, or as a plain number.
#[must_use]
pub fn describe(address: usize) -> String {
    if let Some(image) = find(address) {
        let offset = address - image.base;
        let gone = if image.is_loaded() { "" } else { " (unloaded)" };
        let near = image
            .function_at(offset)
            .map(|(name, distance)| format!(" ({name}+0x{distance:X})"));
        return format!(
            "{}{gone}+0x{offset:X}{}",
            image.name,
            near.unwrap_or_default()
        );
    }
    if let Some(name) = crate::gate::name_of_thunk(address) {
        return format!("nt!{name}");
    }
    if crate::gate::asm::is_return_to_host(address) {
        return "nt".to_owned();
    }
    format!("0x{address:X}")
}

/// An address as `image!function+0xdistance`, or as [`describe`] says it.
#[must_use]
pub(crate) fn place(address: usize) -> String {
    let Some(image) = find(address) else {
        return describe(address);
    };
    let (stem, offset) = (image.name.trim_end_matches(".sys"), address - image.base);
    match image.function_at(offset) {
        Some((name, distance)) => {
            let name = name
                .strip_prefix(stem)
                .and_then(|rest| rest.strip_prefix("::"))
                .unwrap_or(name);
            let distance = if distance == 0 {
                String::new()
            } else {
                format!("+0x{distance:X}")
            };
            format!("{stem}!{name}{distance}")
        }
        None => format!("{}+0x{offset:X}", image.name),
    }
}

impl Image {
    /// Whether it is loaded now.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// The address of an export.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<usize> {
        match self.exports.get(name)? {
            exports::Export::Here(rva) => Some(self.base + *rva as usize),
            exports::Export::Forwarded { .. } => None,
        }
    }

    /// Where the exports lie that are the image's own.
    fn own_exports(&self) -> impl Iterator<Item = (&str, u32)> {
        self.exports
            .iter()
            .filter_map(|(name, export)| match export {
                exports::Export::Here(rva) => Some((name.as_str(), *rva)),
                exports::Export::Forwarded { .. } => None,
            })
    }

    /// Whether the kernel routine or export of another driver that an import names is there.
    #[must_use]
    pub fn can_import(module: &str, name: &str) -> bool {
        matches!(exports::find(module, name), Ok(Some(_)))
    }

    /// Looks at what reports look at: functions by address, and the way out of each.
    fn look_around(&self) -> usize {
        let step = (self.bytes / 64).max(1);
        let named = (0..self.bytes)
            .step_by(step)
            .filter(|offset| self.function_at(*offset).is_some())
            .count();
        named + unwind::try_all(self)
    }

    /// Names of all exports.
    pub fn export_names(&self) -> impl Iterator<Item = &str> {
        self.exports.keys().map(String::as_str)
    }

    /// The section that contains this address.
    #[must_use]
    pub fn section(&self, address: usize) -> Option<&Section> {
        let rva = u32::try_from(address.checked_sub(self.base)?).ok()?;
        self.sections
            .iter()
            .find(|section| rva.wrapping_sub(section.rva) < section.bytes)
    }

    /// The `DRIVER_OBJECT` of the image, or 0 for an image that was only loaded as an import.
    #[must_use]
    pub fn driver_object(&self) -> usize {
        self.driver_object.load(Ordering::Acquire)
    }

    pub(crate) fn set_driver_object(&self, object: usize) {
        self.driver_object.store(object, Ordering::Release);
    }

    /// Drops the `INIT` sections, as the system does after `DriverEntry` has returned.
    pub fn discard_init(&self) {
        for section in self
            .sections
            .iter()
            .filter(|section| section.discardable && section.name.starts_with("INIT"))
        {
            arena::retire(
                self.base + section.rva as usize,
                arena::pages(section.bytes as usize),
            );
        }
    }

    /// Makes the image's memory inaccessible, for ever.
    pub(crate) fn unload(&self) {
        self.loaded.store(false, Ordering::Release);
        crate::pageable::remove(self.base, self.bytes);
        arena::unmap(self.base, self.bytes);
    }

    /// The function at an offset and the distance from its start: from the program database, else the nearest export.
    fn function_at(&self, offset: usize) -> Option<(&str, usize)> {
        let known = u32::try_from(offset)
            .ok()
            .and_then(|rva| self.symbols.at(rva));
        known.or_else(|| self.nearest_export(offset))
    }

    fn nearest_export(&self, offset: usize) -> Option<(&str, usize)> {
        let executable = |rva: u32| {
            self.section(self.base + rva as usize)
                .is_some_and(|section| section.executable)
        };
        self.own_exports()
            .filter(|(_, rva)| executable(*rva))
            .filter_map(|(name, rva)| Some((name, offset.checked_sub(rva as usize)?)))
            .min_by_key(|(_, distance)| *distance)
            .filter(|(_, distance)| *distance < 0x1000)
    }
}
