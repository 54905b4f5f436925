//! Fills the import address table: kernel routines, kernel variables, exports of other drivers.

use super::exports::{self, Bound};
use super::load::{LoadError, Memory, Result, text};
use super::{Image, poison};
use crate::gate;
use crate::gate::ThunkBlock;
use object::LittleEndian as LE;
use object::pe::ImageNtHeaders64;
use object::read::pe::{Import, ImportTable, PeFile64};

/// Most imports, and most modules that they come from.
const MOST_IMPORTS: usize = 8192;
const MOST_MODULES: usize = 256;

fn too_many<T>(what: &str) -> Result<T> {
    Err(LoadError::Refused(format!("it imports too many {what}")))
}

/// Names of the modules in the import table.
pub(super) fn modules(parsed: &PeFile64) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(table) = parsed.import_table()? {
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next()? {
            if names.len() == MOST_MODULES {
                return too_many("modules");
            }
            names.push(module_name(&table, descriptor.name.get(LE))?);
        }
    }
    Ok(names)
}

fn module_name(table: &ImportTable, rva: u32) -> Result<String> {
    text(table.name(rva)?)
}

/// One slot of the import address table.
pub(super) struct Slot {
    rva: u32,
    /// The module it comes from.
    pub(super) module: String,
    /// Its name, or `#` and its ordinal.
    pub(super) name: String,
}

/// Reads the import tables.
pub(super) fn slots(parsed: &PeFile64) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    let Some(table) = parsed.import_table()? else {
        return Ok(slots);
    };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let module = module_name(&table, descriptor.name.get(LE))?;
        let names = match descriptor.original_first_thunk.get(LE) {
            0 => descriptor.first_thunk.get(LE),
            names => names,
        };
        let mut thunks = table.thunks(names)?;
        let mut rva = descriptor.first_thunk.get(LE);
        while let Some(thunk) = thunks.next::<ImageNtHeaders64>()? {
            if slots.len() == MOST_IMPORTS {
                return too_many("routines");
            }
            let name = match table.import::<ImageNtHeaders64>(thunk)? {
                Import::Name(_, name) => text(name)?,
                Import::Ordinal(ordinal) => format!("#{ordinal}"),
            };
            slots.push(Slot {
                rva,
                module: module.clone(),
                name,
            });
            rva = rva.checked_add(8).ok_or_else(|| {
                LoadError::Format("its import address table lies outside the image".to_owned())
            })?;
        }
    }
    Ok(slots)
}

/// Writes the import address table.
pub(super) fn bind(memory: &mut Memory, slots: &[Slot]) -> Result<()> {
    // Before anything is made that stays: the whole table has to be in the image.
    for slot in slots {
        memory.range(slot.rva, 8)?;
    }
    let bound = slots
        .iter()
        .map(|slot| exports::find(&slot.module, &slot.name))
        .collect::<Result<Vec<_>>>()?;
    let from_drivers = bound
        .iter()
        .filter(|bound| matches!(bound, Some(Bound::Driver(..))))
        .count();
    let block = (from_drivers > 0).then(|| ThunkBlock::new(from_drivers));
    let mut position = 0;
    for (slot, bound) in slots.iter().zip(bound) {
        let address = match (bound, &block) {
            (Some(Bound::Kernel(address)), _) => address,
            (Some(Bound::Driver(exporter, target)), Some(block)) => {
                position += 1;
                from_driver(exporter, target, slot, block, position - 1)?
            }
            (Some(Bound::Driver(..)), None) | (None, _) => {
                poison::poison(format!("{}!{}", slot.module, slot.name))
            }
        };
        memory.write(slot.rva, &(address as u64).to_le_bytes())?;
    }
    if let Some(block) = block {
        block.seal();
    }
    Ok(())
}

/// Exported code goes through a recording thunk, exported data is imported as it is.
fn from_driver(
    exporter: &'static Image,
    target: usize,
    slot: &Slot,
    block: &ThunkBlock,
    position: usize,
) -> Result<usize> {
    if !exporter
        .section(target)
        .is_some_and(|section| section.executable)
    {
        return Ok(target);
    }
    let module = exporter.name.trim_end_matches(".sys");
    let Some(entry) = gate::bind_export(format!("{module}!{}", slot.name), target) else {
        return too_many("routines of other drivers");
    };
    block.write(position, entry);
    Ok(block.address(position))
}
