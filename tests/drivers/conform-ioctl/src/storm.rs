//! The storm: what it is asked, and what it tells.

use crate::{Text, put, text_at, u32_at};

/// What a storm may do besides the ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormFlags(pub u32);

impl StormFlags {
    /// The transport knows no orderly release.
    pub const ABORTIVE: u32 = 0x01;
    /// The transport indicates while a receive is outstanding, after refusals and after disconnects, and several
    /// indications at once.
    pub const UNRULY: u32 = 0x02;
    /// The transport keeps requests until an ABORT, a cancel or the close.
    pub const STUCK: u32 = 0x04;
    /// The transport reports errors of addresses.
    pub const ERRORS: u32 = 0x08;
    /// The transport calls handlers for endpoints that are closed.
    pub const LATE: u32 = 0x10;
    /// Chosen allocations of the engine fail.
    pub const FAULTS: u32 = 0x20;
    /// All of the above.
    pub const ALL: u32 = 0x3F;
    /// With [`Self::FAULTS`]: during each of a thread's steps the first fallible call from a call stack that has not failed yet
    /// fails, instead of a chosen one now and then.
    pub const STACKS: u32 = 0x40;

    /// Whether one of the above is set.
    #[must_use]
    pub const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

/// Input of `IOCTL_STORM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormRequest {
    /// Where every random choice comes from.
    pub seed: u64,
    /// Threads of the client, 1 to [`StormRequest::MOST_THREADS`].
    pub threads: u32,
    /// How often everything is built up, stirred, and torn down.
    pub rounds: u32,
    /// What may happen.
    pub flags: StormFlags,
}

/// What a storm counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names, below, say it")]
pub enum StormCount {
    Built,
    BuildFailed,
    Sent,
    SendRefused,
    SentAndWaited,
    Initiated,
    InitiateRefused,
    TornDown,
    TearDownRefused,
    Queried,
    BuiltAgainRefused,
    SendCompleted,
    Received,
    Accepted,
    Declined,
    Ready,
    Disconnected,
    Failed,
    EndedInline,
    EndedLater,
    EndedByAbort,
    EndedByCancel,
    EndedByClose,
    Releases,
    Aborts,
    RemoteReleases,
    RemoteAborts,
    AddressErrors,
    Late,
    Competitions,
    Completions,
    SendPossible,
    DatagramsSent,
    DatagramsCompleted,
    Datagrams,
    SendsCancelled,
    Faults,
}

impl StormCount {
    /// What each count means, in the order of the encoding.
    pub const NAMES: [&str; 37] = [
        "circuits built",
        "builds failed",
        "asynchronous sends",
        "sends refused",
        "synchronous sends",
        "disconnects initiated",
        "initiates refused",
        "circuits torn down",
        "tear-downs refused",
        "queries",
        "builds of built circuits refused",
        "SendComplete",
        "Receive",
        "more-processing receives",
        "receives refused by the client",
        "DataReady",
        "Disconnect",
        "Error",
        "requests ended inline",
        "requests ended later",
        "requests ended by an abort",
        "requests ended by a cancel",
        "requests ended by a close",
        "RELEASE requests",
        "ABORT requests",
        "remote releases",
        "remote aborts",
        "address errors",
        "late handler calls",
        "builds over several transports",
        "completion routines of such builds",
        "SendPossible",
        "datagrams sent",
        "SendComplete of datagrams",
        "ReceiveDatagram",
        "sends ended by a cancel",
        "faults armed",
    ];
}

/// Output of `IOCTL_STORM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormResult {
    /// Rounds that ended with everything in order.
    pub rounds: u32,
    /// Whether an invariant was violated; the text says which.
    pub violated: bool,
    /// By [`StormCount`].
    pub counts: [u64; StormCount::NAMES.len()],
    /// The first violation.
    pub text: Text<{ crate::TEXT_LENGTH }>,
}

impl StormRequest {
    /// Encoded size.
    pub const SIZE: usize = 20;
    /// Most threads.
    pub const MOST_THREADS: u32 = 6;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.seed.to_le_bytes());
        put(&mut out, 8, &self.threads.to_le_bytes());
        put(&mut out, 12, &self.rounds.to_le_bytes());
        put(&mut out, 16, &self.flags.0.to_le_bytes());
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let request = Self {
            seed: u64_at(bytes, 0)?,
            threads: u32_at(bytes, 8)?,
            rounds: u32_at(bytes, 12)?,
            flags: StormFlags(u32_at(bytes, 16)?),
        };
        let legal = (1..=Self::MOST_THREADS).contains(&request.threads)
            && request.flags.0 & !(StormFlags::ALL | StormFlags::STACKS) == 0;
        legal.then_some(request)
    }
}

impl StormResult {
    const TEXT: usize = 8 + 8 * StormCount::NAMES.len();
    /// Encoded size.
    pub const SIZE: usize = Self::TEXT + crate::TEXT_LENGTH;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.rounds.to_le_bytes());
        put(&mut out, 4, &u32::from(self.violated).to_le_bytes());
        for (index, count) in self.counts.iter().enumerate() {
            put(&mut out, 8 + 8 * index, &count.to_le_bytes());
        }
        put(&mut out, Self::TEXT, &self.text.0);
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut counts = [0; StormCount::NAMES.len()];
        for (index, count) in counts.iter_mut().enumerate() {
            *count = u64_at(bytes, 8 + 8 * index)?;
        }
        Some(Self {
            rounds: u32_at(bytes, 0)?,
            violated: u32_at(bytes, 4)? != 0,
            counts,
            text: text_at(bytes, Self::TEXT)?,
        })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_bad_ones_are_refused() {
        let mut request = StormRequest {
            seed: 0x0123_4567_89AB_CDEF,
            threads: 4,
            rounds: 1000,
            flags: StormFlags(StormFlags::ALL),
        };
        assert_eq!(StormRequest::from_bytes(&request.to_bytes()), Some(request));
        request.threads = 0;
        assert_eq!(StormRequest::from_bytes(&request.to_bytes()), None);
        let mut counts = [7; StormCount::NAMES.len()];
        counts[StormCount::Faults as usize] = 9;
        let result = StormResult {
            rounds: 5,
            violated: true,
            counts,
            text: Text::new("twice"),
        };
        assert_eq!(StormResult::from_bytes(&result.to_bytes()), Some(result));
        assert_eq!(StormResult::from_bytes(&result.to_bytes()[1..]), None);
    }

    #[test]
    fn every_count_has_a_name() {
        assert_eq!(StormCount::Faults as usize + 1, StormCount::NAMES.len());
    }
}
