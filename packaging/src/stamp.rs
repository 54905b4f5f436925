//! Filling in an `.inx`: processor, version, catalogue. What `stampinf` does on Windows.

use anyhow::{Context, Result, ensure};
use time::{OffsetDateTime, macros::format_description};

/// A processor, as an INF and a catalogue call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `amd64`.
    X64,
    /// `arm64`.
    Arm64,
}

impl Architecture {
    /// As in section names.
    #[must_use]
    pub fn decoration(self) -> &'static str {
        match self {
            Self::X64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As in catalogues.
    #[must_use]
    pub fn system(self) -> &'static str {
        match self {
            Self::X64 => "_v100_X64",
            Self::Arm64 => "_v100_ARM64",
        }
    }
}

/// What is filled in.
pub struct Stamp<'a> {
    /// For `$ARCH$`.
    pub architecture: Architecture,
    /// Four numbers with dots.
    pub version: &'a str,
    /// The day of `DriverVer`, in seconds since 1970.
    pub time: u64,
    /// File name of the catalogue.
    pub catalogue: &'a str,
}

/// Returns the text of the INF, with CR LF.
///
/// # Errors
///
/// `source` lacks what is to be filled in, or holds characters beyond ASCII.
pub fn stamp(source: &str, stamp: &Stamp<'_>) -> Result<String> {
    ensure!(source.is_ascii(), "the .inx holds characters beyond ASCII");
    ensure!(source.contains("$ARCH$"), "the .inx has no $ARCH$");
    let seconds = i64::try_from(stamp.time).context("a date beyond reason")?;
    let day = OffsetDateTime::from_unix_timestamp(seconds)
        .context("a date beyond reason")?
        .format(format_description!("[month]/[day]/[year]"))?;
    let values = [
        ("DriverVer", format!("{day},{}", stamp.version)),
        ("CatalogFile", stamp.catalogue.to_owned()),
    ];
    let mut filled = 0;
    let mut inf = String::new();
    for line in source.lines() {
        let key = line.split('=').next().unwrap_or_default().trim_end();
        match values.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => {
                filled += 1;
                inf.push_str(&format!(
                    "{}= {value}",
                    line.split('=').next().unwrap_or_default()
                ));
            }
            None => inf.push_str(&line.replace("$ARCH$", stamp.architecture.decoration())),
        }
        inf.push_str("\r\n");
    }
    ensure!(
        filled == values.len(),
        "the .inx must have one line for each of DriverVer and CatalogFile"
    );
    Ok(inf)
}

/// The INF's source for an image that does not import from `rdbss.sys`: its service depends on nothing.
#[must_use]
pub fn without_rdbss(source: &str) -> String {
    source
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("Dependencies"))
        .collect()
}

/// Puts the driver to `System32\drivers` (directory 12) instead of the driver store (13), in a stamped INF.
///
/// # Errors
///
/// The INF names directory 13 elsewhere than in `DestinationDirs` and `ServiceBinary`, or not in both.
pub fn in_system32(inf: &str) -> Result<String> {
    let (mut destinations, mut binaries, mut in_destinations) = (0, 0, false);
    let mut changed = String::new();
    for line in inf.split_inclusive('\n') {
        if line.starts_with('[') {
            in_destinations = line.starts_with("[DestinationDirs]");
        }
        if line.contains("%13%") {
            binaries += 1;
            changed.push_str(&line.replace("%13%", "%12%"));
        } else if in_destinations && line.trim_end().ends_with("= 13") {
            destinations += 1;
            changed.push_str(&line.replace("= 13", "= 12"));
        } else {
            changed.push_str(line);
        }
    }
    ensure!(
        destinations > 0 && binaries == 1,
        "directory 13 is not where it is looked for"
    );
    Ok(changed)
}

/// The bytes of an INF: UTF-16LE with a mark, the form Windows prefers.
#[must_use]
pub fn encode(text: &str) -> Vec<u8> {
    std::iter::once(0xFEFF)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp<'_> = Stamp {
        architecture: Architecture::Arm64,
        version: "1.2.3.0",
        time: 1_795_000_000,
        catalogue: "x.cat",
    };

    #[test]
    fn all_is_filled_in() -> Result<()> {
        let inf = stamp("DriverVer  =\nCatalogFile = y\n[A.NT$ARCH$]\n", &STAMP)?;
        assert_eq!(
            inf,
            "DriverVer  = 11/18/2026,1.2.3.0\r\nCatalogFile = x.cat\r\n[A.NTarm64]\r\n"
        );
        assert_eq!(encode("a"), [0xFF, 0xFE, b'a', 0]);
        Ok(())
    }

    #[test]
    fn the_directory_is_changed_and_nothing_else() -> Result<()> {
        let inf = "[DestinationDirs]\r\na = 13\r\n[B]\r\nc = 13\r\nServiceBinary = %13%\\a.sys\r\n";
        let other = in_system32(inf)?;
        assert_eq!(
            other,
            "[DestinationDirs]\r\na = 12\r\n[B]\r\nc = 13\r\nServiceBinary = %12%\\a.sys\r\n"
        );
        assert!(in_system32(&other).is_err());
        Ok(())
    }

    #[test]
    fn what_cannot_be_filled_in_is_told() {
        assert!(stamp("DriverVer=\n[$ARCH$]", &STAMP).is_err());
        assert!(stamp("DriverVer=\nCatalogFile=\n", &STAMP).is_err());
        assert!(stamp("DriverVer=\nCatalogFile=\n[$ARCH$] é", &STAMP).is_err());
    }
}
