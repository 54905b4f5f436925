//! The scripts for the VM, the guide that tells how to use them, and the forge's workflow.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use windows_files::{
    markdown::{self, Block},
    powershell::{Command, Script},
    reviewed, workflow,
};

const GUIDE: &str = "docs/windows-vm.md";
/// The other page with commands for Windows.
const TRACING: &str = "docs/tracing.md";
const WORKFLOW: &str = ".github/workflows/ci.yml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Name and text of each script.
fn scripts() -> Result<Vec<(String, String)>> {
    let mut scripts = Vec::new();
    for entry in fs::read_dir(root().join("scripts/windows"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy();
        scripts.push((name.into_owned(), fs::read_to_string(&path)?));
    }
    scripts.sort();
    ensure!(scripts.len() >= 7, "scripts are missing");
    Ok(scripts)
}

/// What a call may be besides a reviewed command: a function of `Common.ps1`, or a script.
type Known = Vec<(String, Vec<String>)>;

fn known() -> Result<Known> {
    let mut known = Vec::new();
    for (name, text) in scripts()? {
        let script = Script::parse(&text)?;
        known.extend(script.functions());
        if name != "Common.ps1" {
            known.push((name, script.parameters()));
        }
    }
    Ok(known)
}

/// What is wrong with a text of PowerShell.
fn findings(text: &str, known: &Known) -> Result<Vec<String>> {
    let script = Script::parse(text)?;
    let mut findings = script.errors();
    for command in script.commands() {
        findings.extend(
            finding(&command, known)
                .err()
                .map(|why| format!("line {}: {why:#}", command.line)),
        );
    }
    Ok(findings)
}

fn finding(command: &Command, known: &Known) -> Result<()> {
    match command.name.as_str() {
        // Loads Common.ps1; runs what `Invoke-Program` is given, which is looked at where it is given.
        name if name.starts_with("(Join-Path") => return Ok(()),
        "$Program" => return Ok(()),
        "$rxcectl" | "rxcectl.exe" => return rxcectl(command),
        _ => {}
    }
    if let Some((_, parameters)) = known.iter().find(|(name, _)| *name == command.name) {
        for parameter in &command.parameters {
            ensure!(
                parameters.contains(parameter),
                "{} has no parameter {parameter}",
                command.name
            );
        }
        if command.name == "Invoke-Program" {
            let (program, arguments) = command.texts.split_first().context("which program?")?;
            return program_takes(program, arguments);
        }
        return Ok(());
    }
    if command.name.contains('.') {
        return program_takes(&command.name, &command.words);
    }
    let reviewed = reviewed::find(&command.name)
        .with_context(|| format!("{} is not reviewed", command.name))?;
    for parameter in &command.parameters {
        ensure!(
            reviewed.takes(parameter),
            "{} {parameter} is not reviewed",
            command.name
        );
    }
    Ok(())
}

/// Words that look like options are options of the program.
fn program_takes(program: &str, words: &[String]) -> Result<()> {
    let reviewed = reviewed::find(program).with_context(|| format!("{program} is not reviewed"))?;
    for word in words {
        if word.starts_with(['/', '-']) {
            ensure!(reviewed.takes(word), "{program} {word} is not reviewed");
        }
    }
    Ok(())
}

/// rxcectl's own parser decides; a variable stands for a number.
fn rxcectl(command: &Command) -> Result<()> {
    let mut words: Vec<&str> = Vec::new();
    for word in &command.words {
        words.push(word);
        if ["--repeat", "--count", "--uid"].contains(&word.as_str()) {
            words.push("1");
        }
    }
    match rxcectl::Arguments::parse(&words) {
        Ok(_) => Ok(()),
        Err(problem) => bail!("rxcectl {words:?}: {problem:?}"),
    }
}

#[test]
fn scripts_are_powershell_and_call_what_there_is() -> Result<()> {
    let known = known()?;
    for (name, text) in scripts()? {
        let found = findings(&text, &known)?;
        assert!(found.is_empty(), "{name}: {found:#?}");
        assert!(
            text.is_ascii(),
            "{name}: Windows PowerShell takes it for ANSI"
        );
    }
    Ok(())
}

/// Each is a way in which a script could be wrong, planted in one that is right.
#[test]
fn what_is_wrong_in_a_script_is_found() -> Result<()> {
    let known = known()?;
    let (_, text) = scripts()?
        .into_iter()
        .find(|(name, _)| name == "Install-Rxce.ps1")
        .context("Install-Rxce.ps1")?;
    for (from, to) in [
        ("}\nWrite-Host", "\nWrite-Host"),
        ("'clients'", "'clients"),
        ("Start-Sleep -Seconds", "Start-Sleep -Second"),
        ("Copy-Item -Path", "Copy-Itm -Path"),
        ("Test-DriverService -Name", "Test-DriverService -Title"),
        ("'pnputil.exe'", "'pnputl.exe'"),
        ("'/install'", "'/instal'"),
        ("foreach ($file in $files)", "foreach $file in $files"),
    ] {
        let wrong = text.replacen(from, to, 1);
        ensure!(wrong != text, "the script has no {from}");
        let found = findings(&wrong, &known)?;
        assert!(!found.is_empty(), "{from} -> {to} is not found");
    }
    Ok(())
}

#[test]
fn the_guides_commands_are_right() -> Result<()> {
    let (known, page) = (known()?, read(GUIDE)?);
    for (name, fewest) in [(GUIDE, 8), (TRACING, 1)] {
        let page = read(name)?;
        let blocks: Vec<Block> = markdown::blocks(&page)
            .into_iter()
            .filter(|block| block.language == "powershell")
            .collect();
        ensure!(blocks.len() >= fewest, "{name} has few blocks");
        for block in &blocks {
            let found = findings(&block.text, &known)?;
            assert!(found.is_empty(), "{name}, line {}: {found:#?}", block.line);
        }
    }
    // Each script is used, and each step says what success looks like.
    for (name, _) in scripts()? {
        ensure!(
            name == "Common.ps1" || page.contains(&name),
            "{name} is nowhere"
        );
    }
    for step in page.split("\n## ").skip(1) {
        let title = step.lines().next().unwrap_or_default();
        if step.contains("```powershell") {
            ensure!(step.contains("**Success:**"), "{title}: what is success?");
        }
    }
    Ok(())
}

/// What a script prints at its end is what the guide promises.
#[test]
fn the_guide_promises_what_the_scripts_print() -> Result<()> {
    let (page, scripts) = (read(GUIDE)?, scripts()?);
    for word in [
        "READY:",
        "INSTALLED:",
        "PASSED:",
        "SET:",
        "SAVED:",
        "REMOVED:",
    ] {
        ensure!(page.contains(word), "the guide does not promise {word}");
        ensure!(
            scripts
                .iter()
                .any(|(_, text)| text.contains(&format!("'{word}"))
                    || text.contains(&format!("\"{word}"))),
            "no script prints {word}"
        );
    }
    Ok(())
}

#[test]
fn the_workflow_is_one() -> Result<()> {
    for run in workflow::check(&read(WORKFLOW)?)? {
        // The forge replaces its expressions before a shell sees them.
        let script = run.script.replace("${{", "$(").replace("}}", ")");
        match run.shell.as_str() {
            "sh" => ensure!(is_shell(&script)?, "no shell script: {script}"),
            "pwsh" => {
                let parsed = Script::parse(&script)?;
                ensure!(
                    parsed.errors().is_empty(),
                    "{:?}: {script}",
                    parsed.errors()
                );
            }
            other => bail!("who runs {other}?"),
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_in_a_workflow_is_found() -> Result<()> {
    let text = read(WORKFLOW)?;
    for (from, to) in [
        ("runs-on: ubuntu", "run-on: ubuntu"),
        ("timeout-minutes: 90", "timeout: 90"),
        ("actions/checkout@v4", "actions/checkout"),
        ("matrix.flow }}\n    # This", "matrix.flaw }}\n    # This"),
        ("steps:\n      - name: What", "steps:\n      name: What"),
        ("on:\n  push:\n", "on:\n  pushed:\n"),
        (
            "  windows:\n    name:",
            "  windows:\n    needs: lunix\n    name:",
        ),
        (
            "        run: cargo xtask test\n",
            "        runs: cargo xtask test\n",
        ),
    ] {
        let wrong = text.replacen(from, to, 1);
        ensure!(wrong != text, "the workflow has no {from:?}");
        assert!(workflow::check(&wrong).is_err(), "{from:?} -> {to:?}");
    }
    ensure!(!is_shell("if true; then")?);
    Ok(())
}

/// Whether the shell understands a script; it runs nothing of it.
fn is_shell(script: &str) -> Result<bool> {
    let status = Process::new("sh")
        .args(["-n", "-c", script])
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}
