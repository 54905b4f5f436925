//! Which of several connects wins (specification 5.8). The order of the attempts is the order of preference.

use crate::life::CancelBuild;

/// `RXCE_CONNECTION_CREATE_OPTIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// `RxCeSelectFirstSuccessfulTransport`: whichever succeeds first.
    First,
    /// `RxCeSelectBestSuccessfulTransport`: the lowest index that can succeed.
    Best,
    /// `RxCeSelectAllSuccessfulTransports`: the lowest index, once all have ended.
    All,
}

impl Choice {
    /// The choice of a client.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidParameter`] for an unknown one.
    pub const fn new(value: u32) -> Result<Self, crate::Error> {
        match value {
            0 => Ok(Self::First),
            1 => Ok(Self::Best),
            2 => Ok(Self::All),
            _ => Err(crate::Error::InvalidParameter),
        }
    }
}

/// Where one attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It never began: its address or its endpoint is of no use.
    Absent,
    /// Its connect is under way.
    Connecting,
    /// It is connected.
    Connected,
    /// Its connect failed with this status.
    Failed(i32),
}

/// What the attempts together mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wait for more.
    Open,
    /// The attempt with this index wins.
    Winner(usize),
    /// All have failed; the status of the lowest index that was tried, if there was one.
    Lost(Option<i32>),
}

/// Decides, after each end of a connect.
#[must_use]
pub fn decide(choice: Choice, attempts: impl Iterator<Item = Attempt>) -> Verdict {
    let mut connecting = false;
    let mut best = None;
    let mut failure = None;
    for (index, attempt) in attempts.enumerate() {
        match attempt {
            Attempt::Absent => {}
            Attempt::Connecting
                if choice == Choice::Best && best.is_none() && !mutant!(BestIsFirst) =>
            {
                return Verdict::Open;
            }
            Attempt::Connecting => connecting = true,
            Attempt::Connected => best = best.or(Some(index)),
            Attempt::Failed(status) if mutant!(LastFailureReported) => failure = Some(status),
            Attempt::Failed(status) => failure = failure.or(Some(status)),
        }
    }
    match best {
        Some(index) if choice != Choice::All || !connecting || mutant!(AllDoesNotWait) => {
            Verdict::Winner(index)
        }
        None if !connecting => Verdict::Lost(failure),
        _ => Verdict::Open,
    }
}

/// The one decision of a competition, kept under its lock: it is taken by an end of a connect, or by a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    verdict: Verdict,
    cancelled: bool,
}

impl Decision {
    /// Nothing is decided.
    #[must_use]
    pub const fn open() -> Self {
        Self {
            verdict: Verdict::Open,
            cancelled: false,
        }
    }

    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the competition was cancelled.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Decides by where the attempts stand, unless something was decided before; `true` if this decides.
    pub fn decide(&mut self, choice: Choice, attempts: impl Iterator<Item = Attempt>) -> bool {
        if self.verdict != Verdict::Open && !mutant!(WinnerNotRecorded) {
            return false;
        }
        self.verdict = decide(choice, attempts);
        self.verdict != Verdict::Open
    }

    /// Decides that nobody wins, because the client wants it so; `true` next to the answer if this decides.
    pub const fn cancel(&mut self) -> (CancelBuild, bool) {
        match self.verdict {
            Verdict::Open => {
                self.verdict = Verdict::Lost(None);
                self.cancelled = true;
                (CancelBuild::Cancelled, true)
            }
            Verdict::Lost(_) if self.cancelled => (CancelBuild::Cancelled, false),
            Verdict::Lost(_) => (CancelBuild::Refuse, false),
            Verdict::Winner(_) => (CancelBuild::Built, false),
        }
    }

    /// Decides that nobody wins, because no attempt could begin. Nobody can cancel it any more; `true` if somebody has.
    pub fn give_up(&mut self) -> bool {
        if self.verdict == Verdict::Open {
            self.verdict = Verdict::Lost(None);
        }
        self.cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Attempt::{Absent, Connected, Connecting, Failed},
        Choice::{All, Best, First},
        Verdict::{Lost, Open, Winner},
        *,
    };

    fn verdict(choice: Choice, attempts: &[Attempt]) -> Verdict {
        decide(choice, attempts.iter().copied())
    }

    #[test]
    fn first_takes_any_success() {
        assert_eq!(verdict(First, &[Connecting, Connected]), Winner(1));
        assert_eq!(verdict(First, &[Connecting, Failed(-1)]), Open);
        assert_eq!(
            verdict(First, &[Failed(-2), Absent, Failed(-1)]),
            Lost(Some(-2))
        );
    }

    #[test]
    fn best_waits_for_every_better_attempt() {
        assert_eq!(verdict(Best, &[Connecting, Connected]), Open);
        assert_eq!(
            verdict(Best, &[Failed(-1), Connected, Connecting]),
            Winner(1)
        );
        assert_eq!(verdict(Best, &[Absent, Connected]), Winner(1));
        assert_eq!(verdict(Best, &[Absent, Absent]), Lost(None));
    }

    #[test]
    fn all_waits_for_everyone() {
        assert_eq!(verdict(All, &[Connected, Connecting]), Open);
        assert_eq!(verdict(All, &[Failed(-1), Connected, Connected]), Winner(1));
        assert_eq!(verdict(All, &[Failed(-1), Failed(-3)]), Lost(Some(-1)));
    }

    #[test]
    fn a_competition_is_cancelled_or_decided_but_never_both() {
        let mut decision = Decision::open();
        assert_eq!(decision.cancel(), (CancelBuild::Cancelled, true));
        assert_eq!(decision.cancel(), (CancelBuild::Cancelled, false));
        assert!(!decision.decide(Choice::First, [Attempt::Connected].into_iter()));
        assert_eq!(decision.verdict(), Verdict::Lost(None));
        assert!(decision.give_up());

        let mut decision = Decision::open();
        assert!(decision.decide(Choice::First, [Attempt::Connected].into_iter()));
        assert_eq!(decision.cancel(), (CancelBuild::Built, false));
        assert_eq!(decision.verdict(), Verdict::Winner(0));

        let mut decision = Decision::open();
        assert!(decision.decide(Choice::First, [Attempt::Failed(-1)].into_iter()));
        assert_eq!(decision.cancel(), (CancelBuild::Refuse, false));
        assert!(!decision.is_cancelled());

        let mut decision = Decision::open();
        assert!(!decision.give_up());
        assert_eq!(decision.cancel(), (CancelBuild::Refuse, false));
    }
}
