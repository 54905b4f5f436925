//! Drivers in C, and the compilers they are built with: clang as Windows' own compiler would be used, and mingw-w64's GCC.
//!
//! Headers are those that the Rust drivers are built with (mingw-w64's kernel headers behind `xwdk/include`); import libraries come
//! from the same `.def` files, that of the product from `include/rxce.def` as in the package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use implib::{Flavor, ImportLibrary, MachineType};

use crate::{
    artefacts::{self, Architecture, PRODUCT, Profile},
    command,
    toolchain::{self, Way},
    workspace,
};

/// Debian's clang, of the version of the libclang that reads headers for Rust.
const CLANG: &str = "clang-14";
/// Debian's GCC for Windows.
pub(crate) const GCC: &str = "x86_64-w64-mingw32-gcc";
/// Its C++.
const GXX: &str = "x86_64-w64-mingw32-g++";

/// What the WDK's build environment defines for x64 and Windows 10 2004 (as the `wdk-build` stand-in does).
const DEFINITIONS: [&str; 7] = [
    "_WIN64",
    "_AMD64_",
    "AMD64",
    "_KERNEL_MODE",
    "_WIN32_WINNT=0x0A00",
    "WINVER=0x0A00",
    "NTDDI_VERSION=0x0A000008",
];

/// A compiler and the way it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// clang for `x86_64-pc-windows-msvc`: Microsoft's ABI and, in the default mode, its extensions.
    Clang,
    /// The same with the command line of Microsoft's compiler.
    ClangCl,
    /// clang for `x86_64-w64-windows-gnu`.
    ClangGnu,
    /// mingw-w64's GCC.
    Gcc,
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cxx,
}

/// A driver in C.
pub(crate) struct Driver {
    /// The image's.
    pub(crate) name: &'static str,
    /// Its folder, from the root; all `.c` files there are compiled.
    pub(crate) folder: &'static str,
    pub(crate) compiler: Compiler,
    /// Macros of its own.
    pub(crate) definitions: &'static [&'static str],
}

/// All drivers in C.
pub(crate) const DRIVERS: &[Driver] = &[
    Driver {
        name: "c-skeleton",
        folder: "tests/drivers/c-skeleton",
        compiler: Compiler::Clang,
        definitions: &[],
    },
    Driver {
        name: "c-skeleton-gcc",
        folder: "tests/drivers/c-skeleton",
        compiler: Compiler::Gcc,
        definitions: &[],
    },
    Driver {
        name: "c-skeleton-small",
        folder: "tests/drivers/c-skeleton",
        compiler: Compiler::Clang,
        definitions: &["RXCEX_SMALL_EVENT_TABLE"],
    },
];

/// Whether the compilers are there.
pub(crate) fn has_compilers() -> bool {
    [CLANG, GCC, GXX]
        .iter()
        .all(|program| command::output(Command::new(program).arg("--version")).is_some())
}

impl Compiler {
    pub(crate) const ALL: [Self; 4] = [Self::Clang, Self::ClangCl, Self::ClangGnu, Self::Gcc];

    /// A command line that sees the kernel's headers and `include/`, and takes every warning for an error. What is to be done with
    /// which file is left to add.
    pub(crate) fn command(self, language: Language) -> Result<Command> {
        let root = workspace::root();
        let (overlay, product) = (root.join("xwdk/include"), root.join("include"));
        let [ddk, base] = mingw_headers()?;
        let mut command = match (self, language) {
            (Self::Gcc, Language::C) => Command::new(GCC),
            (Self::Gcc, Language::Cxx) => Command::new(GXX),
            _ => Command::new(CLANG),
        };
        command.current_dir(&root);
        match self {
            Self::ClangCl => {
                command
                    .args(["--driver-mode=cl", "--target=x86_64-pc-windows-msvc"])
                    .args(["/W4", "/WX", "/X", "-Xclang", "-nobuiltininc"]);
            }
            Self::Clang => {
                command.args(["--target=x86_64-pc-windows-msvc", "-nostdinc"]);
            }
            Self::ClangGnu => {
                command.args(["--target=x86_64-w64-windows-gnu", "-nostdinc"]);
            }
            Self::Gcc => {}
        }
        if self != Self::ClangCl {
            command.args(["-Wall", "-Wextra", "-Werror", "-ffreestanding"]);
        }
        if matches!(self, Self::Clang | Self::ClangCl) {
            // mingw-w64's headers drop every `__attribute__` for a compiler that does not say it is GNU's.
            command.args(["-D__GNUC__=4", "-D__GNUC_MINOR__=2"]);
        }
        let mut system = vec![overlay, ddk];
        if self != Self::Gcc {
            // mingw-w64's before clang's: clang's `intrin.h` is written for Microsoft's headers.
            system.extend([base, clang_headers()?]);
        }
        for directory in system {
            if self == Self::ClangCl {
                // Its own option for this puts clang's headers first.
                command.args(["-Xclang", "-isystem", "-Xclang"]);
            } else {
                command.arg("-isystem");
            }
            command.arg(directory);
        }
        command
            .args(DEFINITIONS.map(|definition| format!("-D{definition}")))
            .arg("-I")
            .arg(product);
        Ok(command)
    }

