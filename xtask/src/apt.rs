//! Debian's package manager.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command;

/// `apt-get` with these arguments, as root.
pub(crate) fn get(arguments: &[&str]) -> Result<Command> {
    let Some(prefix) = privilege() else {
        bail!("`apt-get {}` needs root", arguments.join(" "));
    };
    let words: Vec<&str> = prefix
        .iter()
        .copied()
        .chain(["apt-get"])
        .chain(arguments.iter().copied())
        .collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    Ok(command)
}

/// The words that make a command run as root: none for root itself. Nothing if it cannot.
pub(crate) fn privilege() -> Option<&'static [&'static str]> {
    if command::output(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Some(&[]);
    }
    command::output(Command::new("sudo").args(["-n", "true"])).map(|_| ["sudo", "-n"].as_slice())
}
