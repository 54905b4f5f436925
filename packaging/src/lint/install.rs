//! What an installation does: its sections, services and registry values.

use std::collections::BTreeSet;

use super::{Report, Rule};
use crate::inf::{Inf, Section};

/// Sections that nothing names.
const KNOWN: &[&str] = &[
    "Version",
    "Strings",
    "SourceDisksNames",
    "SourceDisksFiles",
    "DestinationDirs",
    "Manufacturer",
    "ClassInstall32",
];
/// Directives that name sections.
const LISTS: &[&str] = &["CopyFiles", "AddReg", "DelFiles", "RenFiles", "DelReg"];
/// Directives that delete or rename.
const DELETE: &[&str] = &["DelFiles", "RenFiles", "DelReg", "DelProperty"];
/// Directives that a declarative INF does without.
const FORBIDDEN: &[&str] = &[
    "RegisterDlls",
    "UnregisterDlls",
    "UpdateInis",
    "UpdateIniFields",
    "Ini2Reg",
    "LogConfig",
    "ProfileItems",
    "BitReg",
    "CopyINF",
    "Reboot",
];

pub(super) fn check(inf: &Inf, report: &mut Report) {
    let mut named: BTreeSet<String> = KNOWN.iter().map(|name| name.to_lowercase()).collect();
    decorations(inf, report);
    for section in &inf.sections {
        let name = section.name.to_lowercase();
        if !name.starts_with("defaultinstall") && !name.starts_with("defaultuninstall") {
            continue;
        }
        named.insert(name.clone());
        for entry in &section.entries {
            let key = entry.key.as_deref().unwrap_or_default();
            let one_of = |list: &[&str]| list.iter().any(|one| one.eq_ignore_ascii_case(key));
            if one_of(DELETE) {
                report.add(Rule::Delete, entry.line, key);
            }
            if one_of(FORBIDDEN) {
                report.add(Rule::Directive, entry.line, key);
            }
            if entry.is("DelService") {
                report.add(Rule::DeleteService, entry.line, entry.value(0));
            }
            if one_of(LISTS) {
                for value in entry.values.iter().filter(|value| !value.starts_with('@')) {
                    refer(inf, value, entry.line, &mut named, report);
                }
            }
            if entry.is("AddReg") {
                registry(inf, &entry.values, report);
            }
            if entry.is("AddService") {
                if !entry.value(1).is_empty() {
                    report.add(
                        Rule::ServiceFlags,
                        entry.line,
                        format!("flags {}", entry.value(1)),
                    );
                }
                let service = refer(inf, entry.value(2), entry.line, &mut named, report);
                if let Some(service) = service {
                    check_service(inf, service, &mut named, report);
                }
            }
        }
    }
    for section in &inf.sections {
        let name = section.name.to_lowercase();
        let localised = name.starts_with("strings.");
        if !localised && !named.contains(&name) {
            report.add(
                Rule::UnusedSection,
                section.line,
                format!("nothing names {}", section.name),
            );
        }
    }
}

/// Processors are named, and there is an installation at all.
fn decorations(inf: &Inf, report: &mut Report) {
    if let Some(section) = inf.section("Manufacturer") {
        report.add(
            Rule::Decoration,
            section.line,
            "Manufacturer is for drivers of devices",
        );
    }
    let mut installs = inf
        .sections
        .iter()
        .filter(|one| one.is_install())
        .peekable();
    if installs.peek().is_none() {
        report.add(Rule::Decoration, 0, "no DefaultInstall");
    }
    for section in installs {
        let name = section.name.to_lowercase();
        let rest = name.strip_prefix("defaultinstall").unwrap_or_default();
        let decorated = [".ntamd64", ".ntarm64", ".ntx86"].iter().any(|processor| {
            rest.strip_prefix(processor)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if !decorated {
            report.add(
                Rule::Decoration,
                section.line,
                format!("{} names no processor", section.name),
            );
        }
    }
    for section in &inf.sections {
        let name = section.name.to_lowercase();
        if name.starts_with("defaultuninstall")
            && !name.ends_with(".services")
            && section
                .get("LegacyUninstall")
                .is_none_or(|entry| entry.value(0) != "1")
        {
            report.add(
                Rule::Uninstall,
                section.line,
                format!("{} without LegacyUninstall", section.name),
            );
        }
    }
}

/// Notes that a section is named, and returns it if it is there.
fn refer<'a>(
    inf: &'a Inf,
    name: &str,
    line: usize,
    named: &mut BTreeSet<String>,
    report: &mut Report,
) -> Option<&'a Section> {
    named.insert(name.to_lowercase());
    let found = inf.section(name);
    if found.is_none() {
        report.add(
            Rule::MissingSection,
            line,
            format!("there is no section {name}"),
        );
    }
    found
}

fn check_service(inf: &Inf, service: &Section, named: &mut BTreeSet<String>, report: &mut Report) {
    let accepted: [(&str, &[&str]); 3] = [
        ("ServiceType", &["1", "2", "0x1", "0x2"]),
        ("StartType", &["1", "3", "0x1", "0x3"]),
        ("ErrorControl", &["0", "1", "0x0", "0x1"]),
    ];
    for (key, values) in accepted {
        match service.get(key) {
            None => report.add(Rule::Service, service.line, format!("no {key}")),
            Some(entry) if !values.contains(&entry.value(0)) => {
                report.add(
                    Rule::Service,
                    entry.line,
                    format!("{key} = {}", entry.value(0)),
                );
            }
            Some(_) => {}
        }
    }
    match service.get("ServiceBinary") {
        None => report.add(Rule::Service, service.line, "no ServiceBinary"),
        Some(entry) => {
            let binary = entry.value(0);
            let file = binary.strip_prefix("%13%\\");
            let copied = super::files::copied(inf);
            if !file.is_some_and(|file| copied.iter().any(|one| one.eq_ignore_ascii_case(file))) {
                report.add(
                    Rule::ServiceBinary,
                    entry.line,
                    format!("{binary} is no copied file of directory 13"),
                );
            }
        }
    }
    for entry in service.all("AddReg") {
        for name in &entry.values {
            refer(inf, name, entry.line, named, report);
        }
        registry(inf, &entry.values, report);
    }
    for entry in service.all("DelReg") {
        for name in &entry.values {
            refer(inf, name, entry.line, named, report);
        }
        report.add(Rule::Delete, entry.line, "DelReg");
    }
}

/// Where values go.
fn registry(inf: &Inf, sections: &[String], report: &mut Report) {
    for entry in sections
        .iter()
        .filter_map(|name| inf.section(name))
        .flat_map(|section| &section.entries)
    {
        let (root, key) = (entry.value(0), entry.value(1).to_lowercase());
        if !root.eq_ignore_ascii_case("HKR") {
            report.add(Rule::RegistryRoot, entry.line, format!("below {root}"));
        } else if key != "parameters" && !key.starts_with("parameters\\") {
            report.add(Rule::RegistryKey, entry.line, format!("below HKR,{key}"));
        }
    }
}
