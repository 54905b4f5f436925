//! Registry values, read through the documented routines.

use core::{mem::offset_of, ptr};

use rxce_engine::Error;
use wdk_sys::{
    _KEY_VALUE_INFORMATION_CLASS::KeyValuePartialInformation, HANDLE, KEY_READ,
    KEY_VALUE_PARTIAL_INFORMATION, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES,
    REG_DWORD, REG_SZ, UNICODE_STRING, ntddk,
};

use super::{file::OBJECT_ATTRIBUTES_LENGTH, unicode};

/// The most bytes of a value that are read.
const MOST_BYTES: usize = 512;

/// An open key.
pub(crate) struct Key(HANDLE);

impl Key {
    /// Opens a key for reading; `below` is another key, or `None` for a full path.
    ///
    /// # Errors
    ///
    /// The status of the open.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn open(below: Option<&Self>, name: &UNICODE_STRING) -> Result<Self, Error> {
        let mut name = *name;
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: OBJECT_ATTRIBUTES_LENGTH,
            RootDirectory: below.map_or(ptr::null_mut(), |key| key.0),
            ObjectName: &raw mut name,
            Attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = ptr::null_mut();
        // SAFETY: All pointers live across the call.
        let status = unsafe { ntddk::ZwOpenKey(&raw mut handle, KEY_READ, &raw mut attributes) };
        if wdk::nt_success(status) {
            Ok(Self(handle))
        } else {
            Err(Error::Transport(status))
        }
    }

    /// A number; `None` if there is none of that name and type.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn number(&self, name: &[u16]) -> Option<u32> {
        let value = self.value(name, REG_DWORD)?;
        value.bytes().first_chunk().copied().map(u32::from_le_bytes)
    }

    /// A string without its NUL, copied to the front of `buffer`; `None` if there is none of that name and type, if it is
    /// empty, or if it does not fit.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn string<'b>(&self, name: &[u16], buffer: &'b mut [u16]) -> Option<&'b [u16]> {
        let value = self.value(name, REG_SZ)?;
        let mut length = 0_usize;
        for pair in value.bytes().chunks_exact(2) {
            let unit = u16::from_le_bytes(*pair.first_chunk()?);
            if unit == 0 {
                break;
            }
            *buffer.get_mut(length)? = unit;
            length = length.saturating_add(1);
        }
        buffer.get(..length).filter(|text| !text.is_empty())
    }

    fn value(&self, name: &[u16], kind: u32) -> Option<Value> {
        let mut name = unicode::borrowed(name)?;
        let mut value = Value {
            words: [0; MOST_BYTES / 8],
        };
        let mut length = 0_u32;
        const ROOM: u32 = {
            assert!(MOST_BYTES == 512);
            512
        };
        // SAFETY: All pointers live across the call; the buffer is as long as is said.
        let status = unsafe {
            ntddk::ZwQueryValueKey(
                self.0,
                &raw mut name,
                KeyValuePartialInformation,
                value.words.as_mut_ptr().cast(),
                ROOM,
                &raw mut length,
            )
        };
        (wdk::nt_success(status) && value.field(TYPE) == kind).then_some(value)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: The handle was opened by `open`, and is closed once.
        let _ = unsafe { ntddk::ZwClose(self.0) };
    }
}

/// A `KEY_VALUE_PARTIAL_INFORMATION` with its data.
struct Value {
    words: [u64; MOST_BYTES / 8],
}

const TYPE: usize = offset_of!(KEY_VALUE_PARTIAL_INFORMATION, Type);
const LENGTH: usize = offset_of!(KEY_VALUE_PARTIAL_INFORMATION, DataLength);
const DATA: usize = offset_of!(KEY_VALUE_PARTIAL_INFORMATION, Data);

impl Value {
    fn all(&self) -> &[u8] {
        // SAFETY: The words are initialised, and bytes have no alignment.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), MOST_BYTES) }
    }

    fn field(&self, at: usize) -> u32 {
        let bytes = self.all().get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u32::from_le_bytes)
    }

    fn bytes(&self) -> &[u8] {
        let length = self.field(LENGTH) as usize;
        let data = self.all().get(DATA..).unwrap_or_default();
        data.get(..length).unwrap_or_default()
    }
}
