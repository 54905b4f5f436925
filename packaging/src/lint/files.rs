//! Files: where they come from and where they go.

use super::{Report, Rule};
use crate::inf::{Entry, Inf};

/// The lists of files to copy, by name.
fn copy_lists(inf: &Inf) -> impl Iterator<Item = (&Entry, &str)> {
    inf.sections
        .iter()
        .filter(|section| section.is_install())
        .flat_map(|section| section.all("CopyFiles"))
        .flat_map(|entry| entry.values.iter().map(move |name| (entry, name.as_str())))
}

/// The names of all files that are copied.
pub(crate) fn copied(inf: &Inf) -> Vec<&str> {
    copy_lists(inf)
        .flat_map(|(_, name)| match name.strip_prefix('@') {
            Some(file) => vec![file],
            None => inf.section(name).map_or_else(Vec::new, |section| {
                section.entries.iter().map(|entry| entry.value(0)).collect()
            }),
        })
        .collect()
}

pub(super) fn check(inf: &Inf, report: &mut Report) {
    let directories = inf.section("DestinationDirs");
    for (entry, name) in copy_lists(inf) {
        let directory = directories
            .and_then(|section| section.get(name).or_else(|| section.get("DefaultDestDir")));
        let is_13 = directory.is_some_and(|entry| entry.value(0) == "13");
        if !is_13 {
            report.add(
                Rule::Destination,
                directory.map_or(entry.line, |entry| entry.line),
                format!("{name} does not go to directory 13"),
            );
        }
        for file in inf
            .section(name)
            .map_or(&[][..], |section| &section.entries)
        {
            let source = file.value(1);
            if !source.is_empty() && !source.eq_ignore_ascii_case(file.value(0)) {
                report.add(
                    Rule::Rename,
                    file.line,
                    format!("{source} becomes {}", file.value(0)),
                );
            }
        }
        sources(inf, entry.line, report);
    }
    if let Some(section) = inf.section("SourceDisksFiles") {
        for entry in &section.entries {
            let name = entry.key.as_deref().unwrap_or_default().to_lowercase();
            if name.ends_with(".cat") || name.ends_with(".inf") {
                report.add(Rule::SourceCatalogue, entry.line, name);
            }
        }
    }
}

fn sources(inf: &Inf, line: usize, report: &mut Report) {
    for file in copied(inf) {
        let source = inf
            .section("SourceDisksFiles")
            .and_then(|section| section.get(file));
        let Some(source) = source else {
            report.add(
                Rule::Source,
                line,
                format!("{file} is not in SourceDisksFiles"),
            );
            continue;
        };
        let disk = source.value(0);
        let known = inf
            .section("SourceDisksNames")
            .is_some_and(|section| section.get(disk).is_some());
        if !known {
            report.add(
                Rule::Source,
                source.line,
                format!("there is no disk {disk}"),
            );
        }
    }
}
