//! The memory of a send: bytes of nonpaged pool and their MDL, from the request until the engine has sent them.

use core::ptr::NonNull;

use client_nt::{
    mdl::Mdl,
    pool::{Bytes, NonPaged},
    status::Result,
};
use wdk_sys::{PMDL, PVOID, STATUS_INVALID_PARAMETER, ULONG};

/// `ExSn`: a send with its bytes.
const TAG_SEND: ULONG = ULONG::from_le_bytes(*b"ExSn");

/// A send.
pub(crate) struct Send {
    // First: it describes the bytes. None for a send without bytes.
    mdl: Option<Mdl>,
    _bytes: Bytes,
    len: u32,
}

impl Send {
    /// Copies the bytes to nonpaged pool.
    pub(crate) fn try_new(bytes: &[u8]) -> Result<NonPaged<Self>> {
        let len = u32::try_from(bytes.len()).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let mut copy = Bytes::try_new(bytes.len(), TAG_SEND)?;
        copy.copy_from_slice(bytes);
        let mdl = if bytes.is_empty() {
            None
        } else {
            // SAFETY: Nonpaged pool, which is dropped after the MDL (order of the fields).
            Some(unsafe { Mdl::over(copy.as_mut_ptr(), bytes.len()) }?)
        };
        NonPaged::try_new(
            Self {
                mdl,
                _bytes: copy,
                len,
            },
            TAG_SEND,
        )
    }

    /// The MDL, for as long as `self` lives.
    pub(crate) fn mdl(&self) -> PMDL {
        self.mdl.as_ref().map_or(core::ptr::null_mut(), Mdl::as_ptr)
    }

    /// How many bytes there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Takes a send back from the engine's callback.
    ///
    /// # Safety
    ///
    /// `context` was given to the engine as the completion context of this send, and comes back once.
    pub(crate) unsafe fn from_context(context: PVOID) -> Option<NonPaged<Self>> {
        let send = NonNull::new(context.cast::<Self>())?;
        // SAFETY: Forwarded from this function's `# Safety` section.
        Some(unsafe { NonPaged::from_raw(send, TAG_SEND) })
    }
}
