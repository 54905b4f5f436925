//! What the PDB tells: which functions are linked, and from which libraries.

use std::{collections::BTreeSet, fs::File, path::Path};

use anyhow::{Context, Result};
use pdb2::{FallibleIterator, PDB, SymbolData};

/// How a function of `core::panicking` is written: demangled, and in both mangling schemes.
const PANICKING: [&str; 2] = ["core::panicking", "4core9panicking"];

/// The functions of `core::panicking` in the image.
pub(super) fn panics(pdb: &Path) -> Result<Vec<String>> {
    Ok(functions(pdb)?
        .into_iter()
        .filter(|name| PANICKING.iter().any(|part| name.contains(part)))
        .collect())
}

/// What of the crate `mutants`, or of the driver's routine for it, is in the image.
pub(super) fn of_mutants(pdb: &Path) -> Result<Vec<String>> {
    let names = functions(pdb)?;
    let files = object_files(pdb)?;
    let names = names.iter().filter(|name| name.contains("SelectMutant"));
    let files = files.iter().filter(|file| {
        let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
        name.starts_with("mutants-") || name.starts_with("mutants.")
    });
    Ok(names.chain(files).cloned().collect())
}

/// The object files and libraries from which something is linked.
pub(crate) fn object_files(pdb: &Path) -> Result<BTreeSet<String>> {
    let mut file = open(pdb)?;
    let information = file.debug_information()?;
    let modules = information.modules()?;
    Ok(modules
        .map(|module| Ok(module.object_file_name().into_owned()))
        .collect()?)
}

/// The names of all functions, public or not.
fn functions(pdb: &Path) -> Result<BTreeSet<String>> {
    let mut file = open(pdb)?;
    let mut names = BTreeSet::new();
    let mut add = |symbol: &pdb2::Symbol<'_>| {
        // Records of kinds the crate does not know are not functions.
        match symbol.parse() {
            Ok(SymbolData::Procedure(procedure)) => {
                names.insert(procedure.name.to_string().into_owned())
            }
            Ok(SymbolData::Public(public)) => names.insert(public.name.to_string().into_owned()),
            _ => false,
        };
    };

    let globals = file.global_symbols()?;
    let mut symbols = globals.iter();
    while let Some(symbol) = symbols.next()? {
        add(&symbol);
    }
    let information = file.debug_information()?;
    let mut modules = information.modules()?;
    while let Some(module) = modules.next()? {
        let Some(module) = file.module_info(&module)? else {
            continue;
        };
        let mut symbols = module.symbols()?;
        while let Some(symbol) = symbols.next()? {
            add(&symbol);
        }
    }
    Ok(names)
}

fn open(pdb: &Path) -> Result<PDB<'static, File>> {
    let file = File::open(pdb).with_context(|| format!("cannot open {}", pdb.display()))?;
    PDB::open(file).with_context(|| format!("{} is no PDB", pdb.display()))
}
