//! `cargo xtask`: everything a Linux host does with this project, in one command each.
//!
//! One file per errand: [`setup`] installs what is missing, [`toolchain`] decides which compiler builds drivers, [`drivers`] builds
//! them, [`image`] checks what was built, [`wdk_crates`] what they are made of, [`demo`], [`soak`], [`fuzz`] and [`mod@test`] run it,
//! [`package`] makes what is installed,
//! [`evidence`](mod@evidence) tells what the last test counted.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod command;
mod demo;
mod drivers;
mod evidence;
mod explore;
mod fuzz;
mod image;
mod package;
mod peers;
mod setup;
mod soak;
mod tally;
mod test;
mod toolchain;
mod wdk_crates;
mod workspace;

/// Set-up, builds, demo and tests.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    errand: Errand,
}

#[derive(Subcommand)]
enum Errand {
    /// Measures what the drivers cost, in the simulated kernel with its checks off.
    Bench(bench::Options),
    /// Installs what this host lacks (Debian packages, by apt-get).
    Setup,
    /// Builds the drivers.
    Build(drivers::Selection),
    /// Checks the built images, and what the product is made of.
    CheckImage,
    /// Reads a file from a 9P server through the drivers, in the simulated kernel.
    Demo(demo::Options),
    /// Prints what the last test run counted: answers seen, points swept, schedules explored, inputs executed.
    Evidence(evidence::Options),
    /// Runs the races of a circuit under chosen orders of their threads.
    Explore(explore::Options),
    /// Makes and signs the driver package: image, INF, catalogue, test certificate.
    Package(package::Options),
    /// Lets storms loose on the drivers, with fresh seeds, until one fails or the time is over.
    Soak(soak::Options),
    /// Runs hostile inputs with fresh seeds, until one finds something or the time is over.
    Fuzz(fuzz::Options),
    /// Runs every check and every test.
    Test,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().errand {
        Errand::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Errand::Build(selection) => drivers::run(&selection).map(|()| ExitCode::SUCCESS),
        Errand::CheckImage => check_images(),
        Errand::Demo(options) => demo::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Evidence(options) => evidence::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Explore(options) => explore::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Package(options) => package::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Soak(options) => soak::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Test => test::run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// `cargo xtask check-image`.
fn check_images() -> anyhow::Result<ExitCode> {
    let mut tally = tally::Tally::default();
    image::check_all(&mut tally)?;
    wdk_crates::check_all(&mut tally)?;
    Ok(tally.conclude())
}
