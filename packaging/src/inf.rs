//! Reading a setup INF: sections, entries, quotes, comments, continued lines.

use std::fmt;

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.what)
    }
}

/// `key = value, value` or `value, value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins, from 1.
    pub line: usize,
    /// What stands before `=`.
    pub key: Option<String>,
    /// Fields, without quotes.
    pub values: Vec<String>,
}

impl Entry {
    /// The field at `index`; fields that are left out are empty.
    #[must_use]
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// Whether this is the key, whatever the case.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        self.key
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(key))
    }
}

/// A section: all its parts, if it stands in several places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Without brackets.
    pub name: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

impl Section {
    /// The entries with this key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.is(key))
    }

    /// The first entry with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is(key))
    }

    /// Whether it is an install section itself, without `.Services` and the like.
    #[must_use]
    pub fn is_install(&self) -> bool {
        let name = self.name.to_lowercase();
        name.starts_with("defaultinstall") && !name.ends_with(".services")
    }
}

/// A setup INF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inf {
    /// In order of appearance.
    pub sections: Vec<Section>,
    /// What could not be read.
    pub malformed: Vec<Malformed>,
}

impl Inf {
    /// Reads the text of an INF. What cannot be read is in `malformed`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut inf = Self::default();
        let mut current: Option<usize> = None;
        let mut lines = text.lines().enumerate();
        while let Some((index, first)) = lines.next() {
            let line = index + 1;
            let mut whole = without_comment(first).trim().to_owned();
            while let Some(kept) = whole.strip_suffix('\\') {
                let Some((_, next)) = lines.next() else { break };
                whole = format!("{}{}", kept, without_comment(next).trim());
            }
            if whole.is_empty() {
                continue;
            }
            if let Some(rest) = whole.strip_prefix('[') {
                match rest.strip_suffix(']') {
                    Some(name) if !name.is_empty() => current = Some(inf.open(name, line)),
                    _ => inf.reject(line, "a section's name without its bracket"),
                }
                continue;
            }
            let Some(section) = current else {
                inf.reject(line, "an entry outside of any section");
                continue;
            };
            match entry(&whole, line) {
                Some(entry) => inf.sections[section].entries.push(entry),
                None => inf.reject(line, "a quote without its end"),
            }
        }
        inf
    }

    /// The section of this name, whatever the case.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name.eq_ignore_ascii_case(name))
    }

    fn open(&mut self, name: &str, line: usize) -> usize {
        let present = self
            .sections
            .iter()
            .position(|section| section.name.eq_ignore_ascii_case(name));
        present.unwrap_or_else(|| {
            self.sections.push(Section {
                name: name.to_owned(),
                line,
                entries: Vec::new(),
            });
            self.sections.len() - 1
        })
    }

    fn reject(&mut self, line: usize, what: &'static str) {
        self.malformed.push(Malformed { line, what });
    }
}

/// The line up to a `;` that is not in quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (index, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ';' if !quoted => return &line[..index],
            _ => {}
        }
    }
    line
}

/// Splits at `=` and `,` outside of quotes. Nothing if a quote is left open.
fn entry(text: &str, line: usize) -> Option<Entry> {
    let mut key = None;
    let mut values = Vec::new();
    let mut field = String::new();
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            // A doubled quote in quotes is a quote.
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            '=' if !quoted && key.is_none() && values.is_empty() => {
                key = Some(std::mem::take(&mut field).trim().to_owned());
            }
            ',' if !quoted => values.push(std::mem::take(&mut field).trim().to_owned()),
            other => field.push(other),
        }
    }
    if quoted {
        return None;
    }
    values.push(field.trim().to_owned());
    Some(Entry { line, key, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_continued_lines() {
        let inf = Inf::parse("[A]\nx = \"a;b\"\"c\", d ; e\n\\\n[a]\ny,\\\n  z\n[B\n\"open\n");
        assert_eq!(inf.sections.len(), 1);
        let entries = &inf.sections[0].entries;
        assert_eq!(entries[0].key.as_deref(), Some("x"));
        assert_eq!(entries[0].values, ["a;b\"c", "d"]);
        assert_eq!(inf.malformed.len(), 2, "{:?}", inf.malformed);
    }
}
