//! The checks, each with its name and its way to be broken.

use anyhow::{Context, Result, bail, ensure};
use object::{
    LittleEndian as LE, Object,
    pe::{
        IMAGE_DIRECTORY_ENTRY_BASERELOC, IMAGE_DIRECTORY_ENTRY_IAT,
        IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
        IMAGE_DLLCHARACTERISTICS_NX_COMPAT, IMAGE_DLLCHARACTERISTICS_WDM_DRIVER,
        IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64, IMAGE_SCN_MEM_EXECUTE,
        IMAGE_SCN_MEM_WRITE, IMAGE_SUBSYSTEM_NATIVE, IMAGE_SUBSYSTEM_WINDOWS_CUI,
        ImageOptionalHeader64, ImageSectionHeader, RT_VERSION,
    },
    read::pe::{PeFile64, ResourceDirectoryEntryData},
};

use super::{Expectation, spoil};
use crate::artefacts::{Architecture, PRODUCT};

/// One check.
pub(super) struct Check {
    pub(super) name: &'static str,
    /// Which images it is asked of.
    pub(super) scope: Scope,
    pub(super) run: fn(&[u8], &Expectation) -> Result<()>,
    /// Breaks an image so that this check fails, and only this one.
    pub(super) spoil: fn(&mut [u8]) -> Result<()>,
}

/// Which images a check is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Every,
    Driver,
    Product,
    Program,
}

/// The checks an image has to pass.
pub(super) fn for_image(expectation: &Expectation) -> impl Iterator<Item = &'static Check> {
    let is_product = expectation.name == PRODUCT;
    let is_program = expectation.is_program;
    CHECKS.iter().filter(move |check| match check.scope {
        Scope::Every => true,
        Scope::Driver => !is_program,
        Scope::Product => is_product,
        Scope::Program => is_program,
    })
}

/// Pages are mapped with the protection of their section: sections must not share one.
const PAGE: u32 = 0x1000;

/// Symbols of wdk-sys that rustc exports from every driver it links; no linker option takes them back.
const WDK_SYS_EXPORTS: [&str; 4] = [
    "_fltused",
    "__CxxFrameHandler3",
    "__CxxFrameHandler4",
    "__GSHandlerCheck_EH4",
];

/// All checks.
const CHECKS: &[Check] = &[
    Check {
        name: "machine",
        scope: Scope::Every,
        run: machine,
        spoil: spoil::machine,
    },
    Check {
        name: "subsystem NATIVE",
        scope: Scope::Driver,
        run: |image, _| subsystem(image, IMAGE_SUBSYSTEM_NATIVE),
        spoil: spoil::subsystem,
    },
    Check {
        name: "subsystem CONSOLE",
        scope: Scope::Program,
        run: |image, _| subsystem(image, IMAGE_SUBSYSTEM_WINDOWS_CUI),
        spoil: spoil::subsystem,
    },
    Check {
        name: "NX_COMPAT",
        scope: Scope::Every,
        run: |image, _| has_flag(image, IMAGE_DLLCHARACTERISTICS_NX_COMPAT),
        spoil: |image| spoil::characteristic(image, IMAGE_DLLCHARACTERISTICS_NX_COMPAT),
    },
    Check {
        name: "DYNAMIC_BASE",
        scope: Scope::Every,
        run: |image, _| has_flag(image, IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE),
        spoil: |image| spoil::characteristic(image, IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE),
    },
    Check {
        name: "FORCE_INTEGRITY",
        scope: Scope::Driver,
        run: |image, _| has_flag(image, IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY),
        spoil: |image| spoil::characteristic(image, IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY),
    },
    Check {
        name: "not marked as a PnP (WDM) driver",
        scope: Scope::Every,
        run: |image, _| {
            ensure!(
                has_flag(image, IMAGE_DLLCHARACTERISTICS_WDM_DRIVER).is_err(),
                "flag 0x2000 is set"
            );
            Ok(())
        },
        spoil: |image| spoil::characteristic(image, IMAGE_DLLCHARACTERISTICS_WDM_DRIVER),
    },
    Check {
        name: "no section both writable and executable",
        scope: Scope::Every,
        run: |image, _| {
            for section in sections(image)? {
                let flags = section.characteristics.get(LE);
                let both = IMAGE_SCN_MEM_WRITE | IMAGE_SCN_MEM_EXECUTE;
                ensure!(flags & both != both, "{}", section_name(section));
            }
            Ok(())
        },
        spoil: spoil::writable_code,
    },
    Check {
        name: "section alignment",
        scope: Scope::Every,
        run: |image, _| {
            let alignment = optional_header(image)?.section_alignment.get(LE);
            ensure!(alignment == PAGE, "is {alignment:#x}");
            Ok(())
        },
        spoil: spoil::alignment,
    },
    Check {
        name: "relocations",
        // lld leaves them out of an image that holds no absolute address, as a very small driver does not.
        scope: Scope::Product,
        run: relocations,
        spoil: spoil::relocations,
    },
    Check {
        name: "import addresses are not in code",
        scope: Scope::Every,
        run: import_addresses,
        spoil: spoil::import_addresses,
    },
    Check {
        name: "entry point is in code",
        scope: Scope::Every,
        run: entry_point,
        spoil: spoil::entry_point,
    },
    Check {
        name: "checksum",
        scope: Scope::Every,
        run: |image, _| {
            let (stored, computed) = (
                optional_header(image)?.check_sum.get(LE),
                spoil::checksum(image)?,
            );
            ensure!(
                stored == computed,
                "{stored:#x} is stored, {computed:#x} is right"
            );
            Ok(())
        },
        spoil: spoil::stored_checksum,
    },
    Check {
        name: "version resource",
        scope: Scope::Product,
        run: version,
        spoil: spoil::version,
    },
    Check {
        name: "PDB name without a path",
        scope: Scope::Every,
        run: |image, expectation| {
            let file = parse(image)?;
            let pdb = file.pdb_info()?.context("no CodeView record")?;
            let (name, expected) = (
                String::from_utf8_lossy(pdb.path()),
                format!("{}.pdb", expectation.name),
            );
            ensure!(name == expected, "is {name}");
            Ok(())
        },
        spoil: spoil::pdb_name,
    },
    Check {
        name: "imports are on the list",
        scope: Scope::Every,
        run: imports,
        spoil: spoil::import,
    },
    Check {
        name: "exports are those of the definition file",
        scope: Scope::Driver,
        run: exports,
        spoil: spoil::export,
    },
];

