//! Control interface of the conformance driver conform.sys: names, control codes, and the records they carry.
//!
//! Shared by the driver and by whoever drives it. Records travel as little-endian bytes, so that neither side reads
//! the other's memory layout; every decoder checks its length.

#![no_std]
#![forbid(unsafe_code)]

mod answers;
mod duel;
mod fuzz;
mod lengths;
mod seen;
mod storm;
mod sweep;

pub use answers::{Answer, Answers, Routine};
pub use duel::{DUELS, DuelRequest, DuelResult};
pub use fuzz::{FuzzCount, FuzzResult, MOST_STEPS, Operation, Step};
pub use lengths::lengths;
pub use seen::Seen;
pub use storm::{StormCount, StormFlags, StormRequest, StormResult};
pub use sweep::{NAME_LENGTH, ScenarioInfo, SweepRequest, SweepResult, SweepWay};

/// The control device.
pub const DEVICE_NAME: &str = r"\Device\RxceConform";
/// Its symbolic link, `\\.\RxceConform` for user mode.
pub const LINK_NAME: &str = r"\DosDevices\RxceConform";

/// A change of any record below changes this number.
pub const INTERFACE_VERSION: u32 = 5;

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, function, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)`.
const fn control_code(function: u32) -> u32 {
    (0x22 << 16) | (3 << 14) | (function << 2)
}

/// Output: [`ListHeader`], then as many [`VectorInfo`] as fit. No input.
pub const IOCTL_LIST: u32 = control_code(0x800);
/// Input: the index of a vector (`u32`). Output: [`RunResult`].
pub const IOCTL_RUN: u32 = control_code(0x801);
/// Input: [`StormRequest`]. Output: [`StormResult`].
pub const IOCTL_STORM: u32 = control_code(0x802);
/// Input: at most [`MOST_STEPS`] of [`Step`]. Output: [`FuzzResult`].
pub const IOCTL_FUZZ: u32 = control_code(0x803);
/// Output: [`ListHeader`], then as many [`ScenarioInfo`] as fit. No input.
pub const IOCTL_SCENARIOS: u32 = control_code(0x810);
/// Input: [`SweepRequest`]. Output: [`SweepResult`].
pub const IOCTL_SWEEP: u32 = control_code(0x811);
/// Input: [`DuelRequest`]. Output: [`DuelResult`].
pub const IOCTL_DUEL: u32 = control_code(0x804);

/// Bytes of a vector's identifier, padded with zeros.
pub const ID_LENGTH: usize = 8;
/// Bytes of a vector's title, padded with zeros.
pub const TITLE_LENGTH: usize = 116;
/// Bytes of text in a result: what was seen and what was expected.
pub const TEXT_LENGTH: usize = 1000;

/// What a vector's expectation rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The documented contract.
    Documented,
    /// A choice of this project: another implementation may differ without being wrong.
    OwnChoice,
}

/// How a vector ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything expected was seen.
    Passed,
    /// Something else was seen; the text says what.
    Failed,
    /// This kernel lacks a service that the vector cannot do without; the text names it.
    NotPossible,
}

impl Verdict {
    const fn code(self) -> u32 {
        match self {
            Self::Passed => 1,
            Self::Failed => 2,
            Self::NotPossible => 3,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Passed),
            2 => Some(Self::Failed),
            3 => Some(Self::NotPossible),
            _ => None,
        }
    }
}

/// First record of [`IOCTL_LIST`]'s output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListHeader {
    /// [`INTERFACE_VERSION`] of the driver.
    pub version: u32,
    /// Number of vectors the driver has, whether or not they fitted.
    pub count: u32,
}

/// One vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorInfo {
    /// Identifier as in the acceptance table, for example `I3`.
    pub id: Text<ID_LENGTH>,
    /// What it shows.
    pub title: Text<TITLE_LENGTH>,
    /// What the expectation rests on.
    pub basis: Basis,
}

/// Output of [`IOCTL_RUN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// How it ended.
    pub verdict: Verdict,
    /// Parts of the vector that this kernel could not check, while the rest ran.
    pub parts_missing: u32,
    /// What the routines answered meanwhile.
    pub answers: Answers,
    /// What the client was told meanwhile.
    pub seen: Seen,
    /// What was seen and expected; which parts were missing.
    pub text: Text<TEXT_LENGTH>,
}

