//! docs/ntsim.md against the sources: every stop that ntsim can raise is on the page, and its example is the one that runs.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/ntsim.md");
const EXAMPLE: &str = include_str!("../examples/first_steps.rs");

/// All `.rs` files below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in folder.read_dir().expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&path).expect("a source is text"));
        }
    }
    found
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let digits = text.get(..end)?.replace('_', "");
    match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// The stops that a source raises with codes that stand in it: `0xC4/0x13`, and `0xD5` where the first parameter is no code.
fn stops(source: &str) -> BTreeSet<String> {
    let mut stops = BTreeSet::new();
    let mut each = |call: &str, read: &dyn Fn(&str) -> Option<String>| {
        stops.extend(source.split(call).skip(1).filter_map(read));
    };
    each("verifier(", &|text| {
        Some(format!("0xC4/0x{:X}", number(text)?))
    });
    each("Stop::io(", &|text| {
        Some(format!("0xC9/0x{:X}", number(text)?))
    });
    each("plain(", &|text| Some(format!("0x{:X}", number(text)?)));
    // The short form of the I/O manager's files.
    each(" violation(", &|text| {
        Some(format!("0xC9/0x{:X}", number(text)?))
    });
    each("bad_mdl(call,", &|text| {
        Some(format!("0xC4/0x{:X}", number(text)?))
    });
    each("bug_check(", &|text| {
        let code = number(text)?;
        let sub = text.split_once('[').and_then(|(_, rest)| number(rest));
        match (code, sub) {
            (0xC4 | 0xC9, sub) => Some(format!("0x{code:X}/0x{:X}", sub?)),
            _ => Some(format!("0x{code:X}")),
        }
    });
    stops.extend(own_rules(source));
    stops
}

/// ntsim's own rules: the numbers of the enumeration that a source defines.
fn own_rules(source: &str) -> Vec<String> {
    let Some((_, rest)) = source.split_once("pub enum Own {") else {
        return Vec::new();
    };
    let list = rest.split('}').next().unwrap_or_default();
    list.split(" = ")
        .skip(1)
        .filter_map(|text| Some(format!("0x200000C4/0x{:X}", number(text)?)))
        .collect()
}

#[test]
fn every_stop_is_on_the_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let stops: BTreeSet<String> = sources(&folder)
        .iter()
        .flat_map(|source| stops(source))
        .collect();
    assert!(stops.len() > 80, "only {} stops were found", stops.len());
    let missing: Vec<&String> = stops
        .iter()
        .filter(|stop| !PAGE.contains(&format!("`{stop}`")) && !PAGE.contains(&format!("`{stop}/")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/ntsim.md does not tell of {missing:?}"
    );
}

#[test]
fn the_example_is_the_one_that_runs() {
    let code = EXAMPLE
        .split_once("\n\n")
        .map(|(_, code)| code)
        .expect("a module comment, then code");
    assert!(PAGE.contains(&format!("```rust\n{code}```")));
}
