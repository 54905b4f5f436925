//! The duel: one small race, over and over.

use crate::{TEXT_LENGTH, Text, put, text_at, u32_at};

/// Input of `IOCTL_DUEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuelRequest {
    /// Index in [`DUELS`].
    pub duel: u32,
    /// Most rounds; fewer if the kernel chooses schedules and has none left.
    pub rounds: u32,
    /// In each round the first fallible kernel call of the engine from a new call stack fails, until a round brings no new one.
    pub faults: bool,
}

/// The duels by name: what runs at the same time. The last ones are parts of
/// the driver itself, `racy` with a known defect, `fixed` without it.
pub const DUELS: [&str; 28] = [
    "initiate/initiate",
    "initiate/tear-down",
    "initiate/remote-release",
    "initiate/remote-abort",
    "tear-down/tear-down",
    "tear-down/remote-release",
    "tear-down/remote-abort",
    "tear-down/address-error",
    "build/initiate",
    "build/tear-down",
    "build/remote-abort",
    "send/tear-down",
    "send/initiate",
    "receive/tear-down",
    "request/tear-down",
    "query/tear-down",
    "build/build",
    "build/tear-down-connection",
    "connect/tear-down-address",
    "open/tear-down-transport",
    "racy/lost-update",
    "fixed/lost-update",
    "racy/lock-order",
    "fixed/lock-order",
    "racy/lost-wake-up",
    "fixed/lost-wake-up",
    "racy/plain-memory",
    "fixed/plain-memory",
];

/// Output of `IOCTL_DUEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuelResult {
    /// Rounds that ended with everything in order.
    pub rounds: u32,
    /// How many different outcomes there were: combinations of the answers and the callbacks.
    pub outcomes: u32,
    /// How many rounds had a failing call.
    pub faulted: u32,
    /// Whether something was wrong after the last one; the text says what.
    pub violated: bool,
    /// The violation.
    pub text: Text<TEXT_LENGTH>,
}

impl DuelRequest {
    /// Encoded size.
    pub const SIZE: usize = 12;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.duel.to_le_bytes());
        put(&mut out, 4, &self.rounds.to_le_bytes());
        put(&mut out, 8, &u32::from(self.faults).to_le_bytes());
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let request = Self {
            duel: u32_at(bytes, 0)?,
            rounds: u32_at(bytes, 4)?,
            faults: u32_at(bytes, 8)? != 0,
        };
        ((request.duel as usize) < DUELS.len()).then_some(request)
    }
}

impl DuelResult {
    /// Encoded size.
    pub const SIZE: usize = 16 + TEXT_LENGTH;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.rounds.to_le_bytes());
        put(&mut out, 4, &self.outcomes.to_le_bytes());
        put(&mut out, 8, &u32::from(self.violated).to_le_bytes());
        put(&mut out, 12, &self.faulted.to_le_bytes());
        put(&mut out, 16, &self.text.0);
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            rounds: u32_at(bytes, 0)?,
            outcomes: u32_at(bytes, 4)?,
            violated: u32_at(bytes, 8)? != 0,
            faulted: u32_at(bytes, 12)?,
            text: text_at(bytes, 16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_bad_ones_are_refused() {
        let mut request = DuelRequest {
            duel: 3,
            rounds: 1000,
            faults: true,
        };
        assert_eq!(DuelRequest::from_bytes(&request.to_bytes()), Some(request));
        request.duel = u32::MAX;
        assert_eq!(DuelRequest::from_bytes(&request.to_bytes()), None);
        let result = DuelResult {
            rounds: 5,
            outcomes: 2,
            faulted: 3,
            violated: true,
            text: Text::new("two RELEASE requests"),
        };
        assert_eq!(DuelResult::from_bytes(&result.to_bytes()), Some(result));
        assert_eq!(DuelResult::from_bytes(&result.to_bytes()[1..]), None);
    }
}
