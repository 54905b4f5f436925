//! The commands in the pages.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::CommandFactory as _;

use crate::{Arguments, workspace};

/// Languages of code blocks in which each line is a command.
const SHELLS: [&str; 3] = ["sh", "bat", "powershell"];
/// Languages of code blocks that hold no commands.
const OTHERS: [&str; 3] = ["text", "rust", "inf"];

/// A command, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The page.
    pub(super) page: String,
    /// The command, in one line.
    pub(super) command: String,
    /// Whether it can be typed as it stands: not so a mere subcommand with its options, or rxcectl without its path.
    pub(super) is_whole: bool,
}

/// All commands of all pages.
pub(super) fn find_all() -> Result<Vec<Found>> {
    let root = workspace::root();
    let mut paths: Vec<PathBuf> = vec![root.join("README.md"), root.join("xwdk/README.md")];
    let entries = fs::read_dir(root.join("docs")).context("docs/")?.flatten();
    let pages = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.extend(pages);
    paths.sort();
    ensure!(paths.len() > 4, "few pages: {paths:?}");
    let mut found = Vec::new();
    for path in paths {
        let name = workspace::shown(&path);
        let text = fs::read_to_string(&path).with_context(|| name.clone())?;
        found.extend(find(&name, &text)?);
    }
    Ok(found)
}

/// The commands of one page.
fn find(page: &str, text: &str) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut block: Option<&str> = None;
    let mut line_before = String::new();
    let mut prose = String::new();
    for line in text.lines() {
        match (block, line.trim().strip_prefix("```")) {
            (None, Some(language)) => {
                ensure!(
                    SHELLS.contains(&language) || OTHERS.contains(&language),
                    "{page}: a code block of the unknown language `{language}`"
                );
                block = Some(language);
            }
            (Some(_), Some(_)) => block = None,
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
            (Some(language), None) if SHELLS.contains(&language) => {
                let part = without_comment(line);
                if let Some(part) = part.strip_suffix('\\') {
                    line_before.push_str(part);
                    continue;
                }
                let command = one_line(&(std::mem::take(&mut line_before) + part));
                if !command.is_empty() {
                    found.push(whole(page, command));
                }
            }
            (Some(_), None) => {}
        }
    }
    ensure!(block.is_none(), "{page}: a code block without an end");
    let spans = prose.split('`').skip(1).step_by(2).map(one_line);
    found.extend(spans.filter_map(|span| of_span(page, span)));
    Ok(found)
}

fn whole(page: &str, command: String) -> Found {
    Found {
        page: page.to_owned(),
        command,
        is_whole: true,
    }
}

fn of_span(page: &str, span: String) -> Option<Found> {
    let mut words = span.split_whitespace();
    // Variables may come first.
    let first = words.find(|word| !word.contains('='))?;
    let second = words.next()?;
    let is_whole = first == "cargo";
    let is_short = first.starts_with("rxcectl")
        || (second.starts_with("--") && Arguments::command().find_subcommand(first).is_some());
    if is_whole {
        return Some(whole(page, span));
    }
    let command = if first.starts_with("rxcectl") {
        span
    } else {
        format!("cargo xtask {span}")
    };
    is_short.then(|| Found {
        page: page.to_owned(),
        command,
        is_whole: false,
    })
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') {
        return "";
    }
    line.split_once(" # ")
        .map_or(line, |(before, _)| before.trim_end())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(page: &str) -> Vec<(String, bool)> {
        find("x.md", page)
            .unwrap()
            .into_iter()
            .map(|found| (found.command, found.is_whole))
            .collect()
    }

    #[test]
    fn commands_are_found_in_blocks_and_spans() {
        let page = "Use `cargo\nxtask build --all`, `X=1 cargo test`, `demo --server A` or `rxcectl --help`, not `demo` or `a --b`.\n\
            ```sh\n# nothing\ncargo xtask demo -- --seed 1 # x\n\none \\\n  two\n```\n```text\nthree\n```\n";
        let expected = [
            ("cargo xtask demo -- --seed 1", true),
            ("one two", true),
            ("cargo xtask build --all", true),
            ("X=1 cargo test", true),
            ("cargo xtask demo --server A", false),
            ("rxcectl --help", false),
        ];
        let expected = expected.map(|(command, is_whole)| (command.to_owned(), is_whole));
        assert_eq!(commands(page), expected);
    }

    #[test]
    fn a_block_of_another_language_is_refused() {
        assert!(find("x.md", "```fish\nls\n```\n").is_err());
        assert!(find("x.md", "```sh\nls\n").is_err());
    }
}
