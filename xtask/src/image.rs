//! Checks on built images: what a Windows kernel demands of a file before it runs a line of it.
//!
//! `checks` holds the checks, `spoil` a way to break an image for each of them, `symbols` what is read from the PDB. A check counts
//! only with its proof: on a copy of the image that is broken in that one way, this check fails and no other does.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    artefacts::{self, Architecture, Form, PACKAGES, PRODUCT, PROGRAMS, Profile},
    tally::Tally,
    variants::{self, Variant},
    workspace,
};

mod checks;
mod since;
mod spoil;
mod symbols;

pub(crate) use symbols::object_files;

/// What a particular image ought to be.
pub(crate) struct Expectation {
    /// File name without extension.
    name: String,
    architecture: Architecture,
    /// The version of the package, without the trailing zero of a file version.
    version: [u16; 3],
    /// Image → what may be imported from it.
    imports: Vec<(String, BTreeSet<String>)>,
    exports: BTreeSet<String>,
    /// Whether it is a program for Windows, not a driver.
    is_program: bool,
}

/// What a program may import: documented routines of Windows, and of a C runtime's what ntdll exports.
const PROGRAM_IMPORTS: [(&str, &[&str]); 4] = [
    (
        "kernel32.dll",
        &[
            "CloseHandle",
            "CreateFileW",
            "DeleteFileW",
            "ExitProcess",
            "GetCommandLineW",
            "GetConsoleMode",
            "GetLastError",
            "GetProcessHeap",
            "GetStdHandle",
            "HeapAlloc",
            "HeapFree",
            "HeapReAlloc",
            "LocalFree",
            "MoveFileExW",
            "QueryPerformanceCounter",
            "QueryPerformanceFrequency",
            "WriteConsoleW",
            "WriteFile",
        ],
    ),
    ("shell32.dll", &["CommandLineToArgvW"]),
    (
        "ws2_32.dll",
        &["FreeAddrInfoW", "GetAddrInfoW", "WSACleanup", "WSAStartup"],
    ),
    (
        "ntdll.dll",
        &[
            "NtClose",
            "NtDeviceIoControlFile",
            "NtOpenFile",
            "__chkstk",
            "memcmp",
            "memcpy",
            "memmove",
            "memset",
            "strlen",
        ],
    ),
];

/// The test driver that is a mini-redirector whatever the form of the product.
const MINI_REDIRECTOR: &str = "memrdr";

/// An image on disk.
struct Built {
    path: PathBuf,
    profile: Profile,
    form: Form,
    /// Which variant it is, if it does not ship.
    variant: Option<&'static Variant>,
    expectation: Expectation,
}

/// Checks every image that is built. Images of one kind that are not there are a failure, not a gap.
pub(crate) fn check_all(tally: &mut Tally) -> Result<()> {
    let kinds: [(Architecture, Profile, &[&str]); 3] = [
        (Architecture::X64, Profile::Debug, &PACKAGES),
        (Architecture::X64, Profile::Release, &PACKAGES),
        (Architecture::Arm64, Profile::Release, &[PRODUCT]),
    ];
    for (architecture, profile, names) in kinds {
        for name in names {
            let path = artefacts::directory(profile, architecture).join(name);
            check(tally, path, name, architecture, profile, Form::Export)?;
        }
        let path = artefacts::product(Form::Redirector, profile, architecture);
        check(
            tally,
            path,
            PRODUCT,
            architecture,
            profile,
            Form::Redirector,
        )?;
    }
    for profile in [Profile::Debug, Profile::Release] {
        for (_, name) in PROGRAMS {
            let path = artefacts::directory(profile, Architecture::X64).join(format!("{name}.exe"));
            if !path.is_file() {
                tally.fail(
                    &format!("image {}", workspace::shown(&path)),
                    "not built: run `cargo xtask build --all`",
                );
                continue;
            }
            let built = Built {
                path,
                profile,
                form: Form::Export,
                variant: None,
                expectation: Expectation::of_program(name)?,
            };
            built.check(tally)?;
        }
    }
    match since::Since::read().and_then(|since| since.check_sources()) {
        Ok(()) => tally.pass("since.txt agrees with mingw-w64's headers and import libraries"),
        Err(why) => tally.fail("since.txt agrees with its sources", &format!("{why:#}")),
    }
    for variant in variants::ALL {
        for name in variant.packages {
            let path = variant.directory().join(format!("{name}.sys"));
            let built = Built {
                path,
                profile: Profile::Release,
                form: Form::Export,
                variant: Some(variant),
                expectation: Expectation::of_variant(name, variant)?,
            };
            built.check(tally)?;
        }
    }
    Ok(())
}

