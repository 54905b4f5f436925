//! The structures of `rxce.h` as clients see them, and the only access to them.
//!
//! A client's pointer becomes a [`Client`] once, in [`crate::exports`]. Nothing is read or written through one unless
//! the registry has said that the engine built a structure at that address, or a build has reserved it.
#![expect(non_snake_case, reason = "documented DDI names")]

pub(crate) mod extension;

use core::{
    ffi::c_void,
    mem::offset_of,
    ptr::{self, NonNull},
};

use rxce_engine::Error;
use wdk_sys::{
    DEVICE_OBJECT, FILE_OBJECT, HANDLE, KEVENT, MDL, NTSTATUS, PMDL, PVOID, UNICODE_STRING,
    WORK_QUEUE_ITEM,
};

use crate::tdi::bindings::{TDI_CONNECTION_INFORMATION, TDI_PROVIDER_INFO};

/// `RXCE_TRANSPORT`.
#[repr(C)]
pub(crate) struct Transport {
    pub(crate) Signature: u32,
    pub(crate) Name: UNICODE_STRING,
    pub(crate) pDeviceObject: *mut DEVICE_OBJECT,
    pub(crate) ControlChannel: HANDLE,
    pub(crate) pControlChannelFileObject: *mut FILE_OBJECT,
    pub(crate) pProviderInfo: *mut TDI_PROVIDER_INFO,
    pub(crate) ConnectionCount: i32,
    pub(crate) VirtualCircuitCount: i32,
    pub(crate) QualityOfService: u32,
}

/// `RXCE_ADDRESS`.
#[repr(C)]
pub(crate) struct Address {
    pub(crate) Signature: u32,
    pub(crate) pTransport: *mut Transport,
    pub(crate) pTransportAddress: *mut c_void,
    pub(crate) pContext: PVOID,
    pub(crate) pHandler: *mut AddressEventHandler,
    pub(crate) pReceiveMdl: *mut MDL,
    pub(crate) hAddress: HANDLE,
    pub(crate) pFileObject: *mut FILE_OBJECT,
    pub(crate) ConnectionCount: i32,
    pub(crate) VirtualCircuitCount: i32,
}

/// `RXCE_CONNECTION`.
#[repr(C)]
pub(crate) struct Connection {
    pub(crate) Signature: u32,
    pub(crate) pAddress: *mut Address,
    pub(crate) VirtualCircuitCount: u32,
    pub(crate) pContext: PVOID,
    pub(crate) pHandler: *mut ConnectionEventHandler,
    pub(crate) pConnectionInformation: *mut TDI_CONNECTION_INFORMATION,
}

/// `RXCE_VC`.
#[repr(C)]
pub(crate) struct Vc {
    pub(crate) Signature: u32,
    pub(crate) pConnection: *mut Connection,
    pub(crate) hEndpoint: HANDLE,
    pub(crate) pEndpointFileObject: *mut FILE_OBJECT,
    pub(crate) State: i32,
    pub(crate) ConnectionId: usize,
    pub(crate) pReceiveMdl: *mut MDL,
    pub(crate) pCleanUpEvent: *mut KEVENT,
}

/// `RXCE_TRANSPORT_INFORMATION`.
#[repr(C)]
pub(crate) struct TransportInformation {
    pub(crate) Provider: TDI_PROVIDER_INFO,
    pub(crate) ConnectionCount: u32,
    pub(crate) QualityOfService: u32,
}

/// `RX_WORK_QUEUE_ITEM`.
#[repr(C)]
pub(crate) struct WorkQueueItem {
    pub(crate) Item: WORK_QUEUE_ITEM,
    pub(crate) pDeviceObject: PVOID,
}

/// `RXCE_CONNECTION_COMPLETION_CONTEXT`.
#[repr(C)]
pub(crate) struct CompletionContext {
    pub(crate) Status: NTSTATUS,
    pub(crate) AddressIndex: u32,
    pub(crate) pConnection: *mut Connection,
    pub(crate) pVc: *mut Vc,
    pub(crate) WorkQueueItem: WorkQueueItem,
    pub(crate) pConnectionInformation: *mut TDI_CONNECTION_INFORMATION,
}

