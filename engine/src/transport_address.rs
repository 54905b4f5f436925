//! The length of a `TRANSPORT_ADDRESS`, which carries no length of its own, and what each of its addresses must have.

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

/// `TDI_ADDRESS_TYPE_IP`, `_IP6`, `_NETBIOS`, `_NETBIOS_EX`, `_NETBIOS_UNICODE_EX`, each with its packed length.
const FORMS: [(u16, u16); 5] = [(2, 14), (23, 26), (17, 18), (22, 34), (24, 74)];

/// The length of a `TRANSPORT_ADDRESS` with one IPv4 address.
pub const IP_V4_LENGTH: usize = 22;

/// A `TRANSPORT_ADDRESS` with one IPv4 address.
#[must_use]
pub const fn ip_v4(address: [u8; 4], port: u16) -> [u8; IP_V4_LENGTH] {
    let [a, b, c, d] = address;
    let [high, low] = port.to_be_bytes();
    // One address of 14 bytes and type 2: port and address in network order, then zeroes.
    [
        1, 0, 0, 0, 14, 0, 2, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
}

/// Whether an address of a known type has all its members. Of other types only the transport knows.
#[must_use]
pub fn is_whole(address_type: u16, address_length: u16) -> bool {
    FORMS
        .iter()
        .all(|&(known, least)| known != address_type || address_length >= least)
}

/// As [`length`], for addresses whose `AddressLength` and `AddressType` words `header_at` reads; each of a known type must
/// have all its members.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub fn checked_length(
    count: i32,
    mut header_at: impl FnMut(u16) -> (u16, u16),
) -> Result<u16, Error> {
    let mut whole = true;
    let total = length(count, |at| {
        let (address_length, address_type) = header_at(at);
        whole &= is_whole(address_type, address_length);
        address_length
    })?;
    if whole {
        Ok(total)
    } else {
        Err(Error::InvalidParameter)
    }
}

/// Checks an address of which it is known how many bytes there are: its own members must not say more.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub fn check(bytes: &[u8]) -> Result<(), Error> {
    let (count, _) = bytes.split_first_chunk().ok_or(Error::InvalidParameter)?;
    let mut inside = true;
    let total = checked_length(i32::from_le_bytes(*count), |at| {
        let header = bytes
            .get(usize::from(at)..)
            .and_then(|rest| rest.first_chunk());
        let Some([length_low, length_high, type_low, type_high]) = header else {
            inside = false;
            // The largest length ends the walk at once.
            return (u16::MAX, 0);
        };
        (
            u16::from_le_bytes([*length_low, *length_high]),
            u16::from_le_bytes([*type_low, *type_high]),
        )
    })?;
    if inside && usize::from(total) <= bytes.len() {
        Ok(())
    } else {
        Err(Error::InvalidParameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ipv4_address_is_22_bytes() {
        assert_eq!(length(1, |_| 14), Ok(22));
    }

    #[test]
    fn an_ipv4_address_is_whole() {
        let address = ip_v4([127, 0, 0, 1], 564);
        assert_eq!(check(&address), Ok(()));
        assert_eq!(&address[8..14], &[2, 52, 127, 0, 0, 1]);
        assert_eq!(length(1, |_| 14).map(usize::from), Ok(IP_V4_LENGTH));
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
    fn a_known_form_has_all_its_members_and_others_are_the_transports_matter() {
        for (known, least) in FORMS {
            assert_eq!(checked_length(1, |_| (least, known)), Ok(least + 8));
            let short = checked_length(1, |_| (least - 1, known));
            assert_eq!(short, Err(Error::InvalidParameter));
        }
        assert_eq!(checked_length(1, |_| (0, 6)), Ok(8));
        assert_eq!(checked_length(1, |_| (3, 0xFFFF)), Ok(11));
        // A mixed array, of which the last is short.
        let forms = [(14, 2), (26, 23), (1, 99), (17, 17)];
        let mut next = forms.into_iter();
        let mixed = checked_length(4, |_| next.next().unwrap_or_default());
        assert_eq!(mixed, Err(Error::InvalidParameter));
        let mut next = forms.into_iter();
        let mixed = checked_length(3, |_| next.next().unwrap_or_default());
        assert_eq!(mixed, Ok(4 + 18 + 30 + 5));
    }

    #[test]
    fn an_address_must_not_say_more_than_there_is() {
        let mut ipv4 = [0; 23];
        ipv4[..8].copy_from_slice(&[1, 0, 0, 0, 14, 0, 2, 0]);
        assert_eq!(check(&ipv4), Ok(()));
        assert_eq!(check(&ipv4[..22]), Ok(()));
        for length in 0..22 {
            assert_eq!(check(&ipv4[..length]), Err(Error::InvalidParameter));
        }
        ipv4[0] = 2;
        assert_eq!(
            check(&ipv4),
            Err(Error::InvalidParameter),
            "no second address"
        );
        ipv4[..4].copy_from_slice(&(-1_i32).to_le_bytes());
        assert_eq!(check(&ipv4), Err(Error::InvalidParameter));
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
