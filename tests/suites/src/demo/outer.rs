//! The outer process: files, server, and the inner process with the machine.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use suites::diod::{self, Diod};

use super::{args::Args, folder, interrupt};

/// Prepares what the machine needs, runs it, and cleans up.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    for image in [&args.rxce, &args.p9probe] {
        if !image.is_file() {
            bail!(
                "{} is missing: `cargo xtask build` makes it",
                image.display()
            );
        }
    }
    if args.server.is_some() && args.kill_server_after_mib.is_some() {
        bail!("--kill-server-after-mib is for our own server, not for one of --server");
    }
    interrupt::handle()?;
    let mut machine = Command::new(std::env::current_exe().context("cannot find this program")?);
    machine.args(std::env::args_os().skip(1)).arg("--inner");

    // Kept until the machine has ended.
    let mut own = None;
    if args.server.is_none() {
        let seed = args.seed.unwrap_or_else(rand::random);
        println!("files: {} MiB from seed {seed}", args.size_mib);
        let folder = folder::make_folder(args.size_mib, seed)?;
        let diod = Diod::start(folder.path())?;
        println!(
            "server: diod at {} with {}",
            diod.address(),
            folder.path().display()
        );
        machine
            .args([
                "--server",
                &diod.address(),
                "--server-pid",
                &diod.pid().to_string(),
            ])
            .arg("--export")
            .arg(folder.path())
            .arg("--folder")
            .arg(folder.path());
        own = Some((diod, folder));
    }
    interrupt::check()?;
    diod::die_with_us(&mut machine);
    let mut machine = machine
        .spawn()
        .context("cannot start the machine's process")?;
    interrupt::machine(machine.id());
    let status = machine
        .wait()
        .context("cannot wait for the machine's process")?;
    drop(own);
    interrupt::check()?;
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(99) => bail!("the machine stopped with a bug check (see above)"),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => bail!("the machine's process died ({status})"),
    }
}
