//! Runs of cargo whose images are put where everything else looks for them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result};
use cargo_metadata::{CrateType, Message};

use crate::{command, workspace};

/// Runs a cargo that builds; what it linked, by package, and how it ended.
pub(crate) fn link(mut cargo: Command) -> Result<(BTreeMap<String, PathBuf>, ExitStatus)> {
    let mut child = cargo
        .args(["--keep-going", "--message-format=json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", command::typed(&cargo)))?;
    let output = child.stdout.take().context("cargo has no output")?;
    let built = linked_images(BufReader::new(output))?;
    let status = child.wait().context("cannot wait for cargo")?;
    Ok((built, status))
}

/// Reads cargo's messages: target name → the DLL or the program it linked.
fn linked_images(output: impl Read) -> Result<BTreeMap<String, PathBuf>> {
    let mut images = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's messages")?
        else {
            continue;
        };
        let is_image = |kind: &CrateType| matches!(kind, CrateType::CDyLib | CrateType::Bin);
        if !artifact.target.crate_types.iter().any(is_image) {
            continue;
        }
        let image = artifact
            .filenames
            .iter()
            .find(|file| matches!(file.extension(), Some("dll" | "exe")));
        if let Some(image) = image {
            images.insert(
                artifact.target.name.clone(),
                image.clone().into_std_path_buf(),
            );
        }
    }
    Ok(images)
}

/// Puts `NAME.sys` or `NAME.exe`, and `NAME.pdb` in place.
pub(crate) fn publish(name: &str, image: &Path, destination: &Path) -> Result<()> {
    fs::create_dir_all(destination)
        .with_context(|| format!("cannot create {}", destination.display()))?;
    let extension = match image.extension() {
        Some(exe) if exe == "exe" => "exe",
        _ => "sys",
    };
    for (from, extension) in [
        (image.to_path_buf(), extension),
        (image.with_extension("pdb"), "pdb"),
    ] {
        let to = destination.join(name).with_extension(extension);
        if replace(&from, &to)? && extension != "pdb" {
            println!("  -> {}", workspace::shown(&to));
        }
    }
    Ok(())
}

/// Copies a file unless it is the same already. A reader sees the old file or the new one, never a part.
fn replace(from: &Path, to: &Path) -> Result<bool> {
    let contents = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == contents) {
        return Ok(false);
    }
    let part = to.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, contents).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(true)
}
