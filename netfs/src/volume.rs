//! `FS_INFORMATION_CLASS`: what a query of a volume gets. Layouts: ntifs.h.

use p9::Statfs;

use crate::{
    layout::{put_i64, put_text, put_u32, text_bytes},
    status::{BUFFER_OVERFLOW, INFO_LENGTH_MISMATCH, INVALID_INFO_CLASS, Status},
};

/// `FileFsVolumeInformation`.
pub const VOLUME: u32 = 1;
/// `FileFsSizeInformation`.
pub const SIZE: u32 = 3;
/// `FileFsDeviceInformation`.
pub const DEVICE: u32 = 4;
/// `FileFsAttributeInformation`.
pub const ATTRIBUTE: u32 = 5;
/// `FileFsFullSizeInformation`.
pub const FULL_SIZE: u32 = 7;

/// `FILE_DEVICE_DISK`: what programs are told that a network file system's volume is.
pub const DEVICE_TYPE: u32 = 0x07;
/// `FILE_REMOTE_DEVICE`, `FILE_READ_ONLY_DEVICE`.
pub const CHARACTERISTICS: u32 = 0x10 | 0x02;
/// `FILE_CASE_SENSITIVE_SEARCH`, `FILE_CASE_PRESERVED_NAMES`, `FILE_UNICODE_ON_DISK`, `FILE_READ_ONLY_VOLUME`.
pub const FLAGS: u32 = 0x1 | 0x2 | 0x4 | 0x8_0000;
/// The longest name, as programs count it.
const MOST_NAME: u32 = 255;
/// The unit of disk space.
const SECTOR: u32 = 512;
/// The name of the file system.
const NAME: [u16; 2] = [b'9' as u16, b'P' as u16];

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many bytes there are.
    pub length: usize,
    /// Success, or `BUFFER_OVERFLOW` if a name is not there whole.
    pub status: Status,
}

/// Whether a class needs to ask the server.
#[must_use]
pub const fn wants_sizes(class: u32) -> bool {
    matches!(class, VOLUME | SIZE | FULL_SIZE)
}

/// Writes the answer to the front of `output`. The volume's label is the share's name.
///
/// # Errors
///
/// `INVALID_INFO_CLASS`, `INFO_LENGTH_MISMATCH`; nothing was written.
pub fn encode(
    class: u32,
    sizes: &Statfs,
    label: &[u16],
    output: &mut [u8],
) -> Result<Answer, Status> {
    let (fixed, text): (usize, &[u16]) = match class {
        VOLUME => (0x12, label),
        SIZE => (0x18, &[]),
        DEVICE => (0x08, &[]),
        ATTRIBUTE => (0x0C, &NAME),
        FULL_SIZE => (0x20, &[]),
        _ => return Err(INVALID_INFO_CLASS),
    };
    let front = output.get_mut(..fixed).ok_or(INFO_LENGTH_MISMATCH)?;
    front.fill(0);
    let (per_unit, total, available, free) = units(sizes);
    match class {
        VOLUME => {
            // The creation time is not known; the number is as good as the server's.
            let id = sizes.id ^ sizes.id.wrapping_shr(32);
            let [a, b, c, d, ..] = id.to_le_bytes();
            put_u32(front, 0x08, u32::from_le_bytes([a, b, c, d]));
            put_u32(front, 0x0C, text_bytes(label));
        }
        SIZE => {
            put_i64(front, 0x00, total);
            put_i64(front, 0x08, available);
            put_u32(front, 0x10, per_unit);
            put_u32(front, 0x14, SECTOR);
        }
        DEVICE => {
            put_u32(front, 0x00, DEVICE_TYPE);
            put_u32(front, 0x04, CHARACTERISTICS);
        }
        ATTRIBUTE => {
            put_u32(front, 0x00, FLAGS);
            put_u32(front, 0x04, MOST_NAME);
            put_u32(front, 0x08, text_bytes(&NAME));
        }
        _ => {
            put_i64(front, 0x00, total);
            put_i64(front, 0x08, available);
            put_i64(front, 0x10, free);
            put_u32(front, 0x18, per_unit);
            put_u32(front, 0x1C, SECTOR);
        }
    }
    let written = put_text(output, fixed, text);
    Ok(Answer {
        length: fixed.saturating_add(written),
        status: if written < size_of_val(text) {
            BUFFER_OVERFLOW
        } else {
            0
        },
    })
}

/// Sectors per unit, then total, available and free units. What a server says of its blocks may be anything.
fn units(sizes: &Statfs) -> (u32, i64, i64, i64) {
    let count = |blocks: u64| i64::try_from(blocks).unwrap_or(i64::MAX);
    let per_unit = sizes.block_size.wrapping_div(SECTOR).max(1);
    (
        per_unit,
        count(sizes.blocks),
        count(sizes.available),
        count(sizes.free),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Statfs = Statfs {
        kind: 0,
        block_size: 4096,
        blocks: 100,
        free: 50,
        available: 40,
        files: 0,
        free_files: 0,
        id: 0x0000_0001_0000_0002,
        name_length: 255,
    };

    #[test]
    fn every_class_has_its_length() {
        let label = [b'x'.into(); 3];
        for (class, fixed, text) in [
            (VOLUME, 0x12, 6),
            (SIZE, 0x18, 0),
            (DEVICE, 8, 0),
            (ATTRIBUTE, 12, 4),
            (FULL_SIZE, 0x20, 0),
        ] {
            let mut output = [0xCC; 64];
            let answer = encode(class, &SIZES, &label, &mut output).unwrap();
            assert_eq!(
                answer,
                Answer {
                    length: fixed + text,
                    status: 0
                }
            );
            assert!(output[answer.length..].iter().all(|byte| *byte == 0xCC));
            let short = &mut output[..fixed - 1];
            assert_eq!(
                encode(class, &SIZES, &label, short),
                Err(INFO_LENGTH_MISMATCH)
            );
            if text > 0 {
                let answer = encode(class, &SIZES, &label, &mut output[..fixed + 2]);
                let status = BUFFER_OVERFLOW;
                assert_eq!(
                    answer,
                    Ok(Answer {
                        length: fixed + 2,
                        status
                    })
                );
            }
        }
        for class in [0, 2, 6, 8, 11] {
            assert_eq!(
                encode(class, &SIZES, &[], &mut [0; 64]),
                Err(INVALID_INFO_CLASS)
            );
        }
    }

    #[test]
    fn sizes_are_in_units_of_sectors() {
        let mut output = [0; 32];
        encode(FULL_SIZE, &SIZES, &[], &mut output).unwrap();
        let word = |at: usize| u64::from_le_bytes(*output[at..].first_chunk().unwrap());
        assert_eq!([0, 8, 16].map(word), [100, 40, 50]);
        assert_eq!(word(24), (512 << 32) | 8);
        let zero = Statfs::default();
        encode(SIZE, &zero, &[], &mut output).unwrap();
        assert_eq!(output[16], 1, "a unit is never nothing");
    }
}
