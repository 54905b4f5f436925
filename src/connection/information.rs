//! Deep copies of a client's connection information, in one allocation each.

use core::ptr;

use rxce_engine::Error;

use crate::{
    nt::pool::{Bytes, Tag},
    tdi::bindings::TDI_CONNECTION_INFORMATION,
};

/// What a client knows of a peer, in pieces that were checked.
#[derive(Clone, Copy)]
pub(crate) struct Remote<'a> {
    /// `RemoteAddress`, never empty.
    pub(crate) address: &'a [u8],
    /// `UserData`.
    pub(crate) user_data: &'a [u8],
    /// `Options`.
    pub(crate) options: &'a [u8],
}

/// Copies of connection informations.
const TAG: Tag = Tag::new(*b"RxCi");

/// Alignment of each piece of a copy.
const ALIGNMENT: usize = 8;

/// The structure, then what it points to.
pub(super) struct Information(Bytes);

impl Information {
    /// Copies the pieces.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn new(remote: Remote<'_>) -> Result<Self, Error> {
        let mut end = size_of::<TDI_CONNECTION_INFORMATION>();
        let mut place = |piece: &[u8]| {
            let start = end.checked_next_multiple_of(ALIGNMENT)?;
            end = start.checked_add(piece.len())?;
            Some(start)
        };
        let places = (
            place(remote.user_data),
            place(remote.options),
            place(remote.address),
        );
        let (Some(user_data), Some(options), Some(address)) = places else {
            return Err(Error::InvalidParameter);
        };
        let mut bytes = Bytes::new(end, TAG)?;
        let base = bytes.as_ptr();
        let mut copy = |start: usize, piece: &[u8]| -> Result<(i32, *mut u8), Error> {
            if piece.is_empty() {
                return Ok((0, ptr::null_mut()));
            }
            let slot = bytes
                .get_mut(start..)
                .and_then(|rest| rest.get_mut(..piece.len()));
            slot.ok_or(Error::InvalidParameter)?.copy_from_slice(piece);
            let length = i32::try_from(piece.len()).map_err(|_| Error::InvalidParameter)?;
            Ok((length, base.wrapping_add(start)))
        };
        let (user_data_length, user_data) = copy(user_data, remote.user_data)?;
        let (options_length, options) = copy(options, remote.options)?;
        let (address_length, address) = copy(address, remote.address)?;
        let structure = TDI_CONNECTION_INFORMATION {
            UserDataLength: user_data_length,
            UserData: user_data.cast(),
            OptionsLength: options_length,
            Options: options.cast(),
            RemoteAddressLength: address_length,
            RemoteAddress: address.cast(),
        };
        // SAFETY: The allocation begins with room for the structure and is aligned to 16 bytes.
        unsafe { base.cast::<TDI_CONNECTION_INFORMATION>().write(structure) };
        Ok(Self(bytes))
    }

    /// The structure.
    pub(super) const fn as_ptr(&self) -> *mut TDI_CONNECTION_INFORMATION {
        self.0.as_ptr().cast()
    }
}
