//! The program behind `cargo xtask mount`: boots a machine with `rxce.sys` as a redirector, and shows the tree of a 9P server
//! in a directory of this host, until it is unmounted or interrupted.

use std::{
    net::SocketAddrV4,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use ntsim::{File, Options, TraceMode};
use suites::{
    machine,
    mount::{self, Mount},
};

/// The redirector's device, and its codes (docs/redirector.md).
const DEVICE: &str = r"\Device\Rxce";
const START: u32 = 0x0014_A000;
const STOP: u32 = 0x0014_A004;

/// Shows the tree of a 9P2000.L server through the Windows redirector rxce.sys.
#[derive(Parser)]
struct Arguments {
    /// Where to show it: an empty directory.
    directory: PathBuf,
    /// The server: an IPv4 address and a port.
    #[arg(long, value_name = "HOST:PORT")]
    server: SocketAddrV4,
    /// The tree that the server exports, as it names it.
    #[arg(long, value_name = "TREE")]
    export: String,
    /// The numeric user; without it the redirector's anonymous one.
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
    /// The driver.
    #[arg(long, value_name = "FILE")]
    rxce: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    mount::is_possible().context("cannot open /dev/fuse: this host has no FUSE for us")?;
    if !arguments.directory.is_dir() {
        bail!("{} is not a directory", arguments.directory.display());
    }
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    ctrlc::set_handler(move || told.store(true, Ordering::SeqCst))
        .context("cannot wait for an interrupt")?;

    ntsim::boot(Options {
        trace: TraceMode::Ring(1000),
        ..Options::default()
    });
    ntsim::tcp::install(r"\Device\Tcp");
    let driver = machine::start(&arguments.rxce)?;
    let control = File::open(DEVICE).context(DEVICE)?;
    control.fsctl(START, &[], 0).context("start")?;
    let result = serve(arguments, &over);
    // Whatever became of it: nothing stays behind.
    control.fsctl(STOP, &[], 0).context("stop")?;
    drop(control);
    driver.unload()?;
    machine::nothing_is_left()?;
    println!("unloaded; nothing is left:\n{}", ntsim::account());
    result
}

fn serve(arguments: &Arguments, over: &AtomicBool) -> Result<()> {
    let root = root(arguments);
    File::create(&root, &ntsim::HowToOpen::default())
        .with_context(|| format!("cannot open {root}"))?;
    let mount = Mount::new(&root, &arguments.directory)
        .with_context(|| format!("cannot mount at {}", arguments.directory.display()))?;
    println!(
        "{root} is at {}; ends with Ctrl-C or `umount`",
        arguments.directory.display()
    );
    while !over.load(Ordering::SeqCst) && !mount.is_over() {
        thread::sleep(Duration::from_millis(50));
    }
    if !mount.is_over() {
        mount.end().context("cannot unmount")?;
    }
    Ok(())
}

/// The name of the tree in the machine: `\Device\Rxce\127.0.0.1@564\srv!tree`.
fn root(arguments: &Arguments) -> String {
    let (address, port) = (arguments.server.ip(), arguments.server.port());
    let user = arguments
        .user
        .map_or_else(String::new, |user| format!("{user}@"));
    let tree = arguments.export.trim_start_matches('/');
    let share = if tree.is_empty() {
        "!".to_owned()
    } else {
        tree.replace('!', "!!").replace('/', "!")
    };
    format!(r"{DEVICE}\{user}{address}@{port}\{share}")
}