/// Checks one image, named without its extension.
fn check(
    tally: &mut Tally,
    path: PathBuf,
    name: &str,
    architecture: Architecture,
    profile: Profile,
    form: Form,
) -> Result<()> {
    let path = path.with_extension("sys");
    if !path.is_file() {
        tally.fail(
            &format!("image {}", workspace::shown(&path)),
            "not built: run `cargo xtask build --all`",
        );
        return Ok(());
    }
    let built = Built {
        path,
        profile,
        form,
        variant: None,
        expectation: Expectation::of(name, architecture, form)?,
    };
    built.check(tally)
}

impl Expectation {
    fn of(name: &str, architecture: Architecture, form: Form) -> Result<Self> {
        let root = workspace::root();
        let product_exports = definition(&root.join("include/rxce.def"))?;
        let mut imports = Vec::new();
        let mut lists = vec!["ntoskrnl", "hal"];
        if form == Form::Redirector || name == MINI_REDIRECTOR {
            lists.push("rdbss");
        }
        for list in lists {
            let path = root.join(format!("xwdk/lib/{list}.def"));
            imports.push((definition_library(&path)?, definition(&path)?));
        }
        let mut exports = BTreeSet::from(["DriverEntry".to_owned()]);
        if name == PRODUCT {
            exports.extend(["DllInitialize", "DllUnload"].map(str::to_owned));
            exports.extend(product_exports);
        } else {
            imports.push((format!("{PRODUCT}.sys"), product_exports));
        }
        Ok(Self {
            name: name.to_owned(),
            architecture,
            version: package_version()?,
            imports,
            exports,
            is_program: false,
        })
    }

    fn of_program(name: &str) -> Result<Self> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self {
            name: name.to_owned(),
            architecture: Architecture::X64,
            version: package_version()?,
            imports: PROGRAM_IMPORTS
                .map(|(library, names)| (library.to_owned(), owned(names)))
                .into(),
            exports: BTreeSet::new(),
            is_program: true,
        })
    }
}

impl Expectation {
    /// An image of a variant.
    fn of_variant(name: &str, variant: &Variant) -> Result<Self> {
        let mut expectation = Self::of(name, Architecture::X64, Form::Export)?;
        for (library, import) in variant.imports {
            let listed = expectation
                .imports
                .iter_mut()
                .find(|(one, _)| one == library);
            if let Some((_, names)) = listed {
                names.insert((*import).to_owned());
            }
        }
        if name == PRODUCT {
            let more = variant.exports.iter().map(|export| (*export).to_owned());
            expectation.exports.extend(more);
        }
        Ok(expectation)
    }
}

impl Built {
    fn check(&self, tally: &mut Tally) -> Result<()> {
        let shown = workspace::shown(&self.path);
        let image = fs::read(&self.path).with_context(|| format!("cannot read {shown}"))?;
        let mut wrong = Vec::new();
        for check in checks::for_image(&self.expectation) {
            match (check.run)(&image, &self.expectation) {
                Ok(()) => tally.pass_quietly(),
                Err(why) => wrong.push(format!("{}: {why}", check.name)),
            }
        }
        if [PRODUCT, "conform"].contains(&self.expectation.name.as_str()) {
            let since = self.check_age(&image);
            match since {
                Ok(()) => tally.pass_quietly(),
                Err(why) => wrong.push(format!("age of the imports: {why:#}")),
            }
        }
        if self.variant != Some(&variants::MUTANTS) {
            match self.mutants()? {
                names if names.is_empty() => tally.pass_quietly(),
                names => wrong.push(format!("planted defects are linked: {}", names.join(", "))),
            }
        }
        if self.has_no_panics()? {
            match symbols::panics(&self.path.with_extension("pdb"))? {
                names if names.is_empty() => tally.pass_quietly(),
                names => wrong.push(format!("panic code is linked: {}", names.join(", "))),
            }
        }
        if wrong.is_empty() {
            println!("ok   image {shown}");
            // On a sound image only: one that fails already says nothing about the check.
            self.prove(&image, tally);
        }
        for why in wrong {
            tally.fail(&format!("image {shown}"), &why);
        }
        Ok(())
    }

