//! Fills the import address table: kernel routines, kernel variables, exports of other drivers.

use super::load::{LoadError, Memory};
use super::{Image, by_name, poison};
use crate::gate;
use crate::gate::ThunkBlock;
use object::LittleEndian as LE;
use object::pe::ImageNtHeaders64;
use object::read::pe::{Import, ImportTable, PeFile64};

/// Names of the modules in the import table.
pub(super) fn modules(parsed: &PeFile64) -> Result<Vec<String>, LoadError> {
    let mut names = Vec::new();
    if let Some(table) = parsed.import_table()? {
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next()? {
            names.push(module_name(&table, descriptor.name.get(LE))?);
        }
    }
    Ok(names)
}

fn module_name(table: &ImportTable, rva: u32) -> Result<String, LoadError> {
    Ok(String::from_utf8_lossy(table.name(rva)?).into_owned())
}

/// One slot of the import address table.
struct Slot {
    rva: u32,
    module: String,
    name: String,
}

/// Writes the import address table.
pub(super) fn bind(memory: &mut Memory, parsed: &PeFile64) -> Result<(), LoadError> {
    let Some(table) = parsed.import_table()? else {
        return Ok(());
    };
    let mut slots = Vec::new();
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
            let name = match table.import::<ImageNtHeaders64>(thunk)? {
                Import::Name(_, name) => String::from_utf8_lossy(name).into_owned(),
                Import::Ordinal(ordinal) => format!("#{ordinal}"),
            };
            slots.push(Slot {
                rva,
                module: module.clone(),
                name,
            });
            rva += 8;
        }
    }
    let block = ThunkBlock::new(slots.len());
    for (position, slot) in slots.iter().enumerate() {
        let address = match by_name(&slot.module) {
            Some(exporter) => from_driver(exporter, slot, &block, position),
            None => gate::import(&slot.name),
        };
        let address =
            address.unwrap_or_else(|| poison::poison(format!("{}!{}", slot.module, slot.name)));
        memory.write(slot.rva, &(address as u64).to_le_bytes())?;
    }
    block.seal();
    Ok(())
}

/// Exported code goes through a recording thunk, exported data is imported as it is.
fn from_driver(
    exporter: &'static Image,
    slot: &Slot,
    block: &ThunkBlock,
    position: usize,
) -> Option<usize> {
    let target = exporter.export(&slot.name)?;
    if !exporter
        .section(target)
        .is_some_and(|section| section.executable)
    {
        return Some(target);
    }
    let module = exporter.name.trim_end_matches(".sys");
    block.write(
        position,
        gate::bind_export(format!("{module}!{}", slot.name), target),
    );
    Some(block.address(position))
}
