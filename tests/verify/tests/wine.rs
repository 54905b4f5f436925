//! The command on the WDM drivers of Debian's Wine: images of people who do not know this project. docs/verify.md says of each what
//! comes of it, and this says whether that is so.

#[path = "common/command.rs"]
mod command;

use command::verify;
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use tempfile::TempDir;

/// Where Debian's `libwine` has them.
const IMAGES: &str = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows";
const PAGE: &str = include_str!("../../../docs/verify.md");

/// A row of the page's table: the driver, what ntsim and everybody lack, and the result.
struct Row {
    image: String,
    lacks: String,
    result: String,
}

fn rows() -> Vec<Row> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [image, lacks, result] = cells[..] else {
            return None;
        };
        let image = image.strip_prefix('`')?.strip_suffix('`')?;
        (image.ends_with(".sys") && !image.contains(' ')).then(|| Row {
            image: image.to_owned(),
            lacks: lacks.replace('`', ""),
            result: result.replace('`', ""),
        })
    });
    rows.collect()
}

fn main() -> ExitCode {
    let there = Path::new(IMAGES).is_dir();
    let mut trials: Vec<Trial> = rows()
        .into_iter()
        .map(|row| Trial::test(row.image.clone(), move || check(&row)).with_ignored_flag(!there))
        .collect();
    trials.push(Trial::test("every driver is in the table", complete).with_ignored_flag(!there));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    if !there {
        println!("skipped: no Wine in {IMAGES} (Debian: libwine)");
    }
    conclusion.exit_code()
}

/// Images in a folder of their own: Wine's has programs of user mode beside them.
fn copies() -> Result<TempDir, Failed> {
    let folder = TempDir::new()?;
    for entry in fs::read_dir(IMAGES)?.flatten() {
        let path = entry.path();
        if path.extension() == Some("sys".as_ref()) {
            fs::copy(&path, folder.path().join(entry.file_name()))?;
        }
    }
    Ok(folder)
}

fn check(row: &Row) -> Result<(), Failed> {
    let folder = copies()?;
    let said = verify(&[folder.path().join(&row.image)])?;
    let lacks = lacking(&said.out);
    let result = told(said.result());
    if std::env::var_os("WINE_TABLE").is_some() {
        println!("| `{}` | {} | {result} |", row.image, quoted(&lacks));
        return Ok(());
    }
    let passed = said.code == Some(0);
    if lacks.join(" ") == row.lacks.replace("none", "")
        && result.replace('`', "") == row.result
        && passed == row.result.starts_with("no rule was broken")
    {
        return Ok(());
    }
    Err(format!(
        "the table says {:?}, {:?}; it is | {} | {result} |\n{}",
        row.lacks,
        row.result,
        quoted(&lacks),
        said.whole()
    )
    .into())
}

/// Routines that ntsim lacks, and modules of which nobody has all.
fn lacking(out: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in out
        .lines()
        .filter_map(|line| line.strip_prefix("imports: "))
    {
        let Some((module, lacks)) = line
            .split_once(" from ")
            .and_then(|(_, rest)| rest.split_once("; "))
        else {
            continue;
        };
        if let Some((_, routines)) = lacks
            .strip_prefix("ntsim lacks ")
            .and_then(|rest| rest.split_once(": "))
        {
            names.extend(routines.split(", ").map(str::to_owned));
        } else if lacks != "all are there" {
            names.push(format!("{module}!"));
        }
    }
    names
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        quoted.join(" ")
    }
}

/// A result without what changes with the build of the image.
fn told(result: &str) -> String {
    let import = "it needs an import that is not there";
    if let Some((_, rest)) = result.split_once("it stands for the import ") {
        let name = rest.split([',', ' ']).next().unwrap_or_default();
        return format!("{import}: `{name}`");
    }
    // Offsets and folders.
    let words: Vec<&str> = result
        .split(' ')
        .map(|word| match word.rsplit_once('/') {
            Some((_, name)) if word.starts_with('/') => name,
            _ => word.split_once("+0x").map_or(word, |(name, _)| name),
        })
        .collect();
    words.join(" ")
}

fn complete() -> Result<(), Failed> {
    let rows = rows();
    for entry in fs::read_dir(IMAGES)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sys") && !rows.iter().any(|row| row.image == name) {
            return Err(format!("docs/verify.md has no row for {name}").into());
        }
    }
    Ok(())
}
