//! Little-endian fields at their offsets.

/// Writes bytes at an offset; nothing where they do not fit.
pub(crate) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    let place = at
        .checked_add(bytes.len())
        .and_then(|end| buffer.get_mut(at..end));
    if let Some(place) = place {
        place.copy_from_slice(bytes);
    }
}

/// Writes 32 bits.
pub(crate) fn put_u32(buffer: &mut [u8], at: usize, value: u32) {
    put(buffer, at, &value.to_le_bytes());
}

/// Writes 64 bits.
pub(crate) fn put_i64(buffer: &mut [u8], at: usize, value: i64) {
    put(buffer, at, &value.to_le_bytes());
}

/// Writes as much of a text as fits behind an offset; returns how many bytes that was.
pub(crate) fn put_text(buffer: &mut [u8], at: usize, text: &[u16]) -> usize {
    let mut written = 0_usize;
    let room = buffer.get_mut(at..).unwrap_or_default();
    for (pair, unit) in room.chunks_exact_mut(2).zip(text) {
        pair.copy_from_slice(&unit.to_le_bytes());
        written = written.saturating_add(2);
    }
    written
}

/// The length of a text in bytes.
pub(crate) fn text_bytes(text: &[u16]) -> u32 {
    u32::try_from(size_of_val(text)).unwrap_or(u32::MAX)
}
