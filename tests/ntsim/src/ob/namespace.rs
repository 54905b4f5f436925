//! The object namespace: named devices and symbolic links, without regard to case.

use std::collections::HashMap;

use parking_lot::Mutex;

#[derive(Debug, Clone)]
enum Entry {
    Object { body: usize },
    Link { target: String },
}

static NAMES: Mutex<Option<HashMap<String, Entry>>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut HashMap<String, Entry>) -> R) -> R {
    run(NAMES.lock().get_or_insert_default())
}

/// The form in which names are compared: lower case, `\??\`, `\GLOBAL??\` and `\DosDevices\` made one.
fn key(name: &str) -> String {
    let lower = name.to_lowercase();
    for prefix in [
        "\\dosdevices\\global\\",
        "\\dosdevices\\",
        "\\global??\\",
        "\\??\\",
    ] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return format!("\\??\\{rest}");
        }
    }
    lower
}

fn insert(name: &str, entry: Entry) -> bool {
    with(|names| match names.entry(key(name)) {
        std::collections::hash_map::Entry::Occupied(_) => false,
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(entry);
            true
        }
    })
}

/// Names an object; false if the name is taken.
pub fn insert_object(name: &str, body: usize) -> bool {
    insert(name, Entry::Object { body })
}

/// The names of all objects, in lower case, sorted.
pub fn names() -> Vec<String> {
    let mut found: Vec<String> = with(|names| {
        names
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Object { .. }))
            .map(|(name, _)| name.clone())
            .collect()
    });
    found.sort();
    found
}

/// Makes a symbolic link; false if the name is taken.
pub fn insert_link(name: &str, target: &str) -> bool {
    insert(
        name,
        Entry::Link {
            target: target.to_owned(),
        },
    )
}

/// Removes a symbolic link; false if there is none.
pub fn remove_link(name: &str) -> bool {
    with(|names| match names.get(&key(name)) {
        Some(Entry::Link { .. }) => names.remove(&key(name)).is_some(),
        _ => false,
    })
}

/// Removes all names of an object.
pub fn remove_object(body: usize) {
    with(|names| {
        names.retain(|_, entry| !matches!(entry, Entry::Object { body: other } if *other == body))
    });
}

/// Finds the object that a path begins with, and what is left of the path.
pub fn resolve(path: &str) -> Option<(usize, String)> {
    let mut path = path.to_owned();
    for _ in 0..32 {
        // The longest prefix, at a backslash or the end, which has a name.
        let ends = path
            .match_indices('\\')
            .map(|(at, _)| at)
            .filter(|at| *at > 0)
            .chain([path.len()]);
        let mut found = None;
        for end in ends {
            if let Some(entry) = with(|names| names.get(&key(path.get(..end)?)).cloned()) {
                found = Some((entry, path.get(end..).unwrap_or_default().to_owned()));
            }
        }
        match found? {
            (Entry::Object { body }, rest) => return Some((body, rest)),
            (Entry::Link { target }, rest) => path = target + &rest,
        }
    }
    None
}

/// Whether anything has this name's parent, to tell a wrong name from a wrong path.
pub fn has_directory(path: &str) -> bool {
    let lower = key(path);
    lower.starts_with("\\device\\") || lower.starts_with("\\??\\")
}
