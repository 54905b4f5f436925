//! Paths as the user writes them, cut into walks of at most sixteen names.

/// Most names one `Twalk` may carry.
pub const MAX_WALK: usize = 16;

/// A path with `/` or `\` between the names. Empty names and `.` mean nothing; `..` goes to the server as it is.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// Takes a path; an empty one is the root.
    #[must_use]
    pub const fn new(path: &'a [u8]) -> Self {
        Self(path)
    }

    /// The names, from the root downwards.
    pub fn names(self) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .filter(|name| !matches!(*name, b"" | b"."))
    }

    /// The walks that lead to the file.
    #[must_use]
    pub const fn steps(self) -> Steps<'a> {
        Steps {
            path: self,
            done: 0,
        }
    }
}

/// Cuts a path into runs of at most [`MAX_WALK`] names.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    path: Path<'a>,
    done: usize,
}

impl<'a> Steps<'a> {
    /// Puts the next run of names into `names` and returns it; it is empty at the end of the path.
    pub fn next_into<'n>(&mut self, names: &'n mut [&'a [u8]; MAX_WALK]) -> &'n [&'a [u8]] {
        let mut count = 0_usize;
        for (slot, name) in names.iter_mut().zip(self.path.names().skip(self.done)) {
            *slot = name;
            count = count.saturating_add(1);
        }
        self.done = self.done.saturating_add(count);
        names.get(..count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::{format, vec::Vec};

    fn names(path: &[u8]) -> Vec<&[u8]> {
        Path::new(path).names().collect()
    }

    #[test]
    fn empty_names_and_dots_are_skipped() {
        assert!(names(b"").is_empty());
        assert!(names(b"//.//").is_empty());
        assert_eq!(
            names(b"/a//b\\c/./..txt"),
            [b"a".as_slice(), b"b", b"c", b"..txt"]
        );
    }

    #[test]
    fn long_paths_take_several_walks() {
        let path: Vec<u8> = (0..35).flat_map(|n| format!("/{n}").into_bytes()).collect();
        let mut steps = Path::new(&path).steps();
        let mut buffer = [b"".as_slice(); MAX_WALK];
        let mut seen = Vec::new();
        loop {
            let run = steps.next_into(&mut buffer);
            if run.is_empty() {
                break;
            }
            seen.push(run.len());
        }
        assert_eq!(seen, [16, 16, 3]);
    }
}