/// `PRXCE_CONNECTION_COMPLETION_ROUTINE`.
pub(crate) type CompletionRoutine = unsafe extern "C" fn(*mut CompletionContext) -> NTSTATUS;

const _: () = {
    assert!(size_of::<WorkQueueItem>() == 0x28);
    assert!(size_of::<CompletionContext>() == 0x48);
    assert!(offset_of!(CompletionContext, AddressIndex) == 0x04);
    assert!(offset_of!(CompletionContext, pConnection) == 0x08);
    assert!(offset_of!(CompletionContext, pVc) == 0x10);
    assert!(offset_of!(CompletionContext, WorkQueueItem) == 0x18);
    assert!(offset_of!(CompletionContext, pConnectionInformation) == 0x40);
    assert!(size_of::<TransportInformation>() == 0x30);
    assert!(offset_of!(TransportInformation, ConnectionCount) == 0x28);
    assert!(offset_of!(TransportInformation, QualityOfService) == 0x2C);
    assert!(size_of::<Transport>() == 0x48);
    assert!(offset_of!(Transport, Name) == 0x08);
    assert!(offset_of!(Transport, pDeviceObject) == 0x18);
    assert!(offset_of!(Transport, ControlChannel) == 0x20);
    assert!(offset_of!(Transport, pControlChannelFileObject) == 0x28);
    assert!(offset_of!(Transport, pProviderInfo) == 0x30);
    assert!(offset_of!(Transport, ConnectionCount) == 0x38);
    assert!(offset_of!(Transport, VirtualCircuitCount) == 0x3C);
    assert!(offset_of!(Transport, QualityOfService) == 0x40);
    assert!(size_of::<Address>() == 0x48);
    assert!(offset_of!(Address, pTransport) == 0x08);
    assert!(offset_of!(Address, pTransportAddress) == 0x10);
    assert!(offset_of!(Address, pContext) == 0x18);
    assert!(offset_of!(Address, pHandler) == 0x20);
    assert!(offset_of!(Address, pReceiveMdl) == 0x28);
    assert!(offset_of!(Address, hAddress) == 0x30);
    assert!(offset_of!(Address, pFileObject) == 0x38);
    assert!(offset_of!(Address, ConnectionCount) == 0x40);
    assert!(offset_of!(Address, VirtualCircuitCount) == 0x44);
    assert!(size_of::<Connection>() == 0x30);
    assert!(offset_of!(Connection, pAddress) == 0x08);
    assert!(offset_of!(Connection, VirtualCircuitCount) == 0x10);
    assert!(offset_of!(Connection, pContext) == 0x18);
    assert!(offset_of!(Connection, pHandler) == 0x20);
    assert!(offset_of!(Connection, pConnectionInformation) == 0x28);
    assert!(size_of::<Vc>() == 0x40);
    assert!(offset_of!(Vc, pConnection) == 0x08);
    assert!(offset_of!(Vc, hEndpoint) == 0x10);
    assert!(offset_of!(Vc, pEndpointFileObject) == 0x18);
    assert!(offset_of!(Vc, State) == 0x20);
    assert!(offset_of!(Vc, ConnectionId) == 0x28);
    assert!(offset_of!(Vc, pReceiveMdl) == 0x30);
    assert!(offset_of!(Vc, pCleanUpEvent) == 0x38);
};

/// Writes one field of a client's structure. In an `unsafe` sense: the structure is registered, so its client keeps it
/// allocated, and the caller is the one who may change the field now.
macro_rules! write_field {
    ($client:expr, $field:ident, $value:expr) => {{
        let structure = $client.as_ptr();
        // SAFETY: This only computes an address inside the registered structure.
        let field = unsafe { &raw mut (*structure).$field };
        // SAFETY: The structure is registered, and nobody else writes the field now.
        unsafe { field.write_volatile($value) };
    }};
}
pub(crate) use write_field;

