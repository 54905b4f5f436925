//! `FILE_INFORMATION_CLASS`: what a query of a file gets. Layouts: ntifs.h and wdm.h.

use crate::{
    attributes::Attributes,
    layout::{put_i64, put_text, put_u32, text_bytes},
    status::{INFO_LENGTH_MISMATCH, INVALID_INFO_CLASS, Status},
};

/// `FileBasicInformation`.
pub const BASIC: u32 = 4;
/// `FileStandardInformation`.
pub const STANDARD: u32 = 5;
/// `FileInternalInformation`.
pub const INTERNAL: u32 = 6;
/// `FileEaInformation`.
pub const EA: u32 = 7;
/// `FileStreamInformation`.
pub const STREAM: u32 = 22;
/// `FileCompressionInformation`.
pub const COMPRESSION: u32 = 28;
/// `FileNetworkOpenInformation`.
pub const NETWORK_OPEN: u32 = 34;
/// `FileAttributeTagInformation`.
pub const ATTRIBUTE_TAG: u32 = 35;

/// A `FILE_STREAM_INFORMATION` with that name.
const STREAM_LENGTH: usize = 0x18 + size_of::<[u16; 7]>();

/// The name of a file's only stream: `::$DATA`.
const STREAM_NAME: [u16; 7] = {
    let text = *b"::$DATA";
    let mut wide = [0; 7];
    let mut at = 0;
    while at < wide.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            wide[at] = text[at] as u16;
        }
        at = at.wrapping_add(1);
    }
    wide
};

/// Writes the answer to the front of `output`; returns its length.
///
/// # Errors
///
/// `INVALID_INFO_CLASS`, `INFO_LENGTH_MISMATCH`; nothing was written.
pub fn encode(class: u32, file: &Attributes, output: &mut [u8]) -> Result<usize, Status> {
    let length = match class {
        BASIC => 0x28,
        STANDARD => 0x18,
        INTERNAL => 0x08,
        EA => 0x04,
        COMPRESSION => 0x10,
        NETWORK_OPEN => 0x38,
        ATTRIBUTE_TAG => 0x08,
        // A directory has no stream of data.
        STREAM if file.is_directory() => 0,
        STREAM => STREAM_LENGTH,
        _ => return Err(INVALID_INFO_CLASS),
    };
    let output = output.get_mut(..length).ok_or(INFO_LENGTH_MISMATCH)?;
    output.fill(0);
    match class {
        BASIC => {
            times(output, file);
            put_u32(output, 0x20, file.flags);
        }
        STANDARD => {
            put_i64(output, 0x00, file.allocation);
            put_i64(output, 0x08, file.size);
            put_u32(output, 0x10, file.links);
            // DeletePending 0x14, Directory 0x15.
            put_u32(output, 0x14, u32::from(file.is_directory()).wrapping_shl(8));
        }
        INTERNAL => put_i64(output, 0x00, file.id),
        COMPRESSION => put_i64(output, 0x00, file.size),
        NETWORK_OPEN => {
            times(output, file);
            put_i64(output, 0x20, file.allocation);
            put_i64(output, 0x28, file.size);
            put_u32(output, 0x30, file.flags);
        }
        ATTRIBUTE_TAG => {
            put_u32(output, 0x00, file.flags);
            put_u32(output, 0x04, file.reparse_tag());
        }
        STREAM => {
            put_u32(output, 0x04, text_bytes(&STREAM_NAME));
            put_i64(output, 0x08, file.size);
            put_i64(output, 0x10, file.allocation);
            put_text(output, 0x18, &STREAM_NAME);
        }
        // No extended attributes.
        _ => {}
    }
    Ok(length)
}

fn times(output: &mut [u8], file: &Attributes) {
    put_i64(output, 0x00, file.created);
    put_i64(output, 0x08, file.accessed);
    put_i64(output, 0x10, file.written);
    put_i64(output, 0x18, file.changed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes;

    const FILE: Attributes = Attributes {
        created: 1,
        accessed: 2,
        written: 3,
        changed: 4,
        size: 5,
        allocation: 512,
        flags: attributes::NORMAL,
        links: 6,
        id: 7,
    };

    fn field(bytes: &[u8], at: usize) -> i64 {
        i64::from_le_bytes(*bytes[at..].first_chunk().unwrap())
    }

    #[test]
    fn every_class_has_its_length_and_refuses_less() {
        for (class, length) in [
            (BASIC, 40),
            (STANDARD, 24),
            (INTERNAL, 8),
            (EA, 4),
            (COMPRESSION, 16),
            (NETWORK_OPEN, 56),
            (ATTRIBUTE_TAG, 8),
            (STREAM, 38),
        ] {
            let mut output = [0xCC; 64];
            assert_eq!(encode(class, &FILE, &mut output), Ok(length), "{class}");
            assert!(output[length..].iter().all(|byte| *byte == 0xCC), "{class}");
            let short = &mut [0xCC; 64][..length - 1];
            assert_eq!(encode(class, &FILE, short), Err(INFO_LENGTH_MISMATCH));
            assert!(short.iter().all(|byte| *byte == 0xCC), "{class}");
        }
        for class in [0, 1, 9, 14, 18, 36, 1000] {
            assert_eq!(encode(class, &FILE, &mut [0; 64]), Err(INVALID_INFO_CLASS));
        }
    }

    #[test]
    fn fields_are_where_the_headers_have_them() {
        let mut output = [0; 64];
        encode(NETWORK_OPEN, &FILE, &mut output).unwrap();
        let fields = [0, 8, 16, 24, 32, 40, 48].map(|at| field(&output, at));
        assert_eq!(fields, [1, 2, 3, 4, 512, 5, 0x80]);
        encode(STANDARD, &FILE, &mut output).unwrap();
        assert_eq!([0, 8, 16].map(|at| field(&output, at)), [512, 5, 6]);
        let directory = Attributes::of_directory(9);
        encode(STANDARD, &directory, &mut output).unwrap();
        assert_eq!(&output[0x14..0x16], &[0, 1]);
        assert_eq!(encode(STREAM, &directory, &mut output), Ok(0));
        encode(INTERNAL, &directory, &mut output).unwrap();
        assert_eq!(field(&output, 0), 9);
    }
}
