//! The structures of the header's section "Extensions".

use core::{ffi::c_void, mem::offset_of};

use wdk_sys::{NTSTATUS, PMDL, PVOID};

use super::{ConnectionEventHandler, Receive, ReceiveDatagram, Vc};

/// `RXCEX_SMALL_EVENT_HANDLER`: the connection's table without its last member.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SmallEventHandler {
    Disconnect:
        Option<unsafe extern "C" fn(PVOID, *mut Vc, i32, PVOID, i32, PVOID, u32) -> NTSTATUS>,
    Error: Option<unsafe extern "C" fn(PVOID, *mut Vc, NTSTATUS) -> NTSTATUS>,
    Receive: Option<Receive>,
    ReceiveDatagram: Option<ReceiveDatagram>,
    ReceiveExpedited: Option<Receive>,
    SendPossible: Option<unsafe extern "C" fn(PVOID, *mut Vc, u32) -> NTSTATUS>,
    DataReady: Option<unsafe extern "C" fn(PVOID, PMDL, u32, NTSTATUS) -> NTSTATUS>,
    SendComplete: Option<unsafe extern "C" fn(PVOID, *mut Vc, PVOID, NTSTATUS) -> NTSTATUS>,
}

impl From<SmallEventHandler> for ConnectionEventHandler {
    fn from(small: SmallEventHandler) -> Self {
        Self {
            Disconnect: small.Disconnect,
            Error: small.Error,
            Receive: small.Receive,
            ReceiveDatagram: small.ReceiveDatagram,
            ReceiveExpedited: small.ReceiveExpedited,
            SendPossible: small.SendPossible,
            DataReady: small.DataReady,
            SendComplete: small.SendComplete,
            SendSubmitted: None,
        }
    }
}

/// `PRXCEX_IND_CHAINED_RECEIVE`.
pub(crate) type ChainedReceive =
    unsafe extern "C" fn(PVOID, *mut Vc, u32, u32, u32, PMDL, PVOID) -> NTSTATUS;

/// How many routines the table has.
pub(crate) const ROUTINES: usize = 23;
/// How many the table of the first version had.
pub(crate) const FIRST_ROUTINES: usize = 22;

/// `RXCEX_ROUTINES`.
#[repr(C)]
pub(crate) struct Routines {
    pub(crate) Size: u32,
    pub(crate) Version: u32,
    pub(crate) routines: [*const c_void; ROUTINES],
}

// SAFETY: The table is only read; its pointers are those of functions.
unsafe impl Sync for Routines {}

/// `RXCEX_COUNTERS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) Size: u32,
    pub(crate) Version: u32,
    pub(crate) Sends: u64,
    pub(crate) BytesSent: u64,
    pub(crate) SendFailures: u64,
    pub(crate) Receives: u64,
    pub(crate) BytesReceived: u64,
    pub(crate) ReceivesRefused: u64,
    pub(crate) ReceivesRefetched: u64,
    pub(crate) DatagramsSent: u64,
    pub(crate) DatagramBytesSent: u64,
    pub(crate) DatagramSendFailures: u64,
    pub(crate) DatagramsReceived: u64,
    pub(crate) DatagramBytesReceived: u64,
    pub(crate) DatagramsRefused: u64,
    pub(crate) Connects: u64,
    pub(crate) ConnectFailures: u64,
    pub(crate) LocalDisconnects: u64,
    pub(crate) RemoteDisconnects: u64,
    pub(crate) AddressErrors: u64,
}

/// `RXCEX_VERSION`.
pub(crate) const VERSION: u32 = 2;

const _: () = {
    assert!(size_of::<SmallEventHandler>() == 0x40);
    assert!(offset_of!(SmallEventHandler, SendComplete) == 0x38);
    assert!(offset_of!(Counters, Sends) == 0x08);
    assert!(offset_of!(Counters, DatagramsSent) == 0x40);
    assert!(offset_of!(Counters, Connects) == 0x70);
    assert!(offset_of!(Counters, AddressErrors) == 0x90);
    assert!(size_of::<Routines>() == 8 + 8 * ROUTINES);
    assert!(offset_of!(Routines, routines) == 8);
};
