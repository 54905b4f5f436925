//! Which answers the routines of rxce.h gave while a vector ran: what a coverage table is made of.

/// The routines of rxce.h; `Ex` begins those of its section Extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of rxce.h")]
pub enum Routine {
    AllocateIrpWithMDL,
    BuildAddress,
    BuildConnection,
    BuildConnectionOverMultipleTransports,
    BuildTransport,
    BuildVC,
    CancelConnectRequest,
    FreeIrp,
    InitiateVCDisconnect,
    QueryAdapterStatus,
    QueryInformation,
    QueryTransportInformation,
    Send,
    SendDatagram,
    TearDownAddress,
    TearDownConnection,
    TearDownTransport,
    TearDownVC,
    ExAcceptChainedReceives,
    ExBuildConnectionOverMultipleTransportsSmallTable,
    ExBuildConnectionSmallTable,
    ExCancelConnect,
    ExGetRoutines,
    ExQueryCounters,
}

impl Routine {
    /// Every routine, in the order of the encoding.
    pub const ALL: [Self; 24] = [
        Self::AllocateIrpWithMDL,
        Self::BuildAddress,
        Self::BuildConnection,
        Self::BuildConnectionOverMultipleTransports,
        Self::BuildTransport,
        Self::BuildVC,
        Self::CancelConnectRequest,
        Self::FreeIrp,
        Self::InitiateVCDisconnect,
        Self::QueryAdapterStatus,
        Self::QueryInformation,
        Self::QueryTransportInformation,
        Self::Send,
        Self::SendDatagram,
        Self::TearDownAddress,
        Self::TearDownConnection,
        Self::TearDownTransport,
        Self::TearDownVC,
        Self::ExAcceptChainedReceives,
        Self::ExBuildConnectionOverMultipleTransportsSmallTable,
        Self::ExBuildConnectionSmallTable,
        Self::ExCancelConnect,
        Self::ExGetRoutines,
        Self::ExQueryCounters,
    ];

    /// Its exported name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllocateIrpWithMDL => "RxCeAllocateIrpWithMDL",
            Self::BuildAddress => "RxCeBuildAddress",
            Self::BuildConnection => "RxCeBuildConnection",
            Self::BuildConnectionOverMultipleTransports => {
                "RxCeBuildConnectionOverMultipleTransports"
            }
            Self::BuildTransport => "RxCeBuildTransport",
            Self::BuildVC => "RxCeBuildVC",
            Self::CancelConnectRequest => "RxCeCancelConnectRequest",
            Self::FreeIrp => "RxCeFreeIrp",
            Self::InitiateVCDisconnect => "RxCeInitiateVCDisconnect",
            Self::QueryAdapterStatus => "RxCeQueryAdapterStatus",
            Self::QueryInformation => "RxCeQueryInformation",
            Self::QueryTransportInformation => "RxCeQueryTransportInformation",
            Self::Send => "RxCeSend",
            Self::SendDatagram => "RxCeSendDatagram",
            Self::TearDownAddress => "RxCeTearDownAddress",
            Self::TearDownConnection => "RxCeTearDownConnection",
            Self::TearDownTransport => "RxCeTearDownTransport",
            Self::TearDownVC => "RxCeTearDownVC",
            Self::ExAcceptChainedReceives => "RxCexAcceptChainedReceives",
            Self::ExBuildConnectionOverMultipleTransportsSmallTable => {
                "RxCexBuildConnectionOverMultipleTransportsSmallTable"
            }
            Self::ExBuildConnectionSmallTable => "RxCexBuildConnectionSmallTable",
            Self::ExCancelConnect => "RxCexCancelConnect",
            Self::ExGetRoutines => "RxCexGetRoutines",
            Self::ExQueryCounters => "RxCexQueryCounters",
        }
    }
}

/// What a routine can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of ntstatus.h")]
pub enum Answer {
    Success,
    Pending,
    BufferOverflow,
    NotImplemented,
    InvalidHandle,
    InvalidParameter,
    InsufficientResources,
    ConnectionDisconnected,
    AddressNotAssociated,
    Cancelled,
    ConnectionActive,
    /// Some other status: that of the provider, passed through.
    Passed,
    /// A pointer that is not NULL.
    Pointer,
    /// NULL.
    Null,
    /// The routine has no result and came back.
    Returned,
}

