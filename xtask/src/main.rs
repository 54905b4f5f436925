//! `cargo xtask`: everything a Linux host does with this project, in one command each.
//!
//! One file per errand: [`setup`] installs what is missing, with [`apt`], [`toolchain`] decides which compiler builds drivers, [`drivers`] builds
//! them (what they are called and where they lie: [`artefacts`]; how cargo is run for them: [`linking`]), [`c_drivers`] those in C, [`c_header`] checks their header, [`image`] what was built, [`wdk_crates`] what it is made of,
//! [`reproduce`] whether it comes out the same again,
//! [`variants`] are builds that do not ship, [`mutants`] tests with one of them,
//! [`demo`], [`soak`], [`fuzz`], [`properties`] and [`mod@test`] run it, [`package`] makes what is installed, [`mod@rxcectl`] runs its commands,
//! [`documented`] does what the documentation says, [`verify`] runs any driver, and [`gnu_drivers`] builds strangers for it, [`evidence`](mod@evidence) tells what the last test counted.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod artefacts;
mod bench;
mod c_drivers;
mod c_header;
mod command;
mod demo;
mod documented;
mod drivers;
mod endless;
mod evidence;
mod explore;
mod fuzz;
mod gnu_drivers;
mod image;
mod linking;
mod mount;
mod mutants;
mod package;
mod peers;
mod properties;
mod reproduce;
mod rxcectl;
mod setup;
mod soak;
mod tally;
mod test;
mod toolchain;
mod variants;
mod verify;
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
    /// Checks the built images, what the product is made of, and its C header.
    CheckImage,
    /// Executes the commands that the documentation has.
    CheckDocs,
    /// Runs the acceptance vectors in the simulated kernel: `rxcectl conformance`, with its options.
    Conformance(rxcectl::Options),
    /// Reads a file from a 9P server through the drivers, in the simulated kernel.
    Demo(demo::Options),
    /// Prints what the last test run counted: answers seen, points swept, schedules explored, inputs executed.
    Evidence(evidence::Options),
    /// Runs the races of a circuit under chosen orders of their threads.
    Explore(explore::Options),
    /// Shows the tree of a 9P server in a directory of this host, through the Windows redirector (needs FUSE).
    Mount(mount::Options),
    /// Runs every acceptance vector against every planted defect of the engine.
    Mutants(mutants::Options),
    /// Makes and signs the driver package: image, INF, catalogue, test certificate.
    Package(package::Options),
    /// Builds the product a second time, and compares the images bit for bit.
    Reproduce,
    /// Runs any command of rxcectl in the simulated kernel.
    Rxcectl(rxcectl::Options),
    /// Lets storms loose on the drivers, with fresh seeds, until one fails or the time is over.
    Soak(endless::Span),
    /// Runs hostile inputs with fresh seeds, until one finds something or the time is over.
    Fuzz(fuzz::Options),
    /// Runs every check and every test.
    Test,
    /// Runs any WDM driver in the simulated kernel under Driver Verifier's rules.
    Verify(verify::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().errand {
        Errand::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Errand::Build(selection) => drivers::run(&selection).map(|()| ExitCode::SUCCESS),
        Errand::CheckImage => check_images(),
        Errand::CheckDocs => documented::run(),
        Errand::Conformance(options) => rxcectl::run(&["conformance"], &options),
        Errand::Demo(options) => demo::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Evidence(options) => evidence::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Explore(options) => explore::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Mount(options) => mount::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Mutants(options) => mutants::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Package(options) => package::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Reproduce => reproduce_image(),
        Errand::Rxcectl(options) => rxcectl::run(&[], &options),
        Errand::Soak(options) => soak::run(&options).map(|()| ExitCode::SUCCESS),
        Errand::Test => test::run(),
        Errand::Verify(options) => verify::run(&options),
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

/// `cargo xtask reproduce`.
fn reproduce_image() -> anyhow::Result<ExitCode> {
    let mut tally = tally::Tally::default();
    drivers::run(&drivers::Selection::product())?;
    reproduce::check_all(&mut tally)?;
    Ok(tally.conclude())
}

/// `cargo xtask check-image`.
fn check_images() -> anyhow::Result<ExitCode> {
    let mut tally = tally::Tally::default();
    image::check_all(&mut tally)?;
    wdk_crates::check_all(&mut tally)?;
    c_header::check_all(&mut tally)?;
    Ok(tally.conclude())
}
