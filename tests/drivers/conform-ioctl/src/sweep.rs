//! Sweeps: a scenario of calls in which one chosen thing fails.

use crate::{Answers, TEXT_LENGTH, Text, Verdict, put, text_at, u32_at};

/// Bytes of a scenario's name, padded with zeros.
pub const NAME_LENGTH: usize = 60;

/// What fails in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepWay {
    /// Nothing.
    Nothing,
    /// The n-th fallible kernel call of the engine.
    Call,
    /// The first fallible kernel call of the engine from a call stack that has not failed yet.
    NewStack,
    /// The n-th request or open, in the transport's dispatch routine.
    AtOnce,
    /// The n-th request, after the transport's dispatch routine returned `STATUS_PENDING`.
    Later,
}

impl SweepWay {
    /// Every way, in the order of the encoding.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Call,
        Self::NewStack,
        Self::AtOnce,
        Self::Later,
    ];
}

/// Input of `IOCTL_SWEEP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepRequest {
    /// Index of the scenario.
    pub scenario: u32,
    /// What fails.
    pub way: SweepWay,
    /// Which one, from 1.
    pub nth: u32,
    /// What a failing request ends with.
    pub status: i32,
    /// What failed is called again, and must succeed; otherwise everything is torn down at once.
    pub again: bool,
}

/// Output of `IOCTL_SWEEP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepResult {
    /// How it ended.
    pub verdict: Verdict,
    /// Whether what was to fail came at all.
    pub hit: bool,
    /// What the routines answered meanwhile.
    pub answers: Answers,
    /// What was seen and expected.
    pub text: Text<TEXT_LENGTH>,
}

/// A record of `IOCTL_SCENARIOS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScenarioInfo {
    /// What happens in it.
    pub name: Text<NAME_LENGTH>,
}

impl SweepRequest {
    /// Encoded size.
    pub const SIZE: usize = 20;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.scenario.to_le_bytes());
        put(&mut out, 4, &(self.way as u32).to_le_bytes());
        put(&mut out, 8, &self.nth.to_le_bytes());
        put(&mut out, 12, &self.status.to_le_bytes());
        put(&mut out, 16, &u32::from(self.again).to_le_bytes());
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let way = u32_at(bytes, 4)?;
        Some(Self {
            scenario: u32_at(bytes, 0)?,
            way: SweepWay::ALL.into_iter().find(|one| *one as u32 == way)?,
            nth: u32_at(bytes, 8)?,
            status: u32_at(bytes, 12)?.cast_signed(),
            again: u32_at(bytes, 16)? != 0,
        })
    }
}

impl SweepResult {
    /// Encoded size.
    pub const SIZE: usize = 8 + Answers::SIZE + TEXT_LENGTH;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.verdict.code().to_le_bytes());
        put(&mut out, 4, &u32::from(self.hit).to_le_bytes());
        put(&mut out, 8, &self.answers.to_bytes());
        put(&mut out, 8 + Answers::SIZE, &self.text.0);
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            verdict: Verdict::from_code(u32_at(bytes, 0)?)?,
            hit: u32_at(bytes, 4)? != 0,
            answers: Answers::from_bytes(bytes.get(8..)?)?,
            text: text_at(bytes, 8 + Answers::SIZE)?,
        })
    }
}

impl ScenarioInfo {
    /// Encoded size.
    pub const SIZE: usize = NAME_LENGTH;

    /// Encodes the record.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::SIZE] {
        self.name.0
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            name: text_at(bytes, 0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_short_ones_are_refused() {
        for (index, way) in SweepWay::ALL.into_iter().enumerate() {
            assert_eq!(way as usize, index);
            let request = SweepRequest {
                scenario: 3,
                way,
                nth: 4,
                status: -5,
                again: true,
            };
            let bytes = request.to_bytes();
            assert_eq!(SweepRequest::from_bytes(&bytes), Some(request));
            assert_eq!(SweepRequest::from_bytes(&bytes[1..]), None);
        }
        let result = SweepResult {
            verdict: Verdict::Passed,
            hit: true,
            answers: Answers::none(),
            text: Text::new("seen 1"),
        };
        assert_eq!(SweepResult::from_bytes(&result.to_bytes()), Some(result));
        assert_eq!(SweepResult::from_bytes(&[0; SweepResult::SIZE]), None);
        let info = ScenarioInfo {
            name: Text::new("a circuit"),
        };
        assert_eq!(ScenarioInfo::from_bytes(&info.to_bytes()), Some(info));
    }
}
