//! Building the drivers and putting the images where everything else looks for them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{CrateType, Message};
use clap::Args;

use crate::{
    command, setup,
    toolchain::{self, Way},
    workspace,
};

/// The product.
pub(crate) const PRODUCT: &str = "rxce";
/// All driver packages. The package name is the image's.
pub(crate) const PACKAGES: [&str; 6] = [
    PRODUCT, "bench", "breaker", "conform", "exchange", "p9probe",
];

/// What to build. Without arguments: every driver, x64, debug.
#[derive(Args, Default)]
pub(crate) struct Selection {
    /// Build optimised images.
    #[arg(long, conflicts_with = "all")]
    release: bool,
    /// Build everything that is tested: x64 debug and release of every driver, ARM64 release of the product.
    #[arg(long)]
    all: bool,
    /// Build for ARM64 instead of x64 (the product only; it is linked, not run).
    #[arg(long, conflicts_with = "all")]
    arm64: bool,
    /// Build what is shipped.
    #[arg(skip)]
    shipped: bool,
    /// Build only these packages.
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
}

/// A processor and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    X64,
    Arm64,
}

impl Architecture {
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::X64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-pc-windows-msvc",
            Self::Arm64 => "aarch64-pc-windows-msvc",
        }
    }
}

/// A cargo profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Profile {
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// One run of cargo.
struct Build {
    architecture: Architecture,
    profile: Profile,
    packages: Vec<String>,
}

/// The directory of the images of one kind.
pub(crate) fn directory(profile: Profile, architecture: Architecture) -> PathBuf {
    workspace::images()
        .join(profile.directory())
        .join(architecture.directory())
}

/// Builds what is selected, after installing what is missing.
pub(crate) fn run(selection: &Selection) -> Result<()> {
    setup::ensure(setup::Purpose::Build)?;
    let way = toolchain::choose()?;
    println!("toolchain: {}", way.describe());
    let mut failed = Vec::new();
    for build in selection.builds() {
        failed.extend(build.run(way)?);
    }
    if !failed.is_empty() {
        bail!("not built: {}", failed.join(", "));
    }
    Ok(())
}

/// Builds everything that is tested.
pub(crate) fn build_all() -> Result<()> {
    run(&Selection {
        all: true,
        ..Selection::default()
    })
}

impl Selection {
    /// Every driver, x64, optimised.
    pub(crate) fn release() -> Self {
        Self {
            release: true,
            ..Self::default()
        }
    }

    /// The product, optimised, for every processor.
    pub(crate) fn product() -> Self {
        Self {
            shipped: true,
            ..Self::default()
        }
    }

    fn builds(&self) -> Vec<Build> {
        let wanted = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .filter(|name| {
                    self.package.is_empty() || self.package.iter().any(|one| one == *name)
                })
                .map(|name| (*name).to_owned())
                .collect()
        };
        let profile = if self.release {
            Profile::Release
        } else {
            Profile::Debug
        };
        let x64 = |profile| Build {
            architecture: Architecture::X64,
            profile,
            packages: wanted(&PACKAGES),
        };
        let arm64 = |profile| Build {
            architecture: Architecture::Arm64,
            profile,
            packages: wanted(&[PRODUCT]),
        };
        let mut builds = if self.all {
            vec![
                x64(Profile::Debug),
                x64(Profile::Release),
                arm64(Profile::Release),
            ]
        } else if self.shipped {
            let x64 = Build {
                packages: wanted(&[PRODUCT]),
                ..x64(Profile::Release)
            };
            vec![x64, arm64(Profile::Release)]
        } else if self.arm64 {
            vec![arm64(profile)]
        } else {
            vec![x64(profile)]
        };
        builds.retain(|build| !build.packages.is_empty());
        builds
    }
}

impl Build {
    /// Runs cargo and publishes what it made. Returns the names of the images that could not be built; the others are in place
    /// even then, so that one broken driver does not hold up the work on another.
    fn run(&self, way: Way) -> Result<Vec<String>> {
        let kind = format!(
            "{} {}",
            self.architecture.directory(),
            self.profile.directory()
        );
        println!("building {} ({kind})", self.packages.join(", "));
        let started = Instant::now();
        let mut cargo = toolchain::cargo(way, "build");
        cargo
            .args(["--keep-going", "--message-format=json-render-diagnostics"])
            .args(["--target", self.architecture.target()]);
        if self.profile == Profile::Release {
            cargo.arg("--release");
        }
        for package in &self.packages {
            cargo.args(["--package", package]);
        }
        let mut child = cargo
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::typed(&cargo)))?;
        let output = child.stdout.take().context("cargo has no output")?;
        let built = linked_images(BufReader::new(output))?;
        let status = child.wait().context("cannot wait for cargo")?;

        let destination = directory(self.profile, self.architecture);
        let mut failed = Vec::new();
        for package in &self.packages {
            match built.get(package) {
                Some(library) => publish(package, library, &destination)?,
                None => failed.push(format!("{package} ({kind})")),
            }
        }
        if failed.is_empty() && !status.success() {
            bail!("`{}` failed ({status})", command::typed(&cargo));
        }
        println!("  {kind}: {:.1} s", started.elapsed().as_secs_f32());
        Ok(failed)
    }
}

/// Reads cargo's messages: package name → the DLL it linked.
fn linked_images(output: impl Read) -> Result<BTreeMap<String, PathBuf>> {
    let mut images = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's messages")?
        else {
            continue;
        };
        if !artifact.target.crate_types.contains(&CrateType::CDyLib) {
            continue;
        }
        let library = artifact
            .filenames
            .iter()
            .find(|file| file.extension() == Some("dll"));
        if let Some(library) = library {
            images.insert(
                artifact.target.name.clone(),
                library.clone().into_std_path_buf(),
            );
        }
    }
    Ok(images)
}

/// Puts `NAME.sys` and `NAME.pdb` in place.
fn publish(name: &str, library: &Path, destination: &Path) -> Result<()> {
    fs::create_dir_all(destination)
        .with_context(|| format!("cannot create {}", destination.display()))?;
    for (from, extension) in [
        (library.to_path_buf(), "sys"),
        (library.with_extension("pdb"), "pdb"),
    ] {
        let to = destination.join(name).with_extension(extension);
        if replace(&from, &to)? && extension == "sys" {
            println!("  -> {}", workspace::shown(&to));
        }
    }
    Ok(())
}

/// Copies a file unless it is the same already. A reader sees the old file or the new one, never a part.
fn replace(from: &Path, to: &Path) -> Result<bool> {
    let contents = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == contents) {
        return Ok(false);
    }
    let part = to.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, contents).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(true)
}
