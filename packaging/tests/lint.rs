//! Each rule of the INF linter on the project's own INF: clean as it is, and spoilt in one way, that rule and no other speaks.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use packaging::{
    lint::{Rule, lint},
    stamp::{Architecture, Stamp, encode, stamp},
};

fn product(architecture: Architecture) -> Result<String> {
    let source = include_str!("../../inf/rxce.inx");
    stamp(
        source,
        &Stamp {
            architecture,
            version: "0.1.0.0",
            time: 1_795_000_000,
            catalogue: "rxce.cat",
        },
    )
}

/// A rule, and a text of the INF with what stands there instead.
const SPOILT: &[(Rule, &str, &str)] = &[
    (
        Rule::Syntax,
        "[SourceDisksNames]",
        "[Version\r\n[SourceDisksNames]",
    ),
    (Rule::Syntax, "\"Network\"", "\"Network"),
    (Rule::VersionComplete, "CatalogFile = rxce.cat", ""),
    (Rule::VersionComplete, "Provider    = %ProviderName%", ""),
    (Rule::Signature, "$WINDOWS NT$", "$CHICAGO$"),
    (Rule::Class, "= NetService", "= System"),
    (Rule::Class, "{4D36E974-", "{4D36E975-"),
    (
        Rule::Provider,
        "\"The rxce authors\"",
        "\"Microsoft Corporation\"",
    ),
    (Rule::DriverVersion, "11/18/2026", "2026-11-18"),
    (Rule::DriverVersion, "11/18/2026", "13/18/2026"),
    (Rule::DriverVersion, ",0.1.0.0", ",0.0.0.0"),
    (Rule::DriverVersion, ",0.1.0.0", ",0.1.0.65535"),
    (Rule::Catalogue, "= rxce.cat", "= sub\\rxce.cat"),
    (Rule::Lockdown, "PnpLockdown = 1", "PnpLockdown = 0"),
    (
        Rule::ClassInstall,
        "[Strings]",
        "[ClassInstall32]\r\n[Strings]",
    ),
    (Rule::Strings, "%ServiceDesc%", "%Unknown%"),
    (
        Rule::Strings,
        "[Strings]",
        "[Strings]\r\nDiskName = \"twice\"",
    ),
    (
        Rule::MissingSection,
        "LoadOrderGroup",
        "AddReg = Nowhere\r\nLoadOrderGroup",
    ),
    (Rule::UnusedSection, "[Strings]", "[Lonely]\r\n[Strings]"),
    (
        Rule::Decoration,
        "[DefaultInstall.NTamd64.10.0...19041]",
        "[DefaultInstall]",
    ),
    (Rule::Decoration, "[Strings]", "[Manufacturer]\r\n[Strings]"),
    (
        Rule::Uninstall,
        "[Strings]",
        "[DefaultUninstall.NTamd64]\r\n[Strings]",
    ),
    (
        Rule::Delete,
        "CopyFiles = Rxce",
        "DelFiles = Rxce.DriverFiles\r\nCopyFiles = Rxce",
    ),
    (
        Rule::DeleteService,
        "AddService = ",
        "DelService = rxce\r\nAddService = ",
    ),
    (
        Rule::Directive,
        "CopyFiles = Rxce",
        "Reboot = 1\r\nCopyFiles = Rxce",
    ),
    (
        Rule::RegistryRoot,
        "LoadOrderGroup",
        "AddReg = R\r\n[R]\r\nHKLM,Software,x,,1\r\n[Rxce.Service]\r\nLoadOrderGroup",
    ),
    (
        Rule::RegistryKey,
        "LoadOrderGroup",
        "AddReg = R\r\n[R]\r\nHKR,NetworkProvider,x,,1\r\n[Rxce.Service]\r\nLoadOrderGroup",
    ),
    (
        Rule::Destination,
        "Rxce.DriverFiles = 13",
        "Rxce.DriverFiles = 12",
    ),
    (
        Rule::Rename,
        "[Rxce.DriverFiles]\r\nrxce.sys",
        "[Rxce.DriverFiles]\r\nrxce.sys,other.sys",
    ),
    (Rule::Source, "rxce.sys = 1,,", "rxce.sys = 2,,"),
    (Rule::Source, "rxce.sys = 1,,", ""),
    (
        Rule::SourceCatalogue,
        "rxce.sys = 1,,",
        "rxce.sys = 1,,\r\nrxce.cat = 1,,",
    ),
    (Rule::ServiceFlags, "rxce,,Rxce", "rxce,2,Rxce"),
    (Rule::Service, "StartType      = 3", "StartType      = 0"),
    (Rule::Service, "ErrorControl   = 1", ""),
    (Rule::ServiceBinary, "%13%\\rxce.sys", "%12%\\rxce.sys"),
    (Rule::ServiceBinary, "%13%\\rxce.sys", "%13%\\other.sys"),
];

fn rules(file: &[u8]) -> BTreeSet<Rule> {
    lint(file).iter().map(|finding| finding.rule).collect()
}

#[test]
fn the_products_inf_is_clean() -> Result<()> {
    for architecture in [Architecture::X64, Architecture::Arm64] {
        let found = lint(&encode(&product(architecture)?));
        assert!(found.is_empty(), "{found:?}");
    }
    Ok(())
}

#[test]
fn each_rule_speaks_alone() -> Result<()> {
    let text = product(Architecture::X64)?;
    let mut shown = BTreeSet::new();
    for (rule, from, to) in SPOILT {
        let spoilt = text.replacen(from, to, 1);
        ensure!(spoilt != text, "{rule:?}: the INF has no {from}");
        let found = rules(&encode(&spoilt));
        assert_eq!(found, BTreeSet::from([*rule]), "{from} -> {to}");
        shown.insert(*rule);
    }
    let unix = encode(&text.replace("\r\n", "\n"));
    assert_eq!(rules(&unix), BTreeSet::from([Rule::LineEnds]));
    let utf8 = text.replace("authors", "authörs").into_bytes();
    assert_eq!(rules(&utf8), BTreeSet::from([Rule::Encoding]));
    shown.extend([Rule::LineEnds, Rule::Encoding]);
    let silent: Vec<Rule> = Rule::ALL
        .into_iter()
        .filter(|rule| !shown.contains(rule))
        .collect();
    assert!(silent.is_empty(), "never shown to fire: {silent:?}");
    Ok(())
}

#[test]
fn ascii_will_do() -> Result<()> {
    let text = product(Architecture::X64)?;
    let file = text.as_bytes();
    ensure!(lint(file).is_empty());
    lint(&file[..20])
        .first()
        .context("a part of an INF is wrong")?;
    Ok(())
}