    /// Shows for each check that it sees what it is there for.
    fn prove(&self, image: &[u8], tally: &mut Tally) {
        for check in checks::for_image(&self.expectation) {
            let what = format!(
                "proof of `{}` on {}",
                check.name,
                workspace::shown(&self.path)
            );
            let mut broken = image.to_vec();
            if let Err(error) = (check.spoil)(&mut broken) {
                tally.fail(&what, &format!("cannot break a copy: {error:#}"));
                continue;
            }
            let failing: Vec<&str> = checks::for_image(&self.expectation)
                .filter(|one| (one.run)(&broken, &self.expectation).is_err())
                .map(|one| one.name)
                .collect();
            if failing == [check.name] {
                tally.pass_quietly();
            } else {
                tally.fail(&what, &format!("a broken copy fails {failing:?}"));
            }
        }
    }

    /// The kernels that the image is for have all that it imports.
    fn check_age(&self, image: &[u8]) -> Result<()> {
        let version = if self.variant == Some(&variants::LEGACY) {
            since::LEGACY
        } else {
            since::SHIPPED
        };
        let imports = checks::kernel_imports(image)?;
        since::Since::read()?.check(imports.iter().map(String::as_str), version)
    }

    /// What of the planted defects is linked, by the names of functions and of object files.
    fn mutants(&self) -> Result<Vec<String>> {
        // The proof that the search works.
        let planted = variants::MUTANTS.directory().join(format!("{PRODUCT}.pdb"));
        if symbols::of_mutants(&planted)?.is_empty() {
            bail!(
                "nothing of the planted defects found in {}, which has them: the search does not work",
                workspace::shown(&planted)
            );
        }
        symbols::of_mutants(&self.path.with_extension("pdb"))
    }

    /// The product's release image must not be able to panic; the test drivers may.
    fn has_no_panics(&self) -> Result<bool> {
        if self.expectation.name != PRODUCT || self.profile != Profile::Release {
            return Ok(false);
        }
        // The proof that the search works: unoptimised, `core` brings such functions along.
        let debug =
            artefacts::product(self.form, Profile::Debug, Architecture::X64).with_extension("pdb");
        if symbols::panics(&debug)?.is_empty() {
            bail!(
                "no panic function found in {}, which must have some: the search does not work",
                workspace::shown(&debug)
            );
        }
        Ok(true)
    }
}

/// The version all packages share.
fn package_version() -> Result<[u16; 3]> {
    let mut parts = env!("CARGO_PKG_VERSION").split('.').map(str::parse);
    let mut next = || -> Result<u16> { Ok(parts.next().context("a version has three parts")??) };
    Ok([next()?, next()?, next()?])
}

/// The names in a module definition file.
fn definition(path: &Path) -> Result<BTreeSet<String>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(exported_names(&text))
}

/// The image a module definition file is for.
fn definition_library(path: &Path) -> Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("LIBRARY "))
        .map(|name| name.trim().to_owned())
        .with_context(|| format!("{} has no LIBRARY line", path.display()))
}

fn exported_names(definition: &str) -> BTreeSet<String> {
    definition
        .lines()
        .map(|line| line.split(';').next().unwrap_or_default())
        .skip_while(|line| line.trim() != "EXPORTS")
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_comments_and_attributes() {
        let names =
            exported_names("; x\nLIBRARY a.sys\nEXPORTS\n  One ; first\n\n  Two DATA\n; Three\n");
        assert_eq!(names, BTreeSet::from(["One".to_owned(), "Two".to_owned()]));
    }

    #[test]
    fn expectation_of_the_product_allows_imports_of_its_form_only() {
        let images = |form| -> Vec<String> {
            let expectation = Expectation::of(PRODUCT, Architecture::X64, form).unwrap();
            assert!(expectation.exports.contains("DllUnload"));
            let imports = expectation.imports.into_iter();
            imports.map(|(image, _)| image).collect()
        };
        assert_eq!(images(Form::Export), ["ntoskrnl.exe", "hal.dll"]);
        assert_eq!(
            images(Form::Redirector),
            ["ntoskrnl.exe", "hal.dll", "rdbss.sys"]
        );
    }
}
