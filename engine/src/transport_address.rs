//! The length of a `TRANSPORT_ADDRESS`, which carries no length of its own.

use crate::Error;

/// `TAAddressCount`, and the header of each `TA_ADDRESS`.
const HEADER_LENGTH: u32 = 4;

/// Adds up `count` addresses whose `AddressLength` words `length_at` reads, by their offset.
///
/// # Errors
///
/// [`Error::InvalidParameter`] without an address, or if the whole does not fit the `USHORT` that carries its length
/// in an extended attribute.
pub fn length(count: i32, mut length_at: impl FnMut(u16) -> u16) -> Result<u16, Error> {
    if count < 1 {
        return Err(Error::InvalidParameter);
    }
    let mut end = HEADER_LENGTH;
    for _ in 0..count {
        // The last header must lie inside what a USHORT can say, too.
        let header = u16::try_from(end.saturating_add(HEADER_LENGTH))
            .map_err(|_| Error::InvalidParameter)?;
        let at = header.saturating_sub(4);
        end = u32::from(header).saturating_add(u32::from(length_at(at)));
    }
    u16::try_from(end).map_err(|_| Error::InvalidParameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ipv4_address_is_22_bytes() {
        assert_eq!(length(1, |_| 14), Ok(22));
    }

    #[test]
    fn each_address_is_found_behind_the_one_before() {
        let mut seen = std::vec::Vec::new();
        let total = length(3, |at| {
            seen.push(at);
            at
        });
        assert_eq!((total, seen), (Ok(60), std::vec![4, 12, 28]));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert_eq!(length(0, |_| 14), Err(Error::InvalidParameter));
        assert_eq!(length(-1, |_| 14), Err(Error::InvalidParameter));
        assert_eq!(length(1, |_| 0xFFF8), Err(Error::InvalidParameter));
        assert_eq!(length(1, |_| 0xFFF7), Ok(0xFFFF));
        assert_eq!(length(i32::MAX, |_| 0), Err(Error::InvalidParameter));
    }
}
