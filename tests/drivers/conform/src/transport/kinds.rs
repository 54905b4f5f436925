//! The words a script is written in: providers, file objects, requests, and what to do with them.

use wdk_sys::NTSTATUS;

/// A kind of provider, one device each.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Personality {
    /// Streams with orderly release, expedited data.
    Orderly,
    /// Streams, abortive disconnect only.
    Abortive,
    /// Datagrams only.
    Datagram,
    /// Streams with orderly release and internal buffering: tells when a send is possible.
    Buffering,
    /// Streams with orderly release that refuse sends of no bytes.
    NoZeroLength,
}

impl Personality {
    pub(crate) const ALL: [Self; 5] = [
        Self::Orderly,
        Self::Abortive,
        Self::Datagram,
        Self::Buffering,
        Self::NoZeroLength,
    ];

    /// ServiceFlags of TDI_PROVIDER_INFO (tdi.md §6).
    pub(crate) const fn service_flags(self) -> u32 {
        const CONNECTION_MODE: u32 = 0x1;
        const ORDERLY_RELEASE: u32 = 0x2;
        const CONNECTIONLESS_MODE: u32 = 0x4;
        const ERROR_FREE_DELIVERY: u32 = 0x8;
        const EXPEDITED_DATA: u32 = 0x100;
        const INTERNAL_BUFFERING: u32 = 0x200;
        const NO_ZERO_LENGTH: u32 = 0x800;
        let stream = CONNECTION_MODE | ERROR_FREE_DELIVERY;
        match self {
            Self::Orderly => stream | ORDERLY_RELEASE | EXPEDITED_DATA,
            Self::Abortive => stream,
            Self::Datagram => CONNECTIONLESS_MODE,
            Self::Buffering => stream | ORDERLY_RELEASE | INTERNAL_BUFFERING,
            Self::NoZeroLength => stream | ORDERLY_RELEASE | NO_ZERO_LENGTH,
        }
    }
}

/// What a file object is (tdi.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Control,
    Address,
    Endpoint,
}

/// What is logged: each request, open and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open(FileKind),
    Cleanup(FileKind),
    Close(FileKind),
    Associate,
    Connect,
    Release,
    Abort,
    Send,
    Receive,
    SendDatagram,
    ReceiveDatagram,
    SetHandler,
    Query,
    Other,
}

pub(super) const KINDS: usize = 20;

impl Kind {
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Open(kind) => kind as usize,
            Self::Cleanup(kind) => 3 + kind as usize,
            Self::Close(kind) => 6 + kind as usize,
            Self::Associate => 9,
            Self::Connect => 10,
            Self::Release => 11,
            Self::Abort => 12,
            Self::Send => 13,
            Self::Receive => 14,
            Self::SendDatagram => 15,
            Self::ReceiveDatagram => 16,
            Self::SetHandler => 17,
            Self::Query => 18,
            Self::Other => 19,
        }
    }

    /// A request in an IRP of the client's making, as opposed to opens and closes.
    pub(crate) const fn is_request(self) -> bool {
        !matches!(self, Self::Open(_) | Self::Cleanup(_) | Self::Close(_))
    }
}

/// What ends a pended request besides the script's author and the clean-up of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) abort: bool,
    pub(crate) cancel: bool,
}

/// What to do with requests of one kind.
#[derive(Clone, Copy)]
pub(crate) enum Script {
    /// Complete in the dispatch routine.
    Inline(NTSTATUS),
    /// Keep; the ends say what else may complete it.
    Pend(Ends),
    /// Keep until somebody ends what is due (`fault`), with this status; or an ABORT, or a cancel.
    Later(NTSTATUS),
    /// Keep as [`Self::Pend`], then run the hook inside the dispatch routine; it may complete the request.
    Hook(Ends, fn(usize)),
}

impl Script {
    /// Until told, or an ABORT, or a cancel: how a well-behaved transport pends.
    pub(crate) const PEND: Self = Self::Pend(Ends {
        abort: true,
        cancel: true,
    });
    /// Never until an ABORT.
    pub(crate) const UNTIL_ABORT: Self = Self::Pend(Ends {
        abort: true,
        cancel: false,
    });
    /// Only on cancel.
    pub(crate) const UNTIL_CANCEL: Self = Self::Pend(Ends {
        abort: false,
        cancel: true,
    });
    /// Only on the close of the handle.
    pub(crate) const UNTIL_CLOSE: Self = Self::Pend(Ends {
        abort: false,
        cancel: false,
    });
}