/// A structure that begins with its node type code and its size.
pub(crate) trait Signed {
    /// The whole signature word.
    const SIGNATURE: u32;
}

const fn signature<T>(node_type: u16) -> u32 {
    let [size_low, size_high, ..] = size_of::<T>().to_le_bytes();
    let [type_low, type_high] = node_type.to_le_bytes();
    u32::from_le_bytes([type_low, type_high, size_low, size_high])
}

impl Signed for Transport {
    const SIGNATURE: u32 = signature::<Self>(0xEB71);
}

impl Signed for Address {
    const SIGNATURE: u32 = signature::<Self>(0xEB72);
}

impl Signed for Connection {
    const SIGNATURE: u32 = signature::<Self>(0xEB73);
}

impl Signed for Vc {
    const SIGNATURE: u32 = signature::<Self>(0xEB74);
}

const _: () = assert!(Transport::SIGNATURE == 0x0048_EB71 && Address::SIGNATURE == 0x0048_EB72);
const _: () = assert!(Connection::SIGNATURE == 0x0030_EB73 && Vc::SIGNATURE == 0x0040_EB74);

/// A pointer to a client's structure: not NULL and aligned, and nothing more is known of it.
pub(crate) struct Client<T>(NonNull<T>);

impl<T> Clone for Client<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Client<T> {}

// SAFETY: The pointer alone gives no access.
unsafe impl<T> Send for Client<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Client<T> {}

impl<T> Client<T> {
    /// Checks a pointer that a client handed in.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for NULL and misaligned pointers.
    pub(crate) fn new(pointer: *mut T) -> Result<Self, Error> {
        NonNull::new(pointer)
            .filter(|pointer| pointer.is_aligned())
            .map(Self)
            .ok_or(Error::InvalidParameter)
    }

    /// The key by which the registry knows the structure.
    pub(crate) fn address(self) -> usize {
        self.0.addr().get()
    }

    /// The same of another type, or of none.
    pub(crate) const fn cast<U>(self) -> Client<U> {
        Client(self.0.cast())
    }

    /// The pointer, for callbacks and parents' fields.
    pub(crate) const fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Signed> Client<T> {
    /// A copy of all fields.
    ///
    /// # Safety
    ///
    /// The structure is registered, so its client keeps it allocated.
    pub(crate) unsafe fn snapshot(self) -> T {
        // SAFETY: Forwarded.
        unsafe { self.as_ptr().read_volatile() }
    }

    /// Whether the signature is intact.
    ///
    /// # Safety
    ///
    /// The structure is registered.
    pub(crate) unsafe fn is_signed(self) -> bool {
        // SAFETY: Forwarded; each structure begins with its signature.
        unsafe { self.as_ptr().cast::<u32>().read_volatile() == T::SIGNATURE }
    }

    /// Writes all fields, the signature last.
    ///
    /// # Safety
    ///
    /// The structure is reserved by the caller's build.
    pub(crate) unsafe fn publish(self, value: T) {
        let signature = self.as_ptr().cast::<u32>();
        // SAFETY: Forwarded. `value` has no signature yet.
        unsafe { self.as_ptr().write(value) };
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        // SAFETY: As above.
        unsafe { signature.write_volatile(T::SIGNATURE) };
    }

    /// Clears the signature, then everything.
    ///
    /// # Safety
    ///
    /// The structure is registered, and the caller owns it.
    pub(crate) unsafe fn clear(self) {
        // SAFETY: Forwarded.
        unsafe { self.as_ptr().cast::<u32>().write_volatile(0) };
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        // SAFETY: Forwarded; all zeroes is the state before a build.
        unsafe { ptr::write_bytes(self.as_ptr(), 0, 1) };
    }
}

/// `PRXCE_IND_RECEIVE` and `PRXCE_IND_RECEIVE_EXPEDITED`.
pub(crate) type Receive = unsafe extern "C" fn(
    PVOID,
    *mut Vc,
    u32,
    u32,
    u32,
    *mut u32,
    PVOID,
    *mut PMDL,
    *mut u32,
) -> NTSTATUS;

/// `PRXCE_IND_RECEIVE_DATAGRAM`.
pub(crate) type ReceiveDatagram = unsafe extern "C" fn(
    PVOID,
    i32,
    PVOID,
    i32,
    PVOID,
    u32,
    u32,
    u32,
    *mut u32,
    PVOID,
    *mut PMDL,
    *mut u32,
) -> NTSTATUS;

/// `RXCE_ADDRESS_EVENT_HANDLER`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AddressEventHandler {
    pub(crate) Error: Option<unsafe extern "C" fn(PVOID, NTSTATUS) -> NTSTATUS>,
    pub(crate) ReceiveDatagram: Option<ReceiveDatagram>,
    pub(crate) DataReady: Option<unsafe extern "C" fn(PVOID, PMDL, u32, NTSTATUS) -> NTSTATUS>,
    pub(crate) SendPossible: Option<unsafe extern "C" fn(PVOID, *mut Vc, u32) -> NTSTATUS>,
    pub(crate) SendComplete: Option<unsafe extern "C" fn(PVOID, PVOID, NTSTATUS) -> NTSTATUS>,
}