/// Text in a fixed number of bytes, cut at a character boundary, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Takes as much of `text` as fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut length = text.len().min(N);
        while !text.is_char_boundary(length) {
            length = length.saturating_sub(1);
        }
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(text.bytes().take(length)) {
            *to = from;
        }
        Self(bytes)
    }

    /// The text without its padding; empty if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl ListHeader {
    /// Encoded size.
    pub const SIZE: usize = 8;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.version.to_le_bytes());
        put(&mut out, 4, &self.count.to_le_bytes());
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            version: u32_at(bytes, 0)?,
            count: u32_at(bytes, 4)?,
        })
    }
}

impl VectorInfo {
    /// Encoded size.
    pub const SIZE: usize = ID_LENGTH + TITLE_LENGTH + 4;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.id.0);
        put(&mut out, ID_LENGTH, &self.title.0);
        let basis: u32 = match self.basis {
            Basis::Documented => 0,
            Basis::OwnChoice => 1,
        };
        put(&mut out, ID_LENGTH + TITLE_LENGTH, &basis.to_le_bytes());
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: text_at(bytes, 0)?,
            title: text_at(bytes, ID_LENGTH)?,
            basis: match u32_at(bytes, ID_LENGTH + TITLE_LENGTH)? {
                0 => Basis::Documented,
                1 => Basis::OwnChoice,
                _ => return None,
            },
        })
    }
}

impl RunResult {
    /// Encoded size.
    pub const SIZE: usize = Self::TEXT_AT + TEXT_LENGTH;
    const SEEN_AT: usize = 8 + Answers::SIZE;
    const TEXT_AT: usize = Self::SEEN_AT + Seen::SIZE;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.verdict.code().to_le_bytes());
        put(&mut out, 4, &self.parts_missing.to_le_bytes());
        put(&mut out, 8, &self.answers.to_bytes());
        put(&mut out, Self::SEEN_AT, &self.seen.to_bytes());
        put(&mut out, Self::TEXT_AT, &self.text.0);
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            verdict: Verdict::from_code(u32_at(bytes, 0)?)?,
            parts_missing: u32_at(bytes, 4)?,
            answers: Answers::from_bytes(bytes.get(8..)?)?,
            seen: Seen::from_bytes(bytes.get(Self::SEEN_AT..)?)?,
            text: text_at(bytes, Self::TEXT_AT)?,
        })
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn text_at<const N: usize>(bytes: &[u8], at: usize) -> Option<Text<N>> {
    bytes.get(at..)?.first_chunk().copied().map(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_short_ones_are_refused() {
        let info = VectorInfo {
            id: Text::new("I3"),
            title: Text::new("pended"),
            basis: Basis::OwnChoice,
        };
        assert_eq!(VectorInfo::from_bytes(&info.to_bytes()), Some(info));
        assert_eq!(VectorInfo::from_bytes(&info.to_bytes()[1..]), None);
        let result = RunResult {
            verdict: Verdict::Failed,
            parts_missing: 2,
            answers: Answers::none(),
            seen: Seen::nothing(),
            text: Text::new("seen 1, expected 2"),
        };
        assert_eq!(RunResult::from_bytes(&result.to_bytes()), Some(result));
        assert_eq!(RunResult::from_bytes(&[0; RunResult::SIZE]), None);
        let header = ListHeader {
            version: 1,
            count: 70,
        };
        assert_eq!(ListHeader::from_bytes(&header.to_bytes()), Some(header));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(Text::<4>::new("abcé").as_str(), "abc");
        assert_eq!(Text::<5>::new("abcé").as_str(), "abcé");
    }
}
