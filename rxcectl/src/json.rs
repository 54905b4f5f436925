//! A record as a JSON document.

use alloc::{format, string::String};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::{Problem, System};

/// Prints a record as a document of its own.
pub(crate) fn print<S: System>(system: &mut S, record: &impl Serialize) -> Result<(), Problem> {
    system.print(&format!("{}\n", text(record)?))
}

/// A record as JSON, in one line.
pub(crate) fn text(record: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(record)
        .map_err(|error| Problem::failed(format!("cannot write JSON: {error}")))
}

/// Numbers with names, as an object.
pub(crate) fn numbers<S: Serializer>(
    numbers: impl Iterator<Item = (&'static str, u64)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, number) in numbers {
        map.serialize_entry(name, &number)?;
    }
    map.end()
}
