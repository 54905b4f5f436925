//! Loads a driver, starts it, unloads it, and tells what it did and what it left: the example of docs/ntsim.md.

use ntsim::{Driver, Options};
use std::path::PathBuf;

fn main() -> Result<(), ntsim::Error> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    ntsim::boot(Options::default());
    let driver = Driver::load(&path)?;
    println!("DriverEntry: 0x{:08X}", driver.start());
    // A driver with a device: `let file = ntsim::File::open(r"\Device\Example")?;`, then `file.ioctl(code, input, room)`.
    driver.unload()?;
    println!("{}", ntsim::trace::timeline());
    println!("{}", ntsim::account());
    Ok(())
}
