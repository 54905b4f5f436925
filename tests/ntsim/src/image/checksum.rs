//! The checksum of a PE file, as the system computes it for drivers.

/// Sum of all 16-bit words with end-around carry, the checksum field taken as 0, plus the length of the file.
pub(super) fn of(file: &[u8], field_offset: usize) -> u32 {
    let mut sum = 0u32;
    for (index, pair) in file.chunks(2).enumerate() {
        if index * 2 == field_offset || index * 2 == field_offset + 2 {
            continue;
        }
        let word = match pair {
            [low, high] => u16::from_le_bytes([*low, *high]),
            [low] => u16::from(*low),
            _ => 0,
        };
        sum += u32::from(word);
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum.wrapping_add(u32::try_from(file.len()).unwrap_or(u32::MAX))
}