impl Answer {
    /// Every answer, in the order of the encoding.
    pub const ALL: [Self; 15] = [
        Self::Success,
        Self::Pending,
        Self::BufferOverflow,
        Self::NotImplemented,
        Self::InvalidHandle,
        Self::InvalidParameter,
        Self::InsufficientResources,
        Self::ConnectionDisconnected,
        Self::AddressNotAssociated,
        Self::Cancelled,
        Self::ConnectionActive,
        Self::Passed,
        Self::Pointer,
        Self::Null,
        Self::Returned,
    ];

    /// The answer that an NTSTATUS is.
    #[must_use]
    pub const fn of_status(status: i32) -> Self {
        match status.cast_unsigned() {
            0 => Self::Success,
            0x0000_0103 => Self::Pending,
            0x8000_0005 => Self::BufferOverflow,
            0xC000_0002 => Self::NotImplemented,
            0xC000_0008 => Self::InvalidHandle,
            0xC000_000D => Self::InvalidParameter,
            0xC000_009A => Self::InsufficientResources,
            0xC000_020C => Self::ConnectionDisconnected,
            0xC000_0239 => Self::AddressNotAssociated,
            0xC000_0120 => Self::Cancelled,
            0xC000_023B => Self::ConnectionActive,
            _ => Self::Passed,
        }
    }

    /// What a report calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "STATUS_SUCCESS",
            Self::Pending => "STATUS_PENDING",
            Self::BufferOverflow => "STATUS_BUFFER_OVERFLOW",
            Self::NotImplemented => "STATUS_NOT_IMPLEMENTED",
            Self::InvalidHandle => "STATUS_INVALID_HANDLE",
            Self::InvalidParameter => "STATUS_INVALID_PARAMETER",
            Self::InsufficientResources => "STATUS_INSUFFICIENT_RESOURCES",
            Self::ConnectionDisconnected => "STATUS_CONNECTION_DISCONNECTED",
            Self::AddressNotAssociated => "STATUS_ADDRESS_NOT_ASSOCIATED",
            Self::Cancelled => "STATUS_CANCELLED",
            Self::ConnectionActive => "STATUS_CONNECTION_ACTIVE",
            Self::Passed => "the transport's status",
            Self::Pointer => "a packet",
            Self::Null => "NULL",
            Self::Returned => "returns",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of answers per routine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers([u16; Routine::ALL.len()]);

impl Answers {
    /// Encoded size.
    pub const SIZE: usize = 2 * Routine::ALL.len();

    /// No answers.
    #[must_use]
    pub const fn none() -> Self {
        Self([0; Routine::ALL.len()])
    }

    /// Notes an answer.
    pub fn note(&mut self, routine: Routine, answer: Answer) {
        if let Some(set) = self.0.get_mut(routine as usize) {
            *set |= answer.bit();
        }
    }

    /// Whether `routine` gave `answer`.
    #[must_use]
    pub fn has(&self, routine: Routine, answer: Answer) -> bool {
        self.0
            .get(routine as usize)
            .is_some_and(|set| set & answer.bit() != 0)
    }

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        for (to, set) in out.chunks_exact_mut(2).zip(self.0) {
            to.copy_from_slice(&set.to_le_bytes());
        }
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut answers = Self::none();
        for (set, from) in answers
            .0
            .iter_mut()
            .zip(bytes.get(..Self::SIZE)?.chunks_exact(2))
        {
            *set = u16::from_le_bytes(*from.first_chunk()?);
        }
        Some(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_the_encoding() {
        for (index, routine) in Routine::ALL.into_iter().enumerate() {
            assert_eq!(routine as usize, index);
        }
        for (index, answer) in Answer::ALL.into_iter().enumerate() {
            assert_eq!(answer as usize, index);
        }
    }

    #[test]
    fn a_set_survives_a_round_trip() {
        let mut answers = Answers::none();
        answers.note(Routine::TearDownVC, Answer::Returned);
        assert!(answers.has(Routine::TearDownVC, Answer::Returned));
        assert!(!answers.has(Routine::TearDownVC, Answer::Success));
        assert_eq!(Answers::from_bytes(&answers.to_bytes()), Some(answers));
        assert_eq!(Answers::from_bytes(&answers.to_bytes()[1..]), None);
    }
}
