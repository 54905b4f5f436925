//! One `FILE_FULL_EA_INFORMATION` entry, which names what a TDI open is for.

/// `NextEntryOffset`, `Flags`, `EaNameLength`, `EaValueLength`.
const HEADER_LENGTH: usize = 8;

/// `TdiTransportAddress`.
pub const TRANSPORT_ADDRESS: &[u8] = b"TransportAddress";
/// `TdiConnectionContext`.
pub const CONNECTION_CONTEXT: &[u8] = b"ConnectionContext";

/// The bytes that an entry takes: header, name, its NUL and the value, without any padding.
#[must_use]
pub const fn encoded_length(name: &[u8], value_length: u16) -> usize {
    HEADER_LENGTH
        .saturating_add(name.len())
        .saturating_add(1)
        .saturating_add(value_length as usize)
}

/// Writes header and name into `entry` and gives the bytes for the value.
///
/// `None` if the name is longer than a byte can say or `entry` is not exactly [`encoded_length`] bytes long.
pub fn begin<'entry>(
    name: &[u8],
    value_length: u16,
    entry: &'entry mut [u8],
) -> Option<&'entry mut [u8]> {
    if entry.len() != encoded_length(name, value_length) {
        return None;
    }
    let name_length = u8::try_from(name.len()).ok()?;
    let (header, rest) = entry.split_first_chunk_mut::<HEADER_LENGTH>()?;
    let [low, high] = value_length.to_le_bytes();
    *header = [0, 0, 0, 0, 0, name_length, low, high];
    let (named, value) = rest.split_at_mut_checked(name.len().checked_add(1)?)?;
    let (nul, written) = named.split_last_mut()?;
    written.copy_from_slice(name);
    *nul = 0;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_context_takes_34_bytes_with_the_value_at_26() {
        let mut entry = [0xFF; 34];
        assert_eq!(encoded_length(CONNECTION_CONTEXT, 8), 34);
        let value = begin(CONNECTION_CONTEXT, 8, &mut entry).expect("it fits");
        value.copy_from_slice(&0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(entry[..8], [0, 0, 0, 0, 0, 17, 8, 0]);
        assert_eq!(&entry[8..26], b"ConnectionContext\0");
        assert_eq!(entry[26..], 0x1122_3344_5566_7788_u64.to_le_bytes());
    }

    #[test]
    fn an_ipv4_address_takes_47_bytes() {
        assert_eq!(encoded_length(TRANSPORT_ADDRESS, 22), 47);
        assert!(begin(TRANSPORT_ADDRESS, 22, &mut [0; 46]).is_none());
        assert!(begin(&[b'x'; 256], 0, &mut [0; 265]).is_none());
    }
}
