//! The version resource (`VS_VERSIONINFO`), as a compiled `.res` file.
//!
//! Layouts: "RESOURCEHEADER", "VS_VERSIONINFO", "VS_FIXEDFILEINFO", "StringFileInfo" and "VarFileInfo" of the Windows API
//! reference. Written here because the crates that do it call a resource compiler, which a Linux host may lack.

use std::env;

use anyhow::{Context, Result};

/// `RT_VERSION`.
const TYPE_VERSION: u16 = 16;
/// US English, the language of the strings.
const LANGUAGE: u16 = 0x0409;
/// UTF-16, the code page of the strings.
const CODE_PAGE: u16 = 0x04B0;
/// `VFT_DRV` and `VFT2_DRV_SYSTEM`.
const FILE_TYPE: [u32; 2] = [3, 7];
/// `VOS_NT_WINDOWS32`.
const FILE_OS: u32 = 0x0004_0004;
/// `VS_FF_DEBUG`.
const FLAG_DEBUG: u32 = 1;

/// Returns the `.res` file for the package being built.
pub(crate) fn resource() -> Result<Vec<u8>> {
    let variable = |name: &str| env::var(name).with_context(|| format!("{name} is not set"));
    let number = |name: &str| -> Result<u16> {
        variable(name)?
            .parse()
            .with_context(|| format!("{name} is not a 16-bit number"))
    };
    let name = variable("CARGO_PKG_NAME")?;
    let version = [
        number("CARGO_PKG_VERSION_MAJOR")?,
        number("CARGO_PKG_VERSION_MINOR")?,
        number("CARGO_PKG_VERSION_PATCH")?,
        0,
    ];
    let text = version.map(|part| part.to_string()).join(".");
    let file = format!("{name}.sys");
    let strings = [
        ("CompanyName", "The rxce authors"),
        ("FileDescription", &variable("CARGO_PKG_DESCRIPTION")?),
        ("FileVersion", &text),
        ("InternalName", &file),
        ("LegalCopyright", "MIT OR Apache-2.0"),
        ("OriginalFilename", &file),
        ("ProductName", &name),
        ("ProductVersion", &text),
    ];
    let flags = if variable("PROFILE")? == "debug" {
        FLAG_DEBUG
    } else {
        0
    };
    Ok(res_file(&version_info(version, flags, &strings)))
}

/// Wraps the one resource: an empty entry that marks the file as 32-bit, the header, the data.
fn res_file(data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(entry_header(0, [0, 0], 0, 0));
    file.extend(entry_header(
        data.len(),
        [TYPE_VERSION, 1],
        0x0030,
        LANGUAGE,
    ));
    file.extend(data);
    pad(&mut file);
    file
}

fn entry_header(size: usize, type_and_name: [u16; 2], flags: u16, language: u16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    header.extend(0x20_u32.to_le_bytes());
    for id in type_and_name {
        header.extend(0xFFFF_u16.to_le_bytes());
        header.extend(id.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes()); // DataVersion
    header.extend(flags.to_le_bytes());
    header.extend(language.to_le_bytes());
    header.extend([0; 8]); // Version, Characteristics
    header
}

fn version_info(version: [u16; 4], flags: u32, strings: &[(&str, &str)]) -> Vec<u8> {
    let [major, minor, patch, build] = version.map(u32::from);
    let (high, low) = (major << 16 | minor, patch << 16 | build);
    let [file_type, subtype] = FILE_TYPE;
    let fixed: Vec<u8> = [
        0xFEEF_04BD,
        0x0001_0000,
        high,
        low,
        high,
        low,
        0x3F,
        flags,
        FILE_OS,
        file_type,
        subtype,
        0,
        0,
    ]
    .into_iter()
    .flat_map(u32::to_le_bytes)
    .collect();

    let strings: Vec<Vec<u8>> = strings
        .iter()
        .map(|(key, value)| node(key, &Value::Text(value), &[]))
        .collect();
    let table = node(
        &format!("{LANGUAGE:04X}{CODE_PAGE:04X}"),
        &Value::NoText,
        &strings,
    );
    let translation: Vec<u8> = [LANGUAGE, CODE_PAGE]
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    let children = [
        node("StringFileInfo", &Value::NoText, &[table]),
        node(
            "VarFileInfo",
            &Value::NoText,
            &[node("Translation", &Value::Binary(&translation), &[])],
        ),
    ];
    node("VS_VERSION_INFO", &Value::Binary(&fixed), &children)
}

/// The value of a node, which also says how its length is counted.
enum Value<'a> {
    /// A node that is text by type and has no value of its own.
    NoText,
    Text(&'a str),
    Binary(&'a [u8]),
}

/// One node: lengths, type, key, value, children, each aligned to 4 bytes.
fn node(key: &str, value: &Value<'_>, children: &[Vec<u8>]) -> Vec<u8> {
    let (is_text, length, bytes) = match value {
        Value::NoText => (1_u16, 0, Vec::new()),
        Value::Text(text) => {
            let bytes = utf16(text);
            (1, bytes.len() / 2, bytes)
        }
        Value::Binary(bytes) => (0, bytes.len(), bytes.to_vec()),
    };
    let mut node = vec![0; 2];
    node.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    node.extend(is_text.to_le_bytes());
    node.extend(utf16(key));
    for part in std::iter::once(&bytes).chain(children) {
        if !part.is_empty() {
            pad(&mut node);
            node.extend(part);
        }
    }
    let length = u16::try_from(node.len()).unwrap_or(u16::MAX);
    node.splice(..2, length.to_le_bytes());
    node
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