fn parse(image: &[u8]) -> Result<PeFile64<'_>> {
    Ok(PeFile64::parse(image)?)
}

fn optional_header(image: &[u8]) -> Result<&ImageOptionalHeader64> {
    Ok(&parse(image)?.nt_headers().optional_header)
}

fn sections(image: &[u8]) -> Result<Vec<&ImageSectionHeader>> {
    Ok(parse(image)?.section_table().iter().collect())
}

fn section_name(section: &ImageSectionHeader) -> String {
    String::from_utf8_lossy(section.raw_name()).into_owned()
}

fn section_at(image: &[u8], address: u32) -> Result<&ImageSectionHeader> {
    sections(image)?
        .into_iter()
        .find(|section| {
            let start = section.virtual_address.get(LE);
            address >= start && address - start < section.virtual_size.get(LE)
        })
        .with_context(|| format!("address {address:#x} is in no section"))
}

fn has_flag(image: &[u8], flag: u16) -> Result<()> {
    let flags = optional_header(image)?.dll_characteristics.get(LE);
    ensure!(flags & flag != 0, "flag {flag:#x} is not set");
    Ok(())
}

fn subsystem(image: &[u8], expected: u16) -> Result<()> {
    let subsystem = optional_header(image)?.subsystem.get(LE);
    ensure!(subsystem == expected, "is {subsystem}");
    Ok(())
}

fn machine(image: &[u8], expectation: &Expectation) -> Result<()> {
    let expected = match expectation.architecture {
        Architecture::X64 => IMAGE_FILE_MACHINE_AMD64,
        Architecture::Arm64 => IMAGE_FILE_MACHINE_ARM64,
    };
    let machine = parse(image)?.nt_headers().file_header.machine.get(LE);
    ensure!(machine == expected, "is {machine:#x}");
    Ok(())
}

fn relocations(image: &[u8], _: &Expectation) -> Result<()> {
    let file = parse(image)?;
    let directory = file
        .data_directory(IMAGE_DIRECTORY_ENTRY_BASERELOC)
        .context("no relocation directory")?;
    ensure!(
        directory.size.get(LE) != 0,
        "the relocation directory is empty"
    );
    let name = section_name(section_at(image, directory.virtual_address.get(LE))?);
    ensure!(name == ".reloc", "they are in {name}");
    Ok(())
}

