//! The rules of `RxCeSend` for options and lengths (specification 5.11).

use crate::Error;

/// `RXCE_SEND_SYNCHRONOUS`.
pub const SYNCHRONOUS: u32 = 0x1000_0000;
/// `RXCE_SEND_PARTIAL`: only part of the chain is to be sent.
pub const PARTIAL: u32 = 0x2000_0000;
/// `RXCE_FLAGS_MASK`: bits that the transport never sees.
const ENGINE_MASK: u32 = 0xFF00_0000;

/// More elements than any honest chain has; a chain of empty MDLs may run in a circle.
const MOST_ELEMENTS: usize = 0x1_0000;

/// Whether the provider takes sends of no bytes (`TDI_SERVICE_NO_ZERO_LENGTH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroLength {
    /// It does.
    Allowed,
    /// It does not.
    Refused,
}

/// The `SendFlags` of the TDI request.
#[must_use]
pub fn tdi_flags(options: u32) -> u32 {
    if mutant!(EngineFlagsPassedOn) {
        return options;
    }
    options & !ENGINE_MASK
}

/// Checks `length` against the byte counts of an MDL chain.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if length and chain do not fit the options.
pub fn check_length(
    options: u32,
    length: u32,
    chain: impl Iterator<Item = u32>,
    zero: ZeroLength,
) -> Result<(), Error> {
    let partial = options & PARTIAL != 0;
    let empty_part = partial && !mutant!(EmptyPartAccepted);
    if length == 0 && (empty_part || zero == ZeroLength::Refused) {
        return Err(Error::InvalidParameter);
    }
    let wanted = u64::from(length);
    let slack = u64::from(mutant!(SendLengthOffByOne));
    let mut total = 0_u64;
    for (count, bytes) in chain.enumerate() {
        total = total.saturating_add(u64::from(bytes));
        if partial && total >= wanted {
            return Ok(());
        }
        if total > wanted.saturating_add(slack) || count >= MOST_ELEMENTS {
            return Err(Error::InvalidParameter);
        }
    }
    if total == wanted || total == wanted.saturating_add(slack) {
        Ok(())
    } else {
        Err(Error::InvalidParameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: u32, length: u32, chain: &[u32]) -> Result<(), Error> {
        check_length(options, length, chain.iter().copied(), ZeroLength::Allowed)
    }

    #[test]
    fn the_whole_chain_or_a_part_of_it() {
        assert_eq!(check(0, 7, &[3, 4]), Ok(()));
        assert_eq!(check(0, 6, &[3, 4]), Err(Error::InvalidParameter));
        assert_eq!(check(0, 8, &[3, 4]), Err(Error::InvalidParameter));
        assert_eq!(check(PARTIAL, 6, &[3, 4]), Ok(()));
        assert_eq!(check(PARTIAL, 7, &[3, 4]), Ok(()));
        assert_eq!(check(PARTIAL, 8, &[3, 4]), Err(Error::InvalidParameter));
        assert_eq!(check(PARTIAL, 0, &[3, 4]), Err(Error::InvalidParameter));
    }

    #[test]
    fn nothing_to_send() {
        assert_eq!(check(0, 0, &[]), Ok(()));
        assert_eq!(check(0, 0, &[0]), Ok(()));
        assert_eq!(check(0, 1, &[]), Err(Error::InvalidParameter));
        let refused = check_length(0, 0, core::iter::empty(), ZeroLength::Refused);
        assert_eq!(refused, Err(Error::InvalidParameter));
    }

    #[test]
    fn chains_that_never_end() {
        let empty = check_length(0, 1, core::iter::repeat(0), ZeroLength::Allowed);
        assert_eq!(empty, Err(Error::InvalidParameter));
        let huge = check_length(
            0,
            u32::MAX,
            core::iter::repeat(u32::MAX),
            ZeroLength::Allowed,
        );
        assert_eq!(huge, Err(Error::InvalidParameter));
    }

    #[test]
    fn engine_bits_stay_with_the_engine() {
        assert_eq!(
            tdi_flags(SYNCHRONOUS | PARTIAL | 0xC000_0000 | 0x1A0),
            0x1A0
        );
    }
}
