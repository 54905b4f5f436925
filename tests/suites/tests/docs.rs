//! README and docs/ against the tree: commands exist and take the options shown, links lead somewhere.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages, by name.
fn pages() -> Vec<(String, String)> {
    let docs = root().join("docs");
    let mut paths = vec![root().join("README.md"), root().join("xwdk/README.md")];
    let entries = docs.read_dir().expect("docs/ is there").flatten();
    paths.extend(
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    assert!(paths.len() > 4, "few pages: {paths:?}");
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap_or(path);
            let text = std::fs::read_to_string(path).expect("a page is text");
            (name.display().to_string(), text)
        })
        .collect()
}

/// Code of a page.
struct Code {
    /// Lines of code blocks.
    lines: Vec<String>,
    /// What stands in code spans.
    spans: Vec<String>,
}

fn code(page: &str) -> Code {
    let mut lines = Vec::new();
    let mut block = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if block {
            lines.push(line.trim().to_owned());
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    assert!(!block, "a code block without an end");
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    Code {
        lines,
        spans: spans.collect(),
    }
}

/// Words of the `cargo xtask` commands of a page: subcommand first. A span that begins with a subcommand and has options
/// counts too.
fn commands(page: &str, subcommands: &BTreeSet<String>) -> Vec<Vec<String>> {
    let is_short = |span: &&str| {
        let mut words = span.split_whitespace();
        words.next().is_some_and(|word| subcommands.contains(word))
            && words.next().is_some_and(|word| word.starts_with("--"))
    };
    let Code { lines, spans } = code(page);
    let long = lines
        .iter()
        .chain(&spans)
        .filter_map(|text| text.strip_prefix("cargo xtask "));
    let short = spans.iter().map(String::as_str).filter(is_short);
    long.chain(short)
        .map(|command| {
            let command = command.split(['#', ';', '&']).next().unwrap_or_default();
            command.split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}

/// What a command of xtask says to `arguments`.
fn xtask(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .arg("xtask")
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo xtask {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn subcommands() -> BTreeSet<String> {
    let help = xtask(&["help"]);
    let (_, list) = help.split_once("Commands:").expect("a list of commands");
    list.lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Options (`--name`, `-n`) that a help text lists.
fn options(help: &str) -> BTreeSet<String> {
    help.split_whitespace()
        .map(|word| word.trim_end_matches(','))
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .map(str::to_owned)
        .collect()
}

#[test]
fn commands_exist_and_take_their_options() {
    let subcommands = subcommands();
    let mut own: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .arg("--help")
        .output()
        .expect("the demo runs");
    let passed_on = options(&String::from_utf8_lossy(&demo.stdout));
    let mut used = BTreeSet::new();
    for (name, page) in pages() {
        for command in commands(&page, &subcommands) {
            let (subcommand, arguments) = command.split_first().expect("a subcommand");
            assert!(
                subcommands.contains(subcommand),
                "{name}: there is no `cargo xtask {subcommand}`"
            );
            used.insert(subcommand.clone());
            let known = own
                .entry(subcommand.clone())
                .or_insert_with(|| options(&xtask(&[subcommand, "--help"])));
            let separator = arguments.iter().position(|argument| argument == "--");
            let (before, after) = arguments.split_at(separator.unwrap_or(arguments.len()));
            for option in before.iter().filter(|option| option.starts_with('-')) {
                assert!(
                    known.contains(option),
                    "{name}: `{}`: no option {option}",
                    command.join(" ")
                );
            }
            for option in after
                .iter()
                .skip(1)
                .filter(|option| option.starts_with('-'))
            {
                assert!(
                    subcommand == "demo" && passed_on.contains(option),
                    "{name}: `{}`: no option {option} after --",
                    command.join(" ")
                );
            }
        }
    }
    let untold: Vec<&String> = subcommands
        .iter()
        .filter(|subcommand| *subcommand != "help" && !used.contains(*subcommand))
        .collect();
    assert!(untold.is_empty(), "no page tells of cargo xtask {untold:?}");
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for (name, page) in pages() {
        let path = root().join(&name);
        let folder = path.parent().expect("a page is in a folder");
        for rest in page.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            links += 1;
            assert!(
                folder.join(target).exists(),
                "{name}: {target} is not there"
            );
        }
    }
    assert!(links > 5, "only {links} links were found");
}

#[test]
fn rooms_of_the_readme_exist() {
    let pages = pages();
    let (_, readme) = pages.first().expect("the README");
    let rooms: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(rooms.len() > 5, "few rooms: {rooms:?}");
    for room in rooms {
        assert!(root().join(room).exists(), "README.md: {room} is not there");
    }
}

#[test]
fn commands_are_found_in_spans_and_blocks() {
    let known = BTreeSet::from(["demo".to_owned()]);
    let page = "Use `cargo xtask build --all` or `demo --server A`, not `demo`.\n```sh\ncargo xtask demo -- --seed 1 # x\n```\n";
    let found: Vec<String> = commands(page, &known)
        .iter()
        .map(|words| words.join(" "))
        .collect();
    assert_eq!(
        found,
        ["demo -- --seed 1", "build --all", "demo --server A"]
    );
}

/// Cells of the rows of a table whose first cell is a race.
fn races(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| R"))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .filter(|cells| {
            cells
                .first()
                .is_some_and(|name| name[1..].parse::<u32>().is_ok())
        })
        .collect()
}

#[test]
fn races_are_run_where_the_page_says() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a file is text");
    let page = read("docs/races.md");
    let conformance = read("docs/conformance.md");
    let pairs = read("engine/tests/circuit/pairs.rs");
    let exhaustive = read("engine/tests/exhaustive.rs");
    let races = races(&page);
    let numbers: Vec<String> = (1..=15).map(|number| format!("R{number}")).collect();
    let named: Vec<&str> = races.iter().map(|cells| cells[0]).collect();
    assert_eq!(named, numbers, "a row for each race");
    for cells in &races {
        let [race, _, pair, all, vectors, storm] = cells[..] else {
            panic!("a row of another shape: {cells:?}");
        };
        let in_pairs = pairs.contains(&format!("between(\"{race}\""));
        assert_eq!(pair == "yes", in_pairs, "{race} in pairs.rs");
        let orders: Vec<&str> = exhaustive
            .split(&format!("\"{race}, "))
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let told: Vec<&str> = all
            .split("; ")
            .filter(|order| !["no", "too many"].contains(order))
            .collect();
        assert_eq!(
            told.iter().collect::<BTreeSet<_>>(),
            orders.iter().collect::<BTreeSet<_>>(),
            "{race} in exhaustive.rs"
        );
        for vector in vectors.split(", ").filter(|vector| *vector != "none") {
            assert!(
                conformance.contains(&format!("\n| {vector} | ")),
                "{race}: there is no vector {vector}"
            );
        }
        let flags = ["plain", "none", "ERRORS", "STUCK"];
        assert!(flags.contains(&storm), "{race}: no storm {storm}");
    }
}
