//! The servers of the suite of real peers: taken from Debian's packages and unpacked below `target/`. They are not
//! installed, so that no service starts, and no root is needed where apt's lists are there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{apt, command, workspace};

/// Packages of Debian 12, and the program in each.
const SERVERS: [(&str, &str); 3] = [
    ("xinetd", "usr/sbin/xinetd"),
    ("memcached", "usr/bin/memcached"),
    ("webfs", "usr/bin/webfsd"),
];

/// Where they are unpacked.
fn root() -> PathBuf {
    workspace::root().join("target/peers")
}

fn missing() -> Vec<&'static str> {
    let is_there = |program: &str| {
        [root().as_path(), Path::new("/")]
            .iter()
            .any(|root| root.join(program).is_file())
    };
    SERVERS
        .into_iter()
        .filter(|(_, program)| !is_there(program))
        .map(|(package, _)| package)
        .collect()
}

/// Unpacks what is missing, and returns the number of packages that were asked for.
pub(crate) fn ensure() -> Result<usize> {
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(0);
    }
    println!(
        "missing: servers to test against; unpacking from Debian's archive: {}",
        wanted.join(" ")
    );
    let archives = root().join("archives");
    fs::create_dir_all(archives.join("partial"))
        .with_context(|| format!("cannot create {}", archives.display()))?;
    if let Err(error) = download(&wanted, &archives) {
        // Apt's lists may be absent or old.
        apt::get(&["update", "-q"])
            .and_then(|mut update| command::run(&mut update))
            .with_context(|| format!("after: {error:#}"))?;
        download(&wanted, &archives)?;
    }
    for entry in fs::read_dir(&archives)?.flatten() {
        let package = entry.path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            command::run(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&package)
                    .arg(root()),
            )?;
        }
    }
    match missing().as_slice() {
        [] => Ok(wanted.len()),
        still => bail!("not unpacked: {}; see docs/building.md", still.join(" ")),
    }
}

/// Downloads packages, with those they depend on and the host lacks.
fn download(packages: &[&str], archives: &Path) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--download-only", "-y", "-qq"])
        .args([
            "--no-install-recommends",
            "-o",
            "Debug::NoLocking=true",
            "-o",
        ])
        .arg(format!("Dir::Cache::archives={}/", archives.display()))
        .args(packages);
    command::run(&mut apt)
}