    /// The linker of drivers, with everything but files. It is LLVM's for GCC's objects too: GNU's (2.40) binds only a part of what it
    /// takes from import libraries of Microsoft's form.
    fn linker(self, name: &str, way: Way) -> Result<Command> {
        let mut command = toolchain::linker(way)?;
        command
            .args([
                "/DRIVER",
                "/NODEFAULTLIB",
                "/SUBSYSTEM:NATIVE",
                "/ENTRY:DriverEntry",
            ])
            .args(["/NXCOMPAT", "/DYNAMICBASE", "/INTEGRITYCHECK"])
            .args(["/OPT:REF,ICF", "/MANIFEST:NO", "/RELEASE", "/Brepro"])
            .arg(format!("/PDBALTPATH:{name}.pdb"));
        if self != Self::Gcc {
            command.arg("/DEBUG");
        }
        Ok(command)
    }
}

/// Builds these, debug and release, unless they are there already.
pub(crate) fn build(drivers: &[&Driver], way: Way) -> Result<()> {
    for profile in [Profile::Debug, Profile::Release] {
        for driver in drivers {
            driver
                .build(profile, way)
                .with_context(|| format!("{}.sys", driver.name))?;
        }
    }
    Ok(())
}

impl Driver {
    fn build(&self, profile: Profile, way: Way) -> Result<()> {
        let root = workspace::root();
        let folder = root.join(self.folder);
        let sources = files(&folder, "c")?;
        let to = artefacts::directory(profile, Architecture::X64);
        let image = to.join(self.name).with_extension("sys");
        let mut inputs = sources.clone();
        for directory in ["include", "xwdk/include", "xwdk/lib", self.folder] {
            inputs.extend(files(&root.join(directory), "h")?);
            inputs.extend(files(&root.join(directory), "def")?);
        }
        if is_newer(&image, &inputs) {
            return Ok(());
        }
        let work = root
            .join("target/c-drivers")
            .join(profile.directory())
            .join(self.name);
        for directory in [&to, &work] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let mut objects = Vec::new();
        for source in &sources {
            let object = work.join(source.file_stem().context("a source has a name")?);
            let object = object.with_extension("obj");
            let mut compile = self.compiler.command(Language::C)?;
            compile
                .args(self.definitions.iter().map(|name| format!("-D{name}")))
                .args(match profile {
                    Profile::Debug => ["-O0", "-g"],
                    Profile::Release => ["-O2", "-g"],
                });
            if self.compiler == Compiler::Clang {
                compile.arg("-gcodeview");
            }
            command::run(compile.arg("-c").arg(source).arg("-o").arg(&object))?;
            objects.push(object);
        }
        let output = work.join(self.name).with_extension("sys");
        let mut link = self.compiler.linker(self.name, way)?;
        link.args(&objects).args(import_libraries()?);
        command::run(link.arg(format!("/OUT:{}", output.display())))?;
        fs::rename(&output, &image).with_context(|| format!("cannot write {}", image.display()))?;
        println!("  -> {}", workspace::shown(&image));
        Ok(())
    }
}

/// The import libraries of the kernel and of the product, made from their definitions.
fn import_libraries() -> Result<Vec<PathBuf>> {
    let root = workspace::root();
    let to = root.join("target/c-drivers/lib");
    fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
    let definitions = [
        ("ntoskrnl", root.join("xwdk/lib/ntoskrnl.def")),
        ("hal", root.join("xwdk/lib/hal.def")),
        (PRODUCT, root.join("include/rxce.def")),
    ];
    let mut libraries = Vec::new();
    for (name, definition) in definitions {
        let text = fs::read_to_string(&definition)
            .with_context(|| format!("cannot read {}", definition.display()))?;
        let library = to.join(name).with_extension("lib");
        let mut file = fs::File::create(&library)
            .with_context(|| format!("cannot write {}", library.display()))?;
        ImportLibrary::new(&text, MachineType::AMD64, Flavor::Msvc)?.write_to(&mut file)?;
        libraries.push(library);
    }
    Ok(libraries)
}

/// The kernel's headers of mingw-w64, and its others.
fn mingw_headers() -> Result<[PathBuf; 2]> {
    let base = PathBuf::from("/usr/x86_64-w64-mingw32/include");
    let ddk = base.join("ddk");
    if !ddk.join("ntifs.h").is_file() {
        bail!("no {}: run `cargo xtask setup`", ddk.display());
    }
    Ok([ddk, base])
}

/// The headers that belong to clang.
fn clang_headers() -> Result<PathBuf> {
    let directory = command::output(Command::new(CLANG).arg("-print-resource-dir"));
    Ok(
        PathBuf::from(directory.with_context(|| format!("no {CLANG}: run `cargo xtask setup`"))?)
            .join("include"),
    )
}

/// The files of a folder with an extension, in order of their names.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|one| one == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether `output` was written after every input and after this program.
fn is_newer(output: &Path, inputs: &[PathBuf]) -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    let Some(written) = changed(output) else {
        return false;
    };
    let program = std::env::current_exe().ok();
    inputs
        .iter()
        .chain(&program)
        .all(|input| changed(input).is_some_and(|input| input < written))
}