/// `RXCE_CONNECTION_EVENT_HANDLER`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ConnectionEventHandler {
    pub(crate) Disconnect:
        Option<unsafe extern "C" fn(PVOID, *mut Vc, i32, PVOID, i32, PVOID, u32) -> NTSTATUS>,
    pub(crate) Error: Option<unsafe extern "C" fn(PVOID, *mut Vc, NTSTATUS) -> NTSTATUS>,
    pub(crate) Receive: Option<Receive>,
    pub(crate) ReceiveDatagram: Option<ReceiveDatagram>,
    pub(crate) ReceiveExpedited: Option<Receive>,
    pub(crate) SendPossible: Option<unsafe extern "C" fn(PVOID, *mut Vc, u32) -> NTSTATUS>,
    pub(crate) DataReady: Option<unsafe extern "C" fn(PVOID, PMDL, u32, NTSTATUS) -> NTSTATUS>,
    pub(crate) SendComplete:
        Option<unsafe extern "C" fn(PVOID, *mut Vc, PVOID, NTSTATUS) -> NTSTATUS>,
    pub(crate) SendSubmitted:
        Option<unsafe extern "C" fn(PVOID, *mut Vc, PVOID, NTSTATUS) -> NTSTATUS>,
}

const _: () = {
    assert!(size_of::<AddressEventHandler>() == 0x28);
    assert!(offset_of!(AddressEventHandler, ReceiveDatagram) == 0x08);
    assert!(offset_of!(AddressEventHandler, DataReady) == 0x10);
    assert!(offset_of!(AddressEventHandler, SendPossible) == 0x18);
    assert!(offset_of!(AddressEventHandler, SendComplete) == 0x20);
    assert!(size_of::<ConnectionEventHandler>() == 0x48);
    assert!(offset_of!(ConnectionEventHandler, Error) == 0x08);
    assert!(offset_of!(ConnectionEventHandler, Receive) == 0x10);
    assert!(offset_of!(ConnectionEventHandler, ReceiveDatagram) == 0x18);
    assert!(offset_of!(ConnectionEventHandler, ReceiveExpedited) == 0x20);
    assert!(offset_of!(ConnectionEventHandler, SendPossible) == 0x28);
    assert!(offset_of!(ConnectionEventHandler, DataReady) == 0x30);
    assert!(offset_of!(ConnectionEventHandler, SendComplete) == 0x38);
    assert!(offset_of!(ConnectionEventHandler, SendSubmitted) == 0x40);
};
