//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Loads rxce.sys and p9probe.sys in a simulated NT kernel and reads a file from a 9P server through a circuit.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The connection engine.
    #[arg(long, value_name = "FILE")]
    pub(crate) rxce: PathBuf,
    /// The kernel client.
    #[arg(long, value_name = "FILE")]
    pub(crate) p9probe: PathBuf,
    /// A 9P2000.L server that is already running, instead of a diod of our own.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// The tree to attach to, as the server of `--server` calls it.
    #[arg(long, value_name = "NAME", default_value = "/", requires = "server")]
    pub(crate) export: String,
    /// The file to read, or a directory to list (its largest file is read).
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,
    /// Size of the file that is made for our own server.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) size_mib: u64,
    /// Seed of the file's content; random if not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How much of the circuit's life to print.
    #[arg(long, value_enum, default_value_t = Story::Short)]
    pub(crate) story: Story,
    /// Draws the circuit's life as a sequence diagram into this file: .svg, or .html for a page with it.
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub(crate) timeline: Option<PathBuf>,
    /// Kills our own server after so many MiB were read, to show what happens then.
    #[arg(long, value_name = "MIB", hide = true)]
    pub(crate) kill_server_after_mib: Option<u64>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// What the outer process tells the inner one.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Machine {
    /// Be the simulated machine.
    #[arg(long, hide = true)]
    pub(crate) inner: bool,
    /// Process id of our own server.
    #[arg(long, hide = true)]
    pub(crate) server_pid: Option<i32>,
    /// Folder that our own server exports.
    #[arg(long, hide = true)]
    pub(crate) folder: Option<PathBuf>,
}

/// How much of the circuit's life to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// The story in chapters; repetitions are counted.
    Short,
    /// Every step, waits and set-up included, with the functions; nothing folded.
    Full,
}

/// A file that a picture can be written to, checked before anything is run.
fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().and_then(|ending| ending.to_str());
    if !matches!(ending, Some("svg" | "html")) {
        return Err("the file's name must end in .svg or .html".to_owned());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => Err(format!("there is no folder {}", folder.display())),
        _ => Ok(path),
    }
}
