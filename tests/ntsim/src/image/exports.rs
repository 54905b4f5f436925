//! What an image exports: addresses of its own, and names that stand for exports of other modules.

use super::load::{LoadError, Result, text};
use super::{Image, by_name};
use crate::gate;
use object::read::pe::{ExportTarget, PeFile64};
use std::collections::HashMap;

/// Longest chain of forwarders that is followed.
const LONGEST_CHAIN: usize = 16;

/// Where an export leads.
#[derive(Clone, Debug)]
pub(super) enum Export {
    /// To this offset of the image.
    Here(u32),
    /// To an export of another module.
    Forwarded { module: String, name: String },
}

/// Reads the export table; every address of it lies in the image.
pub(super) fn read(parsed: &PeFile64, bytes: usize) -> Result<HashMap<String, Export>> {
    let mut exports = HashMap::new();
    let Some(table) = parsed.export_table()? else {
        return Ok(exports);
    };
    for (pointer, index) in table.name_iter() {
        let name = text(table.name_from_pointer(pointer)?)?;
        let target = match table.target_by_index(u32::from(index))? {
            ExportTarget::Address(rva) if (rva as usize) < bytes => Export::Here(rva),
            ExportTarget::Address(_) => {
                return Err(LoadError::Format(format!(
                    "its export {name} lies outside the image"
                )));
            }
            ExportTarget::ForwardByName(module, name) => Export::Forwarded {
                module: text(module)?,
                name: text(name)?,
            },
            ExportTarget::ForwardByOrdinal(module, ordinal) => Export::Forwarded {
                module: text(module)?,
                name: format!("#{ordinal}"),
            },
        };
        exports.insert(name, target);
    }
    Ok(exports)
}

/// What an import is bound to.
pub(super) enum Bound {
    /// A routine or variable of the kernel.
    Kernel(usize),
    /// An export of a loaded image.
    Driver(&'static Image, usize),
}

/// Finds what a module exports under a name, through forwarders; nothing if nobody exports it.
pub(super) fn find(module: &str, name: &str) -> Result<Option<Bound>> {
    let (mut module, mut name) = (module.to_owned(), name.to_owned());
    for _ in 0..LONGEST_CHAIN {
        let Some(image) = exporter(&module) else {
            return Ok(gate::import_from(&module, &name).map(Bound::Kernel));
        };
        match image.exports.get(&name) {
            None => return Ok(None),
            Some(Export::Here(rva)) => {
                return Ok(Some(Bound::Driver(image, image.base + *rva as usize)));
            }
            Some(Export::Forwarded {
                module: next,
                name: export,
            }) => (module, name) = (next.clone(), export.clone()),
        }
    }
    Err(LoadError::Refused(format!(
        "its import {name} is forwarded from {module} in a circle, or more than {LONGEST_CHAIN} times"
    )))
}

/// The loaded image of this name; forwarders leave the ending away.
fn exporter(module: &str) -> Option<&'static Image> {
    by_name(module).or_else(|| by_name(&format!("{module}.sys")))
}
