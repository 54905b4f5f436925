//! Size and sections of the shipped image.

use std::path::Path;

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};

use super::report::Row;

/// Looks.
///
/// # Errors
///
/// No image.
pub fn rows(path: &Path) -> Result<Vec<Row>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let image = object::File::parse(bytes.as_slice())?;
    let row = |name: &str, size: u64| Row::number("release image", name, "bytes", size as f64);
    let mut rows = vec![row("the file rxce.sys", bytes.len() as u64)];
    for section in image.sections() {
        rows.push(row(
            &format!("- section {}", section.name()?),
            section.size(),
        ));
    }
    Ok(rows)
}
