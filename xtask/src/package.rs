//! `cargo xtask package`: the folder that is installed on Windows, for x64 and ARM64.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::{
    artefacts::{self, Architecture, Form, Profile},
    command, drivers,
    setup::{self, Purpose},
    workspace,
};

/// How the package is made.
#[derive(Args)]
pub(crate) struct Options {
    /// Write catalogues of the older version (SHA-1), should Windows refuse the newer one.
    #[arg(long)]
    v1: bool,
    /// Let Windows put the driver to System32\drivers instead of the driver store, should clients not find it there.
    #[arg(long)]
    system32: bool,
    /// Package only what was built as this (default: both).
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Make the folder for a Windows VM too, with the export form: package, test clients, rxcectl.exe, scripts
    /// (docs/windows-vm.md).
    #[arg(long)]
    vm: bool,
}

/// The test clients that go to a VM, as docs/windows-vm.md and its scripts name them, and the program that drives them.
const CLIENTS: [&str; 2] = ["conform", "p9probe"];
const PROGRAM: (&str, &str) = ("rxcectl-windows", "rxcectl.exe");

/// Builds the driver and makes `target/package/{x64,arm64}` of the redirector, the default form of the driver, and
/// `target/package/export/{x64,arm64}` of the library alone. A folder is replaced as a whole, or not at all.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Package)?;
    drivers::run(&drivers::Selection::product())?;
    if options.vm {
        drivers::run(&drivers::Selection::release_of(
            &[CLIENTS.as_slice(), &[PROGRAM.0]].concat(),
        ))?;
    }
    let vm = workspace::root().join("target/package/vm");
    for form in Form::ALL {
        if options.form.is_none_or(|wanted| wanted == form) || options.vm && form == Form::Export {
            package(options, form, &vm)?;
        }
    }
    if options.vm {
        println!("  -> {}", workspace::shown(&vm));
    }
    Ok(())
}

/// Makes the two folders of a form, and the VM's.
fn package(options: &Options, form: Form, vm: &Path) -> Result<()> {
    let root = workspace::root();
    let (name, folder) = match form {
        Form::Redirector => ("redirector", root.join("target/package")),
        Form::Export => ("export", root.join("target/package/export")),
    };
    for (architecture, processor) in [(Architecture::X64, "x64"), (Architecture::Arm64, "arm64")] {
        let output = folder.join(processor);
        let image = artefacts::product(form, Profile::Release, architecture);
        let mut packaging = command::cargo();
        packaging
            .args(["run", "--quiet", "--package", "packaging", "--"])
            .args(["--architecture", processor, "--form", name, "--image"])
            .arg(image.with_extension("sys"))
            .arg("--root")
            .arg(&root)
            .arg("--keys")
            .arg(root.join("target/signing"))
            .arg("--output")
            .arg(&output);
        if options.v1 {
            packaging.arg("--v1");
        }
        if options.system32 {
            packaging.arg("--system32");
        }
        // The redirector has never met a real `rdbss.sys`: what the VM gets is the library alone.
        if options.vm && architecture == Architecture::X64 && form == Form::Export {
            packaging.arg("--vm").arg(vm);
            for client in CLIENTS {
                let image = image.with_file_name(client).with_extension("sys");
                packaging.arg("--client").arg(image);
            }
            packaging
                .arg("--program")
                .arg(image.with_file_name(PROGRAM.1));
        }
        command::run(&mut packaging)?;
        println!("  -> {}", workspace::shown(&output));
    }
    Ok(())
}
