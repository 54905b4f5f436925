//! The entries of a directory in a buffer, as every file system lays them out.

use crate::io::status;

/// Where an entry of a class has its name's length, and its name (FILE_DIRECTORY_INFORMATION and its relatives).
pub(crate) const fn layout(class: u32) -> Option<(usize, usize)> {
    match class {
        1 => Some((0x3C, 0x40)),
        2 => Some((0x3C, 0x44)),
        3 => Some((0x3C, 0x5E)),
        12 => Some((0x08, 0x0C)),
        37 => Some((0x3C, 0x68)),
        38 => Some((0x3C, 0x50)),
        _ => None,
    }
}

/// Entries begin at multiples of this many bytes.
const ALIGNMENT: usize = 8;

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// Whether the entries lie in the buffer as they must, for a query with this status; classes without a known layout are not
/// looked at.
///
/// A name may be cut under STATUS_BUFFER_OVERFLOW: the buffer holds one entry, as much of its name as there is room for, and
/// the whole name's length ("ZwQueryDirectoryFile", the remarks on a buffer that is too small for the first entry).
pub(super) fn check(class: u32, status: i32, bytes: &[u8]) -> Result<(), String> {
    let Some((length_at, name_at)) = layout(class) else {
        return Ok(());
    };
    let may_be_cut = status == status::BUFFER_OVERFLOW;
    let mut at = 0;
    loop {
        let entry = bytes.get(at..).unwrap_or_default();
        let (Some(next), Some(length)) = (u32_at(entry, 0), u32_at(entry, length_at)) else {
            return Err(format!("the entry at {at} has no room for its head"));
        };
        let room = if next == 0 { entry.len() } else { next };
        if may_be_cut && at == 0 && next == 0 && room >= name_at {
            return Ok(());
        }
        if name_at + length > room {
            return Err(format!(
                "the name of the entry at {at} ({length} bytes) reaches beyond the entry's {room} bytes"
            ));
        }
        if length % 2 != 0 || length == 0 {
            return Err(format!("the name of the entry at {at} has {length} bytes"));
        }
        if next == 0 {
            return Ok(());
        }
        if next % ALIGNMENT != 0 || next >= entry.len() {
            return Err(format!(
                "NextEntryOffset {next} of the entry at {at}: {} bytes follow, entries begin at multiples of {ALIGNMENT}",
                entry.len()
            ));
        }
        at += next;
    }
}

#[cfg(test)]
mod tests {
    use super::{check, status};

    /// Entries of FILE_NAMES_INFORMATION.
    fn names(entries: &[(usize, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (next, name) in entries {
            let begin = bytes.len();
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            bytes.extend(u32::try_from(*next).unwrap_or(0).to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(u32::try_from(units.len()).unwrap_or(0).to_le_bytes());
            bytes.extend(units);
            bytes.resize(bytes.len().max(begin + next), 0);
        }
        bytes
    }

    #[test]
    fn entries_must_be_aligned_and_inside() {
        let two = names(&[(16, "a"), (0, "bc")]);
        assert_eq!(check(12, status::SUCCESS, &two), Ok(()));
        for wrong in [
            names(&[(14, "a"), (0, "bc")]),
            names(&[(16, "abcdefgh"), (0, "b")]),
            names(&[(64, "a")]),
            names(&[(0, "")]),
            vec![0; 4],
        ] {
            assert!(check(12, status::SUCCESS, &wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(check(99, status::SUCCESS, &[1]), Ok(()));
    }

    #[test]
    fn only_the_first_name_is_cut_and_only_under_a_warning() {
        let one = names(&[(0, "a long name")]);
        for cut in [&one[..0x0c], &one[..0x10]] {
            assert!(check(12, status::SUCCESS, cut).is_err());
            assert_eq!(check(12, status::BUFFER_OVERFLOW, cut), Ok(()));
        }
        assert!(check(12, status::BUFFER_OVERFLOW, &one[..0x0b]).is_err());
        let two = names(&[(16, "a"), (0, "a long name")]);
        let cut = &two[..two.len() - 2];
        assert!(check(12, status::BUFFER_OVERFLOW, cut).is_err());
    }
}