fn import_addresses(image: &[u8], _: &Expectation) -> Result<()> {
    let file = parse(image)?;
    let directory = file
        .data_directory(IMAGE_DIRECTORY_ENTRY_IAT)
        .context("no import address table")?;
    let section = section_at(image, directory.virtual_address.get(LE))?;
    let flags = section.characteristics.get(LE);
    ensure!(
        flags & IMAGE_SCN_MEM_EXECUTE == 0,
        "{} is executable",
        section_name(section)
    );
    Ok(())
}

fn entry_point(image: &[u8], _: &Expectation) -> Result<()> {
    let section = section_at(
        image,
        optional_header(image)?.address_of_entry_point.get(LE),
    )?;
    ensure!(
        section.characteristics.get(LE) & IMAGE_SCN_MEM_EXECUTE != 0,
        "it is in {}",
        section_name(section)
    );
    Ok(())
}

fn version(image: &[u8], expectation: &Expectation) -> Result<()> {
    let fixed = fixed_version(image)?;
    let words: Vec<u16> = fixed
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    // VS_FIXEDFILEINFO: signature, structure version, then FileVersionMS and FileVersionLS.
    let (signature, file) = (&words[..2], [words[5], words[4], words[7], words[6]]);
    ensure!(signature == [0x04BD, 0xFEEF], "no VS_FIXEDFILEINFO");
    let [major, minor, patch] = expectation.version;
    ensure!(file == [major, minor, patch, 0], "is {file:?}");
    Ok(())
}

/// The `VS_FIXEDFILEINFO` of the version resource.
fn fixed_version(image: &[u8]) -> Result<Vec<u8>> {
    /// Lengths and type, then the key `VS_VERSION_INFO` with its end, then padding to 4 bytes.
    const OFFSET: usize = 0x28;
    const SIZE: usize = 52;

    let file = parse(image)?;
    let sections = file.section_table();
    let directory = file
        .data_directories()
        .resource_directory(image, &sections)?
        .context("no resources")?;
    let types = directory.root()?;
    let of_type = types
        .entries
        .iter()
        .find(|entry| entry.name_or_id().id() == Some(RT_VERSION))
        .context("no version resource")?;
    // Type, name, language, data.
    let mut data = of_type.data(directory)?;
    let leaf = loop {
        match data {
            ResourceDirectoryEntryData::Table(table) => {
                data = table
                    .entries
                    .first()
                    .context("an empty resource table")?
                    .data(directory)?;
            }
            ResourceDirectoryEntryData::Data(leaf) => break leaf,
        }
    };
    let start = leaf.offset_to_data.get(LE);
    let bytes = sections
        .pe_data_at(image, start)
        .context("the version resource lies outside the file")?;
    bytes
        .get(OFFSET..OFFSET + SIZE)
        .map(<[u8]>::to_vec)
        .context("the version resource is too short")
}

/// What is imported from the kernel and the HAL.
pub(super) fn kernel_imports(image: &[u8]) -> Result<Vec<String>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(parse(image)?
        .imports()?
        .iter()
        .filter(|import| ["ntoskrnl.exe", "hal.dll"].contains(&text(import.library()).as_str()))
        .map(|import| text(import.name()))
        .collect())
}

fn imports(image: &[u8], expectation: &Expectation) -> Result<()> {
    for import in parse(image)?.imports()? {
        let (library, name) = (
            String::from_utf8_lossy(import.library()).into_owned(),
            String::from_utf8_lossy(import.name()).into_owned(),
        );
        let allowed = expectation.imports.iter().find(|(one, _)| *one == library);
        match allowed {
            None => bail!("{name} is imported from {library}"),
            Some((_, names)) => ensure!(
                names.contains(&name),
                "{name} is not on the list for {library}"
            ),
        }
    }
    Ok(())
}

fn exports(image: &[u8], expectation: &Expectation) -> Result<()> {
    let exported = parse(image)?
        .exports()?
        .iter()
        .map(|export| String::from_utf8_lossy(export.name()).into_owned())
        .filter(|name| !WDK_SYS_EXPORTS.contains(&name.as_str()))
        .collect();
    let missing: Vec<_> = expectation.exports.difference(&exported).cloned().collect();
    let extra: Vec<_> = exported.difference(&expectation.exports).cloned().collect();
    ensure!(missing.is_empty(), "missing: {}", missing.join(", "));
    ensure!(extra.is_empty(), "not expected: {}", extra.join(", "));
    Ok(())
}
