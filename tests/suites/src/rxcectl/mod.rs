//! The rooms of `rxcectl-ntsim`.
//!
//! ```text
//! session   boot, drivers, the command, the account
//! ```

mod session;

use std::{env, path::PathBuf, process::ExitCode};

/// Names the folder of the driver images. `cargo xtask` sets it.
const IMAGES: &str = "RXCECTL_IMAGES";

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let images = env::var_os(IMAGES).map(PathBuf::from);
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match session::run(images.as_deref(), &arguments) {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("rxcectl-ntsim: {error:#}");
            ExitCode::FAILURE
        }
    }
}
