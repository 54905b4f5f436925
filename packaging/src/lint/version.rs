//! The `Version` section and strings.

use std::collections::BTreeMap;

use super::{Report, Rule};
use crate::inf::Inf;

/// Classes a driver without a device may be of.
const CLASSES: &[(&str, &str)] = &[("NetService", "{4D36E974-E325-11CE-BFC1-08002BE10318}")];

pub(super) fn check(inf: &Inf, report: &mut Report) {
    let Some(version) = inf.section("Version") else {
        report.add(Rule::VersionComplete, 0, "no section Version");
        return;
    };
    let value = |key: &str| version.get(key).map(|entry| (entry.line, entry.value(0)));
    for key in [
        "Signature",
        "Class",
        "ClassGuid",
        "Provider",
        "DriverVer",
        "CatalogFile",
    ] {
        if value(key).is_none_or(|(_, text)| text.is_empty()) {
            report.add(Rule::VersionComplete, version.line, format!("no {key}"));
        }
    }
    if let Some((line, text)) = value("Signature")
        && !text.eq_ignore_ascii_case("$WINDOWS NT$")
    {
        report.add(Rule::Signature, line, format!("{text} is not $WINDOWS NT$"));
    }
    if let (Some((line, class)), Some((_, guid))) = (value("Class"), value("ClassGuid")) {
        let known = CLASSES
            .iter()
            .any(|(name, own)| name.eq_ignore_ascii_case(class) && own.eq_ignore_ascii_case(guid));
        if !known {
            report.add(Rule::Class, line, format!("class {class} with {guid}"));
        }
    }
    if let Some((line, text)) = value("Provider") {
        let provider = expand(inf, text);
        if provider.to_lowercase().starts_with("microsoft") {
            report.add(Rule::Provider, line, format!("the provider is {provider}"));
        }
    }
    if let Some(entry) = version.get("DriverVer")
        && let Some(wrong) = wrong_version(entry.value(0), entry.value(1))
    {
        report.add(Rule::DriverVersion, entry.line, wrong);
    }
    if let Some((line, text)) = value("CatalogFile")
        && !text.is_empty()
        && (text.contains(['\\', '/', '%']) || !text.to_lowercase().ends_with(".cat"))
    {
        report.add(
            Rule::Catalogue,
            line,
            format!("{text} is no plain name of a catalogue"),
        );
    }
    if value("PnpLockdown").is_none_or(|(_, text)| text != "1") {
        report.add(Rule::Lockdown, version.line, "PnpLockdown is not 1");
    }
    if let Some(section) = inf
        .sections
        .iter()
        .find(|section| section.name.to_lowercase().starts_with("classinstall32"))
    {
        report.add(
            Rule::ClassInstall,
            section.line,
            "the class is one of Windows",
        );
    }
}

/// What is wrong with a date `MM/DD/YYYY` and a version `w.x.y.z`.
fn wrong_version(date: &str, version: &str) -> Option<&'static str> {
    let fields: Vec<&str> = date.split('/').collect();
    let lengths: Vec<usize> = fields.iter().map(|field| field.len()).collect();
    let numbers: Option<Vec<u16>> = fields.iter().map(|field| field.parse().ok()).collect();
    let is_date = lengths == [2, 2, 4]
        && numbers.is_some_and(|numbers| {
            (1..=12).contains(&numbers[0]) && (1..=31).contains(&numbers[1]) && numbers[2] >= 1980
        });
    if !is_date {
        return Some("the date is not MM/DD/YYYY");
    }
    let parts: Option<Vec<u16>> = version.split('.').map(|part| part.parse().ok()).collect();
    match parts {
        Some(parts) if parts.len() == 4 && parts.iter().all(|part| *part <= 65534) => parts
            .iter()
            .all(|part| *part == 0)
            .then_some("the version is 0.0.0.0"),
        _ => Some("the version is not four numbers of at most 65534"),
    }
}

/// Every token has one string.
pub(super) fn strings(inf: &Inf, report: &mut Report) {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    if let Some(section) = inf.section("Strings") {
        for entry in &section.entries {
            let Some(key) = &entry.key else { continue };
            if known.insert(key.to_lowercase(), entry.line).is_some() {
                report.add(Rule::Strings, entry.line, format!("{key} is defined twice"));
            }
        }
    }
    for section in &inf.sections {
        for entry in &section.entries {
            for value in entry.values.iter().chain(&entry.key) {
                for token in tokens(value) {
                    // A number is a directory.
                    let directory = token.parse::<u32>().is_ok();
                    if !directory && !known.contains_key(&token.to_lowercase()) {
                        report.add(
                            Rule::Strings,
                            entry.line,
                            format!("%{token}% is not defined"),
                        );
                    }
                }
            }
        }
    }
}

/// What stands between percent signs; two in a row are one of the text.
fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value
        .split('%')
        .skip(1)
        .step_by(2)
        .filter(|token| !token.is_empty())
}

/// Replaces a value that is one token by its string.
fn expand(inf: &Inf, value: &str) -> String {
    let token = value
        .strip_prefix('%')
        .and_then(|rest| rest.strip_suffix('%'));
    token
        .and_then(|token| inf.section("Strings")?.get(token))
        .map_or(value, |entry| entry.value(0))
        .to_owned()
}
