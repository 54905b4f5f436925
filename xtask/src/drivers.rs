//! Building the drivers and putting the images where everything else looks for them.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    artefacts::{self, Architecture, Form, PACKAGES, PRODUCT, PROGRAMS, Profile, SHIM, image_name},
    c_drivers, command, gnu_drivers, linking, setup,
    toolchain::{self, Way},
    variants::{self, Variant},
};

/// What to build. Without arguments: every driver and program, x64, debug.
#[derive(Args, Default)]
pub(crate) struct Selection {
    /// Build optimised images.
    #[arg(long, conflicts_with = "all")]
    release: bool,
    /// Build everything that is tested: x64 debug and release of every driver and program, those in C too, ARM64 release of the
    /// product.
    #[arg(long)]
    all: bool,
    /// Build for ARM64 instead of x64 (the product only; it is linked, not run).
    #[arg(long, conflicts_with = "all")]
    arm64: bool,
    /// Build the engine with its planted defects instead, for the suite `mutants`.
    #[arg(long, conflicts_with_all = ["all", "arm64", "package"])]
    mutants: bool,
    /// Build the engine and the vectors for kernels back to Windows Server 2003 x64 instead.
    #[arg(long, conflicts_with_all = ["all", "arm64", "package"])]
    legacy: bool,
    /// Build what is shipped.
    #[arg(skip)]
    shipped: bool,
    /// Build only these packages.
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
}

/// One run of cargo.
struct Build {
    architecture: Architecture,
    profile: Profile,
    form: Form,
    packages: Vec<String>,
}

/// Set for commands whose images were built just before, every one of them: they are taken as they are.
pub(crate) const BUILT_VARIABLE: &str = "XTASK_BUILT";

/// Builds what is selected, after installing what is missing.
pub(crate) fn run(selection: &Selection) -> Result<()> {
    let in_c = selection.in_c()?;
    if std::env::var_os(BUILT_VARIABLE).is_some() {
        println!("images were built before");
        return Ok(());
    }
    setup::ensure(if in_c.is_empty() {
        setup::Purpose::Build
    } else {
        setup::Purpose::BuildAll
    })?;
    let way = toolchain::choose()?;
    println!("toolchain: {}", way.describe());
    let mut failed = Vec::new();
    for build in selection.builds() {
        failed.extend(build.run(way)?);
    }
    c_drivers::build(&in_c, way)?;
    if selection.all && selection.package.is_empty() {
        gnu_drivers::build()?;
    }
    for variant in selection.variants() {
        variant.build(way)?;
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

    /// These packages, x64, optimised.
    pub(crate) fn release_of(packages: &[&str]) -> Self {
        Self {
            package: packages.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::release()
        }
    }

    /// The product, optimised, for every processor.
    pub(crate) fn product() -> Self {
        Self {
            shipped: true,
            ..Self::default()
        }
    }

    /// The drivers in C that are meant: built debug and release at once, with `--all` or by name.
    ///
    /// # Errors
    ///
    /// There is no driver of a name.
    fn in_c(&self) -> Result<Vec<&'static c_drivers::Driver>> {
        let named = |name: &str| self.package.iter().any(|one| one == name);
        for name in &self.package {
            let known = name == SHIM
                || PACKAGES.contains(&name.as_str())
                || PROGRAMS.iter().any(|(package, _)| package == name)
                || c_drivers::DRIVERS.iter().any(|driver| driver.name == name);
            if !known {
                bail!("there is no driver or program `{name}`");
            }
        }
        Ok(c_drivers::DRIVERS
            .iter()
            .filter(|driver| named(driver.name) || (self.all && self.package.is_empty()))
            .collect())
    }

    /// The engine with its planted defects.
    pub(crate) fn mutants() -> Self {
        Self {
            mutants: true,
            ..Self::default()
        }
    }

    /// The variants to build, besides or instead.
    fn variants(&self) -> Vec<&'static Variant> {
        let wanted = |variant: &&Variant| {
            (self.all && self.package.is_empty())
                || (self.mutants && **variant == variants::MUTANTS)
                || (self.legacy && **variant == variants::LEGACY)
        };
        variants::ALL.into_iter().filter(wanted).collect()
    }

    fn builds(&self) -> Vec<Build> {
        if !self.all && !self.variants().is_empty() {
            return Vec::new();
        }
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
        let everything: Vec<&str> = PACKAGES
            .into_iter()
            .chain([SHIM])
            .chain(PROGRAMS.map(|(package, _)| package))
            .collect();
        // The export form is built along with what imports from it, the redirector by itself.
        let both = |architecture, profile, names: &[&str]| {
            Form::ALL.map(|form| Build {
                architecture,
                profile,
                form,
                packages: match form {
                    Form::Export => wanted(names),
                    Form::Redirector => wanted(&[PRODUCT]),
                },
            })
        };
        let x64 = |profile| both(Architecture::X64, profile, &everything);
        let arm64 = |profile| both(Architecture::Arm64, profile, &[PRODUCT]);
        let kinds = if self.all {
            vec![
                x64(Profile::Debug),
                x64(Profile::Release),
                arm64(Profile::Release),
            ]
        } else if self.shipped {
            vec![
                both(Architecture::X64, Profile::Release, &[PRODUCT]),
                arm64(Profile::Release),
            ]
        } else if self.arm64 {
            vec![arm64(profile)]
        } else {
            vec![x64(profile)]
        };
        let mut builds: Vec<Build> = kinds.into_iter().flatten().collect();
        builds.retain(|build| !build.packages.is_empty());
        builds
    }
}

impl Build {
    /// Runs cargo and publishes what it made. Returns the names of the images that could not be built; the others are in place
    /// even then, so that one broken driver does not hold up the work on another.
    fn run(&self, way: Way) -> Result<Vec<String>> {
        let kind = format!(
            "{} {}{}",
            self.architecture.directory(),
            self.profile.directory(),
            match self.form {
                Form::Export => "",
                Form::Redirector => ", redirector form",
            }
        );
        println!("building {} ({kind})", self.packages.join(", "));
        let started = Instant::now();
        let mut cargo = toolchain::cargo(way, "build");
        cargo.args(["--target", self.architecture.target()]);
        if self.profile == Profile::Release {
            cargo.arg("--release");
        }
        if self.form == Form::Export {
            cargo.arg("--no-default-features");
            if self.packages.iter().any(|package| package == PRODUCT) {
                cargo.args(["--features", &format!("{PRODUCT}/etw")]);
            }
        }
        for package in &self.packages {
            cargo.args(["--package", package]);
        }
        let typed = command::typed(&cargo);
        let (built, status) = linking::link(cargo)?;

        let destination =
            artefacts::directory(self.profile, self.architecture).join(self.form.folder());
        let mut failed = Vec::new();
        for package in &self.packages {
            match built.get(image_name(package)) {
                Some(image) => linking::publish(image_name(package), image, &destination)?,
                None => failed.push(format!("{package} ({kind})")),
            }
        }
        if failed.is_empty() && !status.success() {
            bail!("`{typed}` failed ({status})");
        }
        println!("  {kind}: {:.1} s", started.elapsed().as_secs_f32());
        Ok(failed)
    }
}
