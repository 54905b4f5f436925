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

/// Opens a local address.
///
/// # Errors
///
/// [`Error::InsufficientResources`], or the status of the open.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, special kernel APCs enabled
pub(crate) fn address(file: &File, provider: &UNICODE_STRING, address: &[u8]) -> Result<(), Error> {
    let length = u16::try_from(address.len()).map_err(|_| Error::InvalidParameter)?;
    let mut entry = Bytes::new(ea::encoded_length(ea::TRANSPORT_ADDRESS, length), EA_TAG)?;
    named(
        file,
        provider,
        ea::TRANSPORT_ADDRESS,
        address,
        length,
        &mut entry,
    )
}

/// Opens an endpoint of a circuit with the token that the transport hands back with each of its events. Needs no memory.
///
/// # Errors
///
/// The status of the open.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, special kernel APCs enabled
pub(crate) fn endpoint(file: &File, provider: &UNICODE_STRING, token: usize) -> Result<(), Error> {
    const LENGTH: u16 = 8;
    let mut entry = [0; ea::encoded_length(ea::CONNECTION_CONTEXT, LENGTH)];
    named(
        file,
        provider,
        ea::CONNECTION_CONTEXT,
        &token.to_ne_bytes(),
        LENGTH,
        &mut entry,
    )
}

/// Opens what the extended attribute in `entry` names.
fn named(
    file: &File,
    provider: &UNICODE_STRING,
    name: &[u8],
    value: &[u8],
    length: u16,
    entry: &mut [u8],
) -> Result<(), Error> {
    let slot = ea::begin(name, length, entry).ok_or(Error::InvalidParameter)?;
    slot.copy_from_slice(value);
    file.open(provider, entry)
}
