//! Registrations with Event Tracing for Windows (ETW), and what events are handed over in.
//!
//! `EtwRegister` and `EtwUnregister` are documented for `PASSIVE_LEVEL`, `EtwWriteTransfer` for any level with resident data.

use core::{
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

use wdk_sys::{EVENT_DATA_DESCRIPTOR, EVENT_DESCRIPTOR, GUID, PETWENABLECALLBACK, ntddk};

/// A provider of events. Without a registration nothing is written.
pub(crate) struct Provider(AtomicU64);

/// One piece of an event: `EVENT_DATA_DESCRIPTOR`, in which older headers have no name for the kind.
#[repr(C)]
pub(crate) struct Piece<'a> {
    address: u64,
    bytes: u32,
    kind: Kind,
    borrowed: PhantomData<&'a ()>,
}

const _: () = assert!(
    size_of::<Piece<'_>>() == size_of::<EVENT_DATA_DESCRIPTOR>()
        && align_of::<Piece<'_>>() == align_of::<EVENT_DATA_DESCRIPTOR>()
);

/// What a piece is for (`EVENT_DATA_DESCRIPTOR_TYPE_…` of evntprov.h).
#[repr(u32)]
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The values of the event.
    Values = 0,
    /// The description of the event.
    Event = 1,
    /// The description of its provider.
    Provider = 2,
}

impl<'a> Piece<'a> {
    /// A value as a piece. It lies on a stack, in nonpaged pool or in a resident section.
    pub(crate) fn new<T>(kind: Kind, value: &'a T) -> Self {
        const {
            assert!(
                size_of::<T>() <= u16::MAX as usize,
                "more than an event takes"
            )
        };
        Self {
            address: ptr::from_ref(value).addr() as u64,
            // It fits: see above.
            bytes: u32::try_from(size_of::<T>()).unwrap_or(0),
            kind,
            borrowed: PhantomData,
        }
    }
}

impl Provider {
    /// A provider that is not registered.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Registers it. From now on `control` is told who listens; it is called before this returns if somebody does already. A failure
    /// leaves it unregistered, and the driver without events.
    ///
    /// # Safety
    ///
    /// It is not registered, and nobody registers or unregisters it meanwhile. [`Self::unregister`] is called before the image goes.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) unsafe fn register(&self, id: &'static GUID, control: PETWENABLECALLBACK) {
        let mut handle = 0;
        // SAFETY: The id is static, and `control` is of this type and remains, by the contract.
        let status = unsafe { ntddk::EtwRegister(id, control, ptr::null_mut(), &raw mut handle) };
        if wdk::nt_success(status) {
            self.0.store(handle, Ordering::Release);
        }
    }

    /// Ends the registration: `control` is not called any more. A provider that is not registered stays so.
    ///
    /// # Safety
    ///
    /// Nobody registers or unregisters it meanwhile, and nobody writes.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) unsafe fn unregister(&self) {
        let handle = self.0.swap(0, Ordering::AcqRel);
        if handle != 0 {
            // SAFETY: The handle is a registration's, which ends here, once.
            let _ = unsafe { ntddk::EtwUnregister(handle) };
        }
    }

    /// Writes an event to those who listen. It may be lost, as ETW's buffers are limited; nobody can do anything about it.
    ///
    /// # IRQL
    ///
    /// any
    pub(crate) fn write<const N: usize>(
        &self,
        event: &EVENT_DESCRIPTOR,
        mut pieces: [Piece<'_>; N],
    ) {
        let handle = self.0.load(Ordering::Acquire);
        // SAFETY: The pieces are laid out as ETW's, and what they lead to is borrowed and resident.
        let _ = unsafe {
            ntddk::EtwWriteTransfer(
                handle,
                event,
                ptr::null(),
                ptr::null(),
                u32::try_from(N).unwrap_or(0),
                pieces.as_mut_ptr().cast(),
            )
        };
    }
}
