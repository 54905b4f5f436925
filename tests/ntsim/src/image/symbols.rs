//! Function names from the program database beside an image, or from the image's own symbol table (GNU tools write one),
//! for call stacks and timelines.
//!
//! A database is read in the background while the driver starts; one that does not belong to the image is ignored.

use core::time::Duration;
use object::read::pe::PeFile64;
use object::{Object as _, ObjectSymbol as _, ReadRef, SymbolKind};
use pdb2::{FallibleIterator as _, PDB, SymbolData};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Longest time that a report waits for the names.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that the last function of a symbol table is believed to have.
const LAST_BYTES: u32 = 0x1000;

/// A function of an image.
struct Symbol {
    rva: u32,
    bytes: u32,
    name: String,
}

/// The functions of one image, in order, as soon as they are read.
#[derive(Clone, Default)]
pub(super) struct Symbols(Arc<OnceLock<Vec<Symbol>>>);

impl Symbols {
    /// Starts reading the database that has the image's name and identity.
    pub(super) fn read<'d, R: ReadRef<'d>>(image: &Path, parsed: &PeFile64<'d, R>) -> Self {
        let symbols = Self::default();
        let identity = parsed.pdb_info().ok().flatten().map(|info| info.guid());
        let path = image.with_extension("pdb");
        let (Some(identity), true) = (identity, path.exists()) else {
            let _ = symbols.0.set(own(parsed));
            return symbols;
        };
        let slot = symbols.clone();
        let reader = move || {
            // A damaged database may be too much for its reader: then there are no names.
            let read = std::panic::catch_unwind(|| functions(&path, identity));
            let _ = slot
                .0
                .set(read.ok().and_then(Result::ok).unwrap_or_default());
        };
        if std::thread::Builder::new()
            .name("symbols".to_owned())
            .spawn(reader)
            .is_err()
        {
            let _ = symbols.0.set(Vec::new());
        }
        symbols
    }

    /// The function at this offset: its name and the distance from its start.
    pub(super) fn at(&self, rva: u32) -> Option<(&str, usize)> {
        let started = Instant::now();
        while self.0.get().is_none() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        let functions = self.0.get()?;
        let index = functions
            .partition_point(|function| function.rva <= rva)
            .checked_sub(1)?;
        let function = functions
            .get(index)
            .filter(|function| rva - function.rva < function.bytes)?;
        Some((&function.name, (rva - function.rva) as usize))
    }
}

/// The functions of the image's own symbol table. It knows no sizes: each function reaches to the next.
fn own<'d, R: ReadRef<'d>>(parsed: &PeFile64<'d, R>) -> Vec<Symbol> {
    let base = parsed.relative_address_base();
    let mut functions: Vec<Symbol> = parsed
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() == 0)
        .filter_map(|symbol| {
            Some(Symbol {
                rva: u32::try_from(symbol.address().checked_sub(base)?).ok()?,
                bytes: LAST_BYTES,
                name: symbol
                    .name()
                    .ok()
                    .filter(|name| !name.starts_with('.'))?
                    .to_owned(),
            })
        })
        .collect();
    functions.sort_by_key(|function| function.rva);
    functions.dedup_by_key(|function| function.rva);
    let starts: Vec<u32> = functions.iter().skip(1).map(|next| next.rva).collect();
    for (function, next) in functions.iter_mut().zip(starts) {
        function.bytes = next - function.rva;
    }
    functions
}

fn functions(path: &Path, identity: [u8; 16]) -> pdb2::Result<Vec<Symbol>> {
    let mut database = PDB::open(File::open(path)?)?;
    if database.pdb_information()?.guid.to_bytes_le() != identity {
        eprintln!(
            "ntsim: {} belongs to another build of the image: no function names",
            path.display()
        );
        return Ok(Vec::new());
    }
    let map = database.address_map()?;
    let information = database.debug_information()?;
    let mut modules = information.modules()?;
    let mut functions = Vec::new();
    while let Some(module) = modules.next()? {
        let Some(module) = database.module_info(&module)? else {
            continue;
        };
        let mut symbols = module.symbols()?;
        while let Some(symbol) = symbols.next()? {
            if let Ok(SymbolData::Procedure(procedure)) = symbol.parse()
                && let Some(rva) = procedure.offset.to_rva(&map)
            {
                functions.push(Symbol {
                    rva: rva.0,
                    bytes: procedure.len,
                    name: procedure.name.to_string().into_owned(),
                });
            }
        }
    }
    functions.sort_by_key(|function| function.rva);
    Ok(functions)
}
