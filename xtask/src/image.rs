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
    drivers::{self, Architecture, PACKAGES, PRODUCT, Profile},
    tally::Tally,
    workspace,
};

mod checks;
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
}

/// An image on disk.
struct Built {
    path: PathBuf,
    profile: Profile,
    expectation: Expectation,
}

/// Checks every image that is built. Images of one kind that are not there are a failure, not a gap.
pub(crate) fn check_all(tally: &mut Tally) -> Result<()> {
    let builds: Vec<(Architecture, Profile, &[&str])> = vec![
        (Architecture::X64, Profile::Debug, &PACKAGES),
        (Architecture::X64, Profile::Release, &PACKAGES),
        (Architecture::Arm64, Profile::Release, &[PRODUCT]),
    ];
    for (architecture, profile, names) in builds {
        for name in names {
            let path = drivers::directory(profile, architecture).join(format!("{name}.sys"));
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
                expectation: Expectation::of(name, architecture)?,
            };
            built.check(tally)?;
        }
    }
    Ok(())
}

impl Expectation {
    fn of(name: &str, architecture: Architecture) -> Result<Self> {
        let root = workspace::root();
        let product_exports = definition(&root.join("include/rxce.def"))?;
        let mut imports = Vec::new();
        for kernel in ["ntoskrnl", "hal"] {
            imports.push((
                definition_library(&root.join(format!("xwdk/lib/{kernel}.def")))?,
                definition(&root.join(format!("xwdk/lib/{kernel}.def")))?,
            ));
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
        })
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

    /// The product's release image must not be able to panic; the test drivers may.
    fn has_no_panics(&self) -> Result<bool> {
        if self.expectation.name != PRODUCT || self.profile != Profile::Release {
            return Ok(false);
        }
        // The proof that the search works: unoptimised, `core` brings such functions along.
        let debug =
            drivers::directory(Profile::Debug, Architecture::X64).join(format!("{PRODUCT}.pdb"));
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
    fn expectation_of_the_product_allows_kernel_imports_only() {
        let expectation = Expectation::of(PRODUCT, Architecture::X64).unwrap();
        let images: Vec<&str> = expectation
            .imports
            .iter()
            .map(|(image, _)| image.as_str())
            .collect();
        assert_eq!(images, ["ntoskrnl.exe", "hal.dll"]);
        assert!(expectation.exports.contains("DllUnload"));
    }
}
