//! The folder of the package: made aside, verified, and only then put in place.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use implib::{Flavor, ImportLibrary, MachineType};
use object::{LittleEndian as LE, read::pe::PeFile64};

use crate::{
    catalogue::{self, File, Kind, Scope, Version},
    inf::Inf,
    lint,
    sign::Signer,
    stamp::{self, Architecture, Stamp},
};

/// Windows 10 and later.
const WINDOWS: &str = "2:10.0";

/// What a package is made of.
pub struct Source {
    /// Processor of the image.
    pub architecture: Architecture,
    /// What the driver was built as.
    pub form: Form,
    /// The driver; its PDB lies beside it.
    pub image: PathBuf,
    /// Its INF, not yet stamped.
    pub inx: PathBuf,
    /// The header for C clients.
    pub header: PathBuf,
    /// The list of exports.
    pub exports: PathBuf,
    /// Four numbers with dots.
    pub version: String,
    /// The date of everything, in seconds since 1970.
    pub time: u64,
    /// The form of the catalogue.
    pub catalogue: Version,
    /// Where Windows puts the driver.
    pub directory: Directory,
}

/// What the driver was built as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A mini-redirector that imports from `rdbss.sys`.
    Redirector,
    /// A library of routines alone.
    Export,
}

/// Where Windows puts the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    /// A folder of its own in the driver store, as rules for drivers want it.
    DriverStore,
    /// `System32\drivers`, where the loader certainly looks for the imports of other drivers.
    System32,
}

/// Removes a directory that did not become the package.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone already once the package is in place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the package of `source` in `folder`, in place of what is there. On failure `folder` is as it was.
///
/// # Errors
///
/// Something of `source` is missing or does not fit the rest, the INF breaks a rule, signing or verifying fails, the disk is full.
pub fn make(source: &Source, folder: &Path, signer: &Signer) -> Result<()> {
    replace(folder, |part| {
        fill(source, part, signer)?;
        verify(part, signer)
    })
}

