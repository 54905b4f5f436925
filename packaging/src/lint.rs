//! Rules for the INF of a primitive driver, most of them InfVerif's. Such a driver is installed by `DefaultInstall` and belongs to no
//! device.
//!
//! Rules have names here; the numbers are InfVerif's, where they are known. InfVerif itself runs on Windows only: a clean report here
//! is needed, not enough.

use std::fmt;

use crate::inf::Inf;

mod files;
mod install;
mod version;

/// What an INF must observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// UTF-16LE with a mark or ASCII (1003).
    Encoding,
    /// Lines end with CR LF (1003).
    LineEnds,
    /// Every line can be read.
    Syntax,
    /// `Signature`, `Class`, `ClassGuid`, `Provider`, `DriverVer` and `CatalogFile` are there.
    VersionComplete,
    /// `Signature` is `$WINDOWS NT$`.
    Signature,
    /// `Class` and `ClassGuid` belong together, and drivers may use the class (1280, 1281).
    Class,
    /// The provider is not Microsoft (1204).
    Provider,
    /// `DriverVer` is a date and a version.
    DriverVersion,
    /// `CatalogFile` is a plain file name.
    Catalogue,
    /// `PnpLockdown` is 1 (1324).
    Lockdown,
    /// No `ClassInstall32` for a class that Windows defines (1285).
    ClassInstall,
    /// Every `%token%` is in `Strings`, and once.
    Strings,
    /// Every section that is named is there.
    MissingSection,
    /// Every section is named (2083).
    UnusedSection,
    /// `DefaultInstall` is there, with a processor, and there is no `Manufacturer`.
    Decoration,
    /// `DefaultUninstall` only with `LegacyUninstall` (1422).
    Uninstall,
    /// Nothing is deleted or renamed (1300 family).
    Delete,
    /// No `DelService` (1308).
    DeleteService,
    /// Nothing that changes other files or settings: `RegisterDlls`, `UpdateInis`, `LogConfig` and the like.
    Directive,
    /// Nothing below `HKLM` and the other roots (1320, 1321).
    RegistryRoot,
    /// `HKR` only below `Parameters` (1323).
    RegistryKey,
    /// Files go to directory 13 (1322).
    Destination,
    /// Files keep their names (1100).
    Rename,
    /// Every copied file is in `SourceDisksFiles`, on a disk of `SourceDisksNames`.
    Source,
    /// The catalogue and INFs are not in `SourceDisksFiles` (1213).
    SourceCatalogue,
    /// `AddService` has no flags: they are for devices.
    ServiceFlags,
    /// A service has its type, start, error control and binary, with values a driver may have.
    Service,
    /// The binary is in directory 13, and copied (2084, 2085).
    ServiceBinary,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::Encoding,
        Self::LineEnds,
        Self::Syntax,
        Self::VersionComplete,
        Self::Signature,
        Self::Class,
        Self::Provider,
        Self::DriverVersion,
        Self::Catalogue,
        Self::Lockdown,
        Self::ClassInstall,
        Self::Strings,
        Self::MissingSection,
        Self::UnusedSection,
        Self::Decoration,
        Self::Uninstall,
        Self::Delete,
        Self::DeleteService,
        Self::Directive,
        Self::RegistryRoot,
        Self::RegistryKey,
        Self::Destination,
        Self::Rename,
        Self::Source,
        Self::SourceCatalogue,
        Self::ServiceFlags,
        Self::Service,
        Self::ServiceBinary,
    ];
}

/// A rule that is not observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// Where, from 1; 0 for the file.
    pub line: usize,
    /// Why.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}: {:?}: {}",
            self.line, self.rule, self.what
        )
    }
}

/// Collects findings.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, rule: Rule, line: usize, what: impl Into<String>) {
        self.0.push(Finding {
            rule,
            line,
            what: what.into(),
        });
    }
}

/// Reads an INF file and returns what is wrong with it.
#[must_use]
pub fn lint(file: &[u8]) -> Vec<Finding> {
    let mut report = Report::default();
    let Some(text) = decode(file) else {
        report.add(
            Rule::Encoding,
            0,
            "neither UTF-16LE with a byte order mark nor ASCII",
        );
        return report.0;
    };
    let plain = text.replace("\r\n", "");
    if plain.contains(['\r', '\n']) {
        report.add(Rule::LineEnds, 0, "a line does not end with CR LF");
    }
    let inf = Inf::parse(&text);
    for malformed in &inf.malformed {
        report.add(Rule::Syntax, malformed.line, malformed.what);
    }
    version::check(&inf, &mut report);
    version::strings(&inf, &mut report);
    install::check(&inf, &mut report);
    files::check(&inf, &mut report);
    report.0
}

/// The text of an INF, whichever of the two encodings it has.
#[must_use]
pub fn decode(file: &[u8]) -> Option<String> {
    if let Some(wide) = file.strip_prefix(&[0xFF, 0xFE]) {
        let (pairs, rest) = wide.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        return rest
            .is_empty()
            .then(|| String::from_utf16(&units).ok())
            .flatten();
    }
    file.is_ascii()
        .then(|| String::from_utf8_lossy(file).into_owned())
}
