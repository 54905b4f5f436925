//! README and docs/ against the tree: links lead somewhere, tables say what there is. Their commands are executed by the test command
//! (xtask/src/documented.rs).

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

/// The text between two marks, wherever it stands in a text.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before)
        .skip(1)
        .filter_map(move |rest| rest.split(after).next())
}

/// All Rust files below a folder, as text.
fn sources(folder: &Path) -> Vec<String> {
    let entries = folder
        .read_dir()
        .expect("a folder of the project")
        .flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                return sources(&path);
            }
            let is_rust = path.extension().is_some_and(|ending| ending == "rs");
            let text = is_rust.then(|| std::fs::read_to_string(&path).expect("Rust is text"));
            Vec::from_iter(text)
        })
        .collect()
}

#[test]
fn every_pool_tag_of_the_driver_is_in_the_list_for_debuggers_and_no_other() {
    let sources = sources(&root().join("src"));
    let mut used: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| between(source, "Tag::new(*b\"", "\""))
        .collect();
    assert!(used.len() > 10, "few tags: {used:?}");
    // The tag of `wdk-alloc`, which is linked in.
    used.insert("rust");
    let list = std::fs::read_to_string(root().join("inf/pooltag.txt")).expect("the list is text");
    let entries = list
        .lines()
        .filter(|line| !line.starts_with("rem ") && !line.is_empty());
    let mut listed = BTreeSet::new();
    for entry in entries {
        let fields: Vec<&str> = entry.splitn(3, " - ").map(str::trim).collect();
        let [tag, binary, description] = fields[..] else {
            panic!("not `tag - binary - description`: {entry}");
        };
        assert!(
            tag.len() == 4 && binary == "rxce.sys" && !description.is_empty(),
            "{entry}"
        );
        assert!(listed.insert(tag), "{tag} is there twice");
    }
    assert_eq!(listed, used);
}

#[test]
fn every_event_of_the_driver_is_in_the_list_with_its_values_and_no_other() {
    let source = std::fs::read_to_string(root().join("src/trace/mod.rs")).expect("Rust is text");
    let source = source.split("\nevents! {").nth(1).expect("the events");
    // `Life "Name" function(value: TYPE, …);`
    let made: BTreeSet<(&str, Vec<&str>)> = source
        .split("\n    ///")
        .filter_map(|event| {
            let event = event.split(")]\n").last()?;
            let (name, rest) = event.split_once('"')?.1.split_once('"')?;
            let arguments = rest.split_once('(')?.1.split_once(')')?.0.split(',');
            let values = arguments.filter_map(|argument| Some(argument.split_once(':')?.0.trim()));
            Some((name, values.collect()))
        })
        .collect();
    assert!(made.len() > 10, "few events: {made:?}");
    let page = std::fs::read_to_string(root().join("docs/tracing.md")).expect("a page is text");
    let listed: BTreeSet<(&str, Vec<&str>)> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
            let [name, _, values, _] = cells[..] else {
                return None;
            };
            Some((
                name.trim_end_matches('`'),
                between(values, "`", "`").step_by(2).collect(),
            ))
        })
        .collect();
    assert_eq!(listed, made);
}