/// Makes a folder aside by `fill`, and puts it in the place of `folder`. On failure `folder` is as it was.
///
/// # Errors
///
/// Those of `fill`; a place where no folder can be made.
pub(crate) fn replace(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = folder.parent().context("the package needs a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let aside = |what: &str| folder.with_extension(format!("{what}{}", std::process::id()));
    let part = Part(aside("part"));
    fs::create_dir(&part.0).with_context(|| format!("cannot make {}", part.0.display()))?;
    fill(&part.0)?;
    let old = Part(aside("old"));
    if folder.exists() {
        fs::rename(folder, &old.0).with_context(|| format!("cannot move {}", folder.display()))?;
    }
    if let Err(error) = fs::rename(&part.0, folder) {
        // Best effort: the old package back in its place.
        let _ = fs::rename(&old.0, folder);
        bail!("cannot put {} in place: {error}", folder.display());
    }
    Ok(())
}

fn fill(source: &Source, part: &Path, signer: &Signer) -> Result<()> {
    let image = read(&source.image)?;
    let inx = String::from_utf8(read(&source.inx)?).context("the .inx is no text")?;
    let inx = match source.form {
        Form::Redirector => inx,
        Form::Export => stamp::without_rdbss(&inx),
    };
    let stamped = stamp::stamp(
        &inx,
        &Stamp {
            architecture: source.architecture,
            version: &source.version,
            time: source.time,
            catalogue: "rxce.cat",
        },
    )?;
    agree(&image, &stamped, source)?;
    let findings = lint::lint(&stamp::encode(&stamped));
    if !findings.is_empty() {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        bail!("rxce.inf breaks rules:\n  {}", lines.join("\n  "));
    }

    // What was linted, in every respect but the directory: the rules want the driver store.
    let inf = stamp::encode(&match source.directory {
        Directory::DriverStore => stamped,
        Directory::System32 => stamp::in_system32(&stamped)?,
    });
    write(&part.join("rxce.inf"), &inf)?;
    write(&part.join("rxce.sys"), &image)?;
    signer.sign(&part.join("rxce.sys"), source.time)?;
    let files = [
        File::new("rxce.sys", Kind::Image, &read(&part.join("rxce.sys"))?)?,
        File::new("rxce.inf", Kind::Flat, &inf)?,
    ];
    let scope = Scope {
        attribute: WINDOWS,
        system: source.architecture.system(),
        time: source.time,
    };
    write(
        &part.join("rxce.cat"),
        &catalogue::unsigned(&files, &scope, source.catalogue)?,
    )?;
    signer.sign(&part.join("rxce.cat"), source.time)?;
    signer.export(&part.join("rxce-test.cer"))?;

    write(
        &part.join("rxce.pdb"),
        &read(&source.image.with_extension("pdb"))?,
    )?;
    write(&part.join("rxce.h"), &read(&source.header)?)?;
    let exports = String::from_utf8(read(&source.exports)?).context("the .def is no text")?;
    write(
        &part.join("rxce.lib"),
        &import_library(&exports, source.architecture)?,
    )
}

/// Checks what must be the same in the image and in its INF.
fn agree(image: &[u8], inf: &str, source: &Source) -> Result<()> {
    let wide: Vec<u8> = source
        .version
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    ensure!(
        image.windows(wide.len()).any(|window| window == wide),
        "{} is not of version {}",
        source.image.display(),
        source.version
    );
    let file = PeFile64::parse(image)
        .with_context(|| format!("{} is no 64-bit PE image", source.image.display()))?;
    let machine = match source.architecture {
        Architecture::X64 => object::pe::IMAGE_FILE_MACHINE_AMD64,
        Architecture::Arm64 => object::pe::IMAGE_FILE_MACHINE_ARM64,
    };
    ensure!(
        file.nt_headers().file_header.machine.get(LE) == machine,
        "{} is for another processor",
        source.image.display()
    );
    let mut needs_rdbss = false;
    if let Some(table) = file.import_table()? {
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next()? {
            let name = table.name(descriptor.name.get(LE))?;
            needs_rdbss |= name.eq_ignore_ascii_case(b"rdbss.sys");
        }
    }
    let inf = Inf::parse(inf);
    let names_rdbss = inf
        .sections
        .iter()
        .flat_map(|section| section.all("Dependencies"))
        .flat_map(|entry| &entry.values)
        .any(|service| service.eq_ignore_ascii_case("rdbss"));
    ensure!(
        needs_rdbss == names_rdbss,
        "the image and the INF disagree on rdbss: imported {needs_rdbss}, a dependency {names_rdbss}"
    );
    Ok(())
}

/// Verifies a package as a whole: signatures, and the files against the catalogue.
///
/// # Errors
///
/// A signature does not hold, or the catalogue does not list a file as it is.
pub fn verify(folder: &Path, signer: &Signer) -> Result<()> {
    let image = folder.join("rxce.sys");
    let list = folder.join("rxce.cat");
    signer
        .verify(&image)
        .context("the signature of rxce.sys does not hold")?;
    signer
        .verify(&list)
        .context("the signature of rxce.cat does not hold")?;
    signer
        .verify_listed(&image, &list)
        .context("rxce.cat does not list rxce.sys")?;
    // osslsigncode does not know what an INF is: its hash is compared here.
    let inf = File::new("rxce.inf", Kind::Flat, &read(&folder.join("rxce.inf"))?)?;
    let tags = catalogue::tags(&read(&list)?)?;
    ensure!(
        inf.tags().iter().any(|tag| tags.contains(tag)),
        "rxce.cat does not list rxce.inf"
    );
    Ok(())
}

fn import_library(exports: &str, architecture: Architecture) -> Result<Vec<u8>> {
    let machine = match architecture {
        Architecture::X64 => MachineType::AMD64,
        Architecture::Arm64 => MachineType::ARM64,
    };
    let mut library = Cursor::new(Vec::new());
    ImportLibrary::new(exports, machine, Flavor::Msvc)?.write_to(&mut library)?;
    Ok(library.into_inner())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn write(path: &Path, contents: &[u8]) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}
