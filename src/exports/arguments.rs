//! What clients hand in by pointer, checked and turned into slices and copies.

use core::slice;

use rxce_engine::{Error, transport_address};
use wdk_sys::{PVOID, UNICODE_STRING};

use crate::{
    abi,
    connection::{information::Remote, multiple},
    tdi::bindings::TDI_CONNECTION_INFORMATION,
};

/// A provider's name: not empty, of whole characters, inside its buffer.
///
/// # Safety
///
/// `name` is NULL or points to a string whose buffer, if any, is as long as it says.
pub(super) unsafe fn device_name<'a>(name: *const UNICODE_STRING) -> Result<&'a [u16], Error> {
    // SAFETY: Forwarded.
    let name = unsafe { name.as_ref() }.ok_or(Error::InvalidParameter)?;
    let valid =
        name.Length != 0 && name.Length.is_multiple_of(2) && name.Length <= name.MaximumLength;
    if !valid || name.Buffer.is_null() || !name.Buffer.is_aligned() {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: Forwarded; the buffer is aligned.
    Ok(unsafe { slice::from_raw_parts(name.Buffer, usize::from(name.Length / 2)) })
}

/// A local address, as long as its own members say.
///
/// # Safety
///
/// `address` is NULL or points to a `TRANSPORT_ADDRESS`.
pub(super) unsafe fn local_address<'a>(address: *const u8) -> Result<&'a [u8], Error> {
    if address.is_null() {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: Forwarded; the structure is packed.
    let count = unsafe { address.cast::<i32>().read_unaligned() };
    let length = transport_address::checked_length(count, |at| {
        let header = address.wrapping_add(usize::from(at)).cast::<[u16; 2]>();
        // SAFETY: Forwarded: the structure goes on where the address before it ends.
        let [length, address_type] = unsafe { header.read_unaligned() };
        (length, address_type)
    })?;
    // SAFETY: Forwarded.
    Ok(unsafe { slice::from_raw_parts(address, usize::from(length)) })
}

/// The addresses of a competition.
///
/// # Safety
///
/// `addresses` is NULL or points to `count` pointers.
pub(super) unsafe fn address_array<'a>(
    addresses: *const *mut abi::Address,
    count: u32,
) -> Result<&'a [*mut abi::Address], Error> {
    if addresses.is_null() || count == 0 || count > multiple::MOST_ADDRESSES {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: Forwarded.
    Ok(unsafe { slice::from_raw_parts(addresses, count as usize) })
}

/// A copy of a client's plain structure.
///
/// # Safety
///
/// `table` is NULL or points to one.
pub(super) const unsafe fn table<T>(table: *const T) -> Result<T, Error> {
    if table.is_null() {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: Forwarded.
    Ok(unsafe { table.read_unaligned() })
}

/// The pieces of a connection information; a well-formed remote address is mandatory.
///
/// # Safety
///
/// `information` is NULL or points to one whose members are valid.
pub(super) unsafe fn remote<'a>(
    information: *const TDI_CONNECTION_INFORMATION,
) -> Result<Remote<'a>, Error> {
    // SAFETY: Forwarded.
    let information = unsafe { table(information) }?;
    // SAFETY: Forwarded.
    let address = unsafe { piece(information.RemoteAddress, information.RemoteAddressLength) }?;
    transport_address::check(address)?;
    // SAFETY: Forwarded.
    let user_data = unsafe { piece(information.UserData, information.UserDataLength) }?;
    // SAFETY: Forwarded.
    let options = unsafe { piece(information.Options, information.OptionsLength) }?;
    Ok(Remote {
        address,
        user_data,
        options,
    })
}

/// Bytes with a signed length, at most as many as an extended attribute could carry.
///
/// # Safety
///
/// `start` is NULL or valid for `length` bytes.
pub(super) unsafe fn piece<'a>(start: PVOID, length: i32) -> Result<&'a [u8], Error> {
    let length = u16::try_from(length).map_err(|_| Error::InvalidParameter)?;
    match (start.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Error::InvalidParameter),
        // SAFETY: Forwarded.
        (false, _) => Ok(unsafe { slice::from_raw_parts(start.cast(), usize::from(length)) }),
    }
}
