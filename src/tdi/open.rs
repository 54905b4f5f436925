//! Opens of the three kinds of TDI objects. The extended attribute says which one is meant.

use rxce_engine::{Error, ea};
use wdk_sys::UNICODE_STRING;

use crate::nt::{
    file::File,
    pool::{Bytes, Tag},
};

/// Extended attributes of opens.
const EA_TAG: Tag = Tag::new(*b"RxEa");

/// Opens a provider's control channel.
///
/// # Errors
///
/// The status of the open.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, special kernel APCs enabled
pub(crate) fn control_channel(file: &File, provider: &UNICODE_STRING) -> Result<(), Error> {
    file.open(provider, &mut [])
}

/// The extended attribute of an open, allocated and filled ahead of it.
pub(crate) struct Attribute(Bytes);

impl Attribute {
    /// Names a local address.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(crate) fn transport_address(address: &[u8]) -> Result<Self, Error> {
        Self::new(ea::TRANSPORT_ADDRESS, address)
    }

    /// Names the token that the transport hands back with each event of an endpoint.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(crate) fn connection_context(token: usize) -> Result<Self, Error> {
        Self::new(ea::CONNECTION_CONTEXT, &token.to_ne_bytes())
    }

    fn new(name: &[u8], value: &[u8]) -> Result<Self, Error> {
        let length = u16::try_from(value.len()).map_err(|_| Error::InvalidParameter)?;
        let mut entry = Bytes::new(ea::encoded_length(name, length), EA_TAG)?;
        let slot = ea::begin(name, length, &mut entry).ok_or(Error::InvalidParameter)?;
        slot.copy_from_slice(value);
        Ok(Self(entry))
    }

    /// Opens the object that the attribute names.
    ///
    /// # Errors
    ///
    /// The status of the open.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`, special kernel APCs enabled
    pub(crate) fn open(&mut self, file: &File, provider: &UNICODE_STRING) -> Result<(), Error> {
        file.open(provider, &mut self.0)
    }
}
