//! Every command that README.md and docs/ tell of is executed, or stands in a table with the reason why not.
//!
//! [`pages`] finds the commands, [`table`] says of each what becomes of it here, [`world`] provides the server and the folders that the
//! pages take for granted. A command that is not in the table is a failure, and so is a row for a command that no page has.

use std::{
    collections::BTreeSet,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{CommandFactory as _, Parser as _};

use self::{
    pages::Found,
    table::{How, Row},
    world::World,
};
use crate::{
    Arguments, command, drivers,
    setup::{self, Purpose},
    tally::Tally,
    workspace,
};

mod pages;
mod table;
mod world;

/// How long a command may be silent. Some build first, which is silent and takes long on a slow and busy host.
const SILENCE: Duration = Duration::from_secs(1200);
/// What a script of the table ends with where this host lacks what it needs.
const NOT_HERE: i32 = 77;
/// How much of a failed command's output is shown.
const LAST_LINES: usize = 40;

/// Checks the table, then executes what it has.
pub(crate) fn check_all(tally: &mut Tally) -> Result<()> {
    let found = pages::find_all()?;
    let wrong = mistakes(&found, table::ROWS);
    for mistake in &wrong {
        tally.fail("commands of the documentation", mistake);
    }
    if wrong.is_empty() {
        tally.pass("each command of the documentation is one, and is in the table");
    }
    let before = sources();
    let world = World::start()?;
    for row in table::ROWS {
        let command = row.command;
        match row.how {
            How::Executed => execute(tally, &world, &format!("`{command}`"), command),
            How::Instead(script, why) => {
                let what = format!("`{command}`, another form of it ({why})");
                execute(tally, &world, &what, &script.replace("{}", command));
            }
            How::Done(why) | How::Never(why) => println!("     not executed: `{command}`: {why}"),
        }
    }
    if before == sources() {
        tally.pass("commands of the documentation leave the sources as they were");
    } else {
        tally.fail(
            "commands of the documentation leave the sources as they were",
            "`git status` tells of changes",
        );
    }
    Ok(())
}

/// What git says about the sources; nothing without git.
fn sources() -> Option<String> {
    command::output(
        Command::new("git")
            .args(["status", "--porcelain"])
            .current_dir(workspace::root()),
    )
}

/// What is wrong with the commands of the pages, or with the table.
fn mistakes(found: &[Found], rows: &[Row]) -> Vec<String> {
    let mut mistakes: Vec<String> = found
        .iter()
        .filter_map(|found| {
            let why = misspelt(&found.command).or_else(|| {
                let is_listed = rows.iter().any(|row| row.command == found.command);
                (found.is_whole && !is_listed)
                    .then(|| "is not in xtask/src/documented/table.rs".to_owned())
            })?;
            Some(format!("{}: `{}`: {why}", found.page, found.command))
        })
        .collect();
    let told: BTreeSet<&str> = found.iter().map(|found| found.command.as_str()).collect();
    let mut seen = BTreeSet::new();
    for row in rows {
        if !told.contains(row.command) {
            mistakes.push(format!("no page tells of `{}`", row.command));
        }
        if !seen.insert(row.command) {
            mistakes.push(format!("`{}` is in the table twice", row.command));
        }
    }
    let used: BTreeSet<&str> = told
        .iter()
        .filter_map(|command| command.strip_prefix("cargo xtask "))
        .filter_map(|command| command.split_whitespace().next())
        .collect();
    for subcommand in Arguments::command().get_subcommands() {
        if !used.contains(subcommand.get_name()) {
            mistakes.push(format!(
                "no page tells of `cargo xtask {}`",
                subcommand.get_name()
            ));
        }
    }
    mistakes
}

/// What this program, or rxcectl, has against a command line of theirs.
fn misspelt(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let of_rxcectl = |words: &[&str]| ::rxcectl::Arguments::parse(words).err();
    match words.as_slice() {
        // An example of the syntax, in which a capital word stands for what is to be put there.
        [.., last] if last.chars().all(char::is_uppercase) => None,
        // The command is named, not shown.
        ["cargo", "xtask", name] if Arguments::command().find_subcommand(name).is_some() => None,
        ["cargo", "xtask", rest @ ..] => {
            let line = std::iter::once(&"cargo xtask").chain(rest);
            if let Err(error) = Arguments::try_parse_from(line)
                && error.use_stderr()
            {
                return Some(error.to_string());
            }
            match rest {
                ["rxcectl", words @ ..] if !words.is_empty() => of_rxcectl(words),
                ["conformance", ..] => of_rxcectl(rest),
                _ => None,
            }
            .map(|problem| problem.to_string())
        }
        [
            "rxcectl" | "rxcectl.exe" | r".\clients\rxcectl.exe",
            words @ ..,
        ] => of_rxcectl(words).map(|problem| problem.to_string()),
        _ => None,
    }
}

/// Runs a script as a reader would type it, in the root of the sources.
fn execute(tally: &mut Tally, world: &World, what: &str, script: &str) {
    let started = Instant::now();
    let mut shell = Command::new("sh");
    shell
        // Whatever it writes comes here.
        .args(["-c", &format!("exec 2>&1\n{}", world.put_in(script))])
        .current_dir(workspace::root())
        .env(::evidence::DIRECTORY_VARIABLE, world.figures())
        .stdin(Stdio::null());
    // The images are what the test command has built; only commands that are there to build do it again.
    if !script.contains("xtask build") {
        shell.env(drivers::BUILT_VARIABLE, "");
    }
    let mut output = Vec::new();
    let ended = command::lines(&mut shell, SILENCE, |line| output.push(line.to_owned()));
    let what = format!("{what}, {:.1} s", started.elapsed().as_secs_f32());
    let why = match ended {
        Ok(status) if status.success() => return tally.pass(&what),
        Ok(status) if status.code() == Some(NOT_HERE) => {
            println!("NOT RUN {what}: {}", output.join(" "));
            tally.skipped += 1;
            return;
        }
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    for line in output.iter().skip(output.len().saturating_sub(LAST_LINES)) {
        println!("     {line}");
    }
    println!("     (run as: {script})");
    tally.fail(&what, &why);
}

/// `cargo xtask check-docs`: this step of the test command alone. The drivers are built as there.
pub(crate) fn run() -> Result<ExitCode> {
    setup::ensure(Purpose::All)?;
    drivers::build_all()?;
    let mut tally = Tally::default();
    check_all(&mut tally).context("the documentation")?;
    if tally.passed == 0 {
        bail!("no command was found");
    }
    Ok(tally.conclude())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(command: &str) -> Found {
        Found {
            page: "x.md".to_owned(),
            command: command.to_owned(),
            is_whole: true,
        }
    }

    #[test]
    fn the_pages_and_the_table_agree() {
        let mistakes = mistakes(&pages::find_all().unwrap(), table::ROWS);
        assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    }

    #[test]
    fn what_is_listed_nowhere_is_a_mistake_and_so_is_a_row_too_many() {
        let rows = [Row {
            command: "cargo xtask setup",
            how: How::Executed,
        }];
        let lines = mistakes(&[found("cargo xtask build")], &rows);
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(has("x.md: `cargo xtask build`: is not in"));
        assert!(has("no page tells of `cargo xtask setup`"));
        assert!(!has("no page tells of `cargo xtask build`"));
    }

    #[test]
    fn a_misspelt_option_is_a_mistake() {
        for command in [
            "cargo xtask explore --boundd 2",
            "cargo xtask tset",
            "cargo xtask conformance --jason",
            "rxcectl conformance --jason",
            r".\clients\rxcectl.exe list --sever 127.0.0.1:5640",
        ] {
            assert!(misspelt(command).is_some(), "{command}");
        }
        for command in [
            "cargo xtask explore --bound 2",
            "cargo xtask conformance --json",
            "rxcectl --help",
            "cargo xtask rxcectl COMMAND",
            "cargo test -p suites",
        ] {
            assert_eq!(misspelt(command), None, "{command}");
        }
    }
}
