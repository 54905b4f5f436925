//! Whether the product really uses each crate of the wdk family.
//!
//! Declared is not used: the four run-time crates count when the linker took something from them, `wdk-build` when the build script
//! calls it and the manifest declares it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::{
    artefacts::{self, Architecture, PRODUCT, Profile},
    image,
    tally::Tally,
    workspace,
};

/// The crates a driver runs with, and what shows in its source that it uses them.
const LINKED: [(&str, &str); 4] = [
    ("wdk", "wdk::"),
    ("wdk-sys", "wdk_sys::"),
    ("wdk-alloc", "wdk_alloc::WdkAllocator"),
    ("wdk-panic", "extern crate wdk_panic"),
];
/// The crate its build script runs with.
const BUILD: (&str, &str) = ("wdk-build", "wdk_build::");

/// What was found about the product.
#[derive(Clone, Default)]
struct Evidence {
    /// Names in `[dependencies]`.
    dependencies: BTreeSet<String>,
    /// Names in `[build-dependencies]`.
    build_dependencies: BTreeSet<String>,
    source: String,
    build_script: String,
    /// What the linker took members from.
    object_files: BTreeSet<String>,
}

/// Checks all five.
pub(crate) fn check_all(tally: &mut Tally) -> Result<()> {
    let evidence = Evidence::gather()?;
    for (name, _) in LINKED.iter().chain([&BUILD]) {
        match evidence.unused(name) {
            None => tally.pass(&format!("{PRODUCT} uses {name}")),
            Some(why) => tally.fail(&format!("{PRODUCT} uses {name}"), &why),
        }
    }
    Ok(())
}

impl Evidence {
    fn gather() -> Result<Self> {
        let root = workspace::root();
        let metadata = MetadataCommand::new().current_dir(&root).no_deps().exec()?;
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name == PRODUCT)
            .context("the product is not in the workspace")?;
        let of_kind = |kind| {
            package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == kind)
                .map(|dependency| dependency.name.clone())
                .collect()
        };
        // The unoptimised image: there, libraries are linked member by member.
        let pdb =
            artefacts::directory(Profile::Debug, Architecture::X64).join(format!("{PRODUCT}.pdb"));
        Ok(Self {
            dependencies: of_kind(DependencyKind::Normal),
            build_dependencies: of_kind(DependencyKind::Build),
            source: all_source(&root.join("src"))?,
            build_script: fs::read_to_string(root.join("build.rs"))
                .context("cannot read build.rs")?,
            object_files: image::object_files(&pdb)?,
        })
    }

    /// Why a crate does not count as used.
    fn unused(&self, name: &str) -> Option<String> {
        let (declared, text, place, word) = match LINKED.iter().find(|(one, _)| *one == name) {
            Some((_, word)) => (&self.dependencies, &self.source, "src/", *word),
            None => (
                &self.build_dependencies,
                &self.build_script,
                "build.rs",
                BUILD.1,
            ),
        };
        if !declared.contains(name) {
            return Some("it is not among the dependencies".to_owned());
        }
        if !text
            .lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains(word))
        {
            return Some(format!("`{word}` is nowhere in {place}"));
        }
        if name == BUILD.0 {
            return None;
        }
        let library = format!("lib{}-", name.replace('-', "_"));
        let linked = self
            .object_files
            .iter()
            .filter_map(|path| path.rsplit(['/', '\\']).next())
            .any(|file| file.starts_with(&library));
        (!linked).then(|| "nothing of it is linked into the debug image".to_owned())
    }
}

/// All Rust source below a directory.
fn all_source(directory: &Path) -> Result<String> {
    let mut text = String::new();
    let mut directories: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(
                    &fs::read_to_string(&path)
                        .with_context(|| format!("cannot read {}", path.display()))?,
                );
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Evidence {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Evidence {
            dependencies: names(&["wdk", "wdk-sys", "wdk-alloc", "wdk-panic"]),
            build_dependencies: names(&["wdk-build"]),
            source: "use wdk_sys::NTSTATUS;\nextern crate wdk_panic;\nuse wdk_alloc::WdkAllocator;\nwdk::println!();"
                .to_owned(),
            build_script: "wdk_build::configure_wdk_binary_build()".to_owned(),
            object_files: names(&[
                "/t/libwdk-1.rlib",
                "/t/libwdk_sys-1.rlib",
                "/t/libwdk_alloc-1.rlib",
                r"C:\t\libwdk_panic-1.rlib",
            ]),
        }
    }

    const ALL: [&str; 5] = ["wdk", "wdk-sys", "wdk-alloc", "wdk-panic", "wdk-build"];

    #[test]
    fn a_driver_that_uses_all_five_passes() {
        for name in ALL {
            assert_eq!(sound().unused(name), None, "{name}");
        }
    }

    #[test]
    fn a_dropped_dependency_is_seen() {
        for name in ALL {
            let mut evidence = sound();
            evidence.dependencies.remove(name);
            evidence.build_dependencies.remove(name);
            let failing: Vec<&str> = ALL
                .into_iter()
                .filter(|one| evidence.unused(one).is_some())
                .collect();
            assert_eq!(failing, [name]);
        }
    }

    #[test]
    fn a_crate_that_is_declared_but_not_linked_is_seen() {
        for name in &ALL[..4] {
            let library = format!("lib{}-", name.replace('-', "_"));
            let mut evidence = sound();
            evidence
                .object_files
                .retain(|path| !path.contains(&library));
            assert!(evidence.unused(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_mention_in_a_comment_is_not_a_use() {
        let mut evidence = sound();
        evidence.build_script = "// wdk_build::configure_wdk_binary_build()".to_owned();
        evidence.source = evidence.source.replace("extern crate", "// extern crate");
        assert!(evidence.unused("wdk-build").is_some());
        assert!(evidence.unused("wdk-panic").is_some());
    }
}
