//! Loads driver files, starts them, unloads them in reverse order, and prints the timeline and the account.
//!
//! `cargo run -p ntsim --example load -- target/drivers/debug/x86_64/example.sys …`

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    ntsim::boot(ntsim::Options::default());
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut drivers = Vec::new();
    for file in files {
        let driver = match ntsim::Driver::load(&file) {
            Ok(driver) => driver,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let status = driver.start();
        println!("{}: DriverEntry -> 0x{status:08X}", driver.image().name);
        if status >= 0 {
            drivers.push(driver);
        }
    }
    println!("while loaded:\n{}", ntsim::account());
    while let Some(driver) = drivers.pop() {
        if let Err(error) = driver.unload() {
            eprintln!("{error}");
        }
    }
    println!("{}", ntsim::trace::timeline());
    println!("at the end:\n{}", ntsim::account());
    ExitCode::SUCCESS
}
