//! Makes a driver package; `cargo xtask package` calls it with what it built.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use packaging::{
    catalogue::Version,
    folder::{self, Directory, Form, Source},
    sign::Signer,
    stamp::Architecture,
    vm::{self, Vm},
};

/// Makes a driver package.
#[derive(Parser)]
struct Options {
    /// Processor of the image.
    #[arg(long)]
    architecture: Processor,
    /// What the image was built as.
    #[arg(long)]
    form: BuiltAs,
    /// The driver.
    #[arg(long)]
    image: PathBuf,
    /// The root of the checkout.
    #[arg(long)]
    root: PathBuf,
    /// Directory of the test key; made if it is not there.
    #[arg(long)]
    keys: PathBuf,
    /// The folder to make.
    #[arg(long)]
    output: PathBuf,
    /// Write a catalogue of the older version (SHA-1).
    #[arg(long)]
    v1: bool,
    /// Let Windows put the driver to System32\drivers instead of the driver store.
    #[arg(long)]
    system32: bool,
    /// A folder to make for a VM: the package, clients, programs, scripts.
    #[arg(long)]
    vm: Option<PathBuf>,
    /// A driver for that folder, to be signed.
    #[arg(long, requires = "vm")]
    client: Vec<PathBuf>,
    /// A program for that folder.
    #[arg(long, requires = "vm")]
    program: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum Processor {
    X64,
    Arm64,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum BuiltAs {
    Redirector,
    Export,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let source = Source {
        architecture: match options.architecture {
            Processor::X64 => Architecture::X64,
            Processor::Arm64 => Architecture::Arm64,
        },
        form: match options.form {
            BuiltAs::Redirector => Form::Redirector,
            BuiltAs::Export => Form::Export,
        },
        image: options.image.clone(),
        inx: options.root.join("inf/rxce.inx"),
        header: options.root.join("include/rxce.h"),
        exports: options.root.join("include/rxce.def"),
        // One version for the workspace: the driver's is this program's.
        version: concat!(env!("CARGO_PKG_VERSION"), ".0").to_owned(),
        time: date(options)?,
        catalogue: if options.v1 { Version::V1 } else { Version::V2 },
        directory: if options.system32 {
            Directory::System32
        } else {
            Directory::DriverStore
        },
    };
    let signer = Signer::open(&options.keys)?;
    folder::make(&source, &options.output, &signer)?;
    if let Some(folder) = &options.vm {
        let vm = Vm {
            package: options.output.clone(),
            clients: options.client.clone(),
            programs: options.program.clone(),
            scripts: options.root.join("scripts/windows"),
            time: source.time,
        };
        vm::make(&vm, folder, &signer)?;
    }
    Ok(())
}

/// `SOURCE_DATE_EPOCH`, else the date of the commit, else now.
fn date(options: &Options) -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().context("SOURCE_DATE_EPOCH is no number");
    }
    let commit = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(&options.root)
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    match commit {
        Some(time) => Ok(time),
        None => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
    }
}
