//! How long the buffers of each control code are.

use core::ops::RangeInclusive;

use crate::{
    DuelRequest, DuelResult, FuzzResult, IOCTL_DUEL, IOCTL_FUZZ, IOCTL_LIST, IOCTL_RUN,
    IOCTL_SCENARIOS, IOCTL_STORM, IOCTL_SWEEP, ListHeader, MOST_STEPS, RunResult, Step,
    StormRequest, StormResult, SweepRequest, SweepResult,
};

/// The lengths of input that a control code takes, and the least room for its output; nothing for a code that is not one.
/// `STATUS_INVALID_DEVICE_REQUEST`, `STATUS_INVALID_PARAMETER` and `STATUS_BUFFER_TOO_SMALL` are the driver's answers to
/// what is not as this says.
#[must_use]
pub const fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)> {
    const fn exactly(length: usize) -> RangeInclusive<usize> {
        length..=length
    }
    Some(match code {
        IOCTL_LIST | IOCTL_SCENARIOS => (exactly(0), ListHeader::SIZE),
        IOCTL_RUN => (exactly(size_of::<u32>()), RunResult::SIZE),
        IOCTL_STORM => (exactly(StormRequest::SIZE), StormResult::SIZE),
        IOCTL_FUZZ => (0..=MOST_STEPS.saturating_mul(Step::SIZE), FuzzResult::SIZE),
        IOCTL_SWEEP => (exactly(SweepRequest::SIZE), SweepResult::SIZE),
        IOCTL_DUEL => (exactly(DuelRequest::SIZE), DuelResult::SIZE),
        _ => return None,
    })
}
