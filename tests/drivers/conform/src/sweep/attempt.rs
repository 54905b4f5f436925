//! One run of a scenario: what fails in it, and which answers that explains.

use alloc::format;
use core::cell::Cell;

use conform_ioctl::{SweepRequest, SweepWay};
use wdk_sys::NTSTATUS;

use crate::{
    fixture,
    nt::{
        sim::{Faults, Pick},
        status::{self, Named},
    },
    outcome::{Outcome, Run, Trouble, holds},
    race::settled,
    transport::{
        TRANSPORT,
        fault::{Fault, Way},
    },
};

/// Why a scenario ends before its end.
pub(crate) enum Stop {
    /// A routine failed as it had to; everything is to be torn down now.
    Early,
    /// Something else was seen than expected.
    Trouble(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// A step of a scenario.
pub(crate) type Step<T = ()> = Result<T, Stop>;

/// What fails in a run, and whether anybody has noticed it.
pub(crate) struct Attempt<'a> {
    pub(crate) run: &'a Run,
    request: SweepRequest,
    faults: Option<Faults>,
    noticed: Cell<bool>,
    may_hide: Cell<bool>,
}

impl<'a> Attempt<'a> {
    /// A run in which `request` says what fails; not yet armed.
    pub(crate) fn new(run: &'a Run, request: SweepRequest) -> Outcome<Self> {
        let faults = match request.way {
            SweepWay::Call | SweepWay::NewStack => Some(
                Faults::find()
                    .ok_or_else(|| Trouble::NotPossible("failing chosen kernel calls".into()))?,
            ),
            SweepWay::Nothing | SweepWay::AtOnce | SweepWay::Later => None,
        };
        Ok(Self {
            run,
            request,
            faults,
            noticed: Cell::new(false),
            may_hide: Cell::new(false),
        })
    }

    /// From now on the chosen call or request fails.
    pub(crate) fn arm(&self) {
        let (nth, result) = (self.request.nth, self.request.status);
        match (&self.faults, self.request.way) {
            (Some(faults), SweepWay::NewStack) => faults.arm(Pick::NewStack),
            (Some(faults), _) => faults.arm(Pick::Nth(nth)),
            (None, way) => TRANSPORT.update(|state| {
                state.fault = match way {
                    SweepWay::AtOnce => Fault::new(nth, Way::AtOnce, result),
                    SweepWay::Later => Fault::new(nth, Way::Later, result),
                    SweepWay::Nothing | SweepWay::Call | SweepWay::NewStack => Fault::NONE,
                }
            }),
        }
    }

    /// From now on nothing fails. Tells whether the chosen call or request came.
    pub(crate) fn disarm(&self) -> bool {
        let hit = self.was_hit();
        match &self.faults {
            Some(faults) => faults.disarm(),
            None => TRANSPORT.update(|state| state.fault = Fault::NONE),
        }
        hit
    }

    fn was_hit(&self) -> bool {
        match &self.faults {
            Some(faults) => faults.was_hit(),
            None => TRANSPORT.read(|state| state.fault.was_hit()),
        }
    }

    /// From now on a failing request need not show: others do its work, or it is ended by a tear-down.
    pub(crate) fn may_hide(&self) {
        self.may_hide.set(true);
    }

    /// A request that failed must have shown.
    pub(crate) fn was_shown(&self) -> Outcome {
        let must = TRANSPORT.read(|state| state.fault.must_show()) && !self.may_hide.get();
        holds("a failing request shows", !must || self.noticed.get())
    }

    /// Whether kernel calls fail, as opposed to requests.
    const fn fails_calls(&self) -> bool {
        self.faults.is_some()
    }

    /// The status that the failure shows as.
    pub(crate) const fn as_failure(&self) -> NTSTATUS {
        if self.fails_calls() {
            status::INSUFFICIENT_RESOURCES
        } else {
            self.request.status
        }
    }

    /// Whether `answer` is what the failure leads to. Anything else than that or success is wrong; a failure shows once.
    pub(crate) fn failed(&self, what: &str, answer: NTSTATUS) -> Outcome<bool> {
        if answer == status::SUCCESS {
            return Ok(false);
        }
        let (seen, expected) = (Named(answer), Named(self.as_failure()));
        holds(
            &format!("{what}: {seen:?} before anything failed, or without reason"),
            self.was_hit(),
        )?;
        holds(
            &format!("{what}: {seen:?}, and the failure should show as {expected:?}"),
            seen == expected,
        )?;
        holds(
            &format!("{what}: {seen:?}, which was told before"),
            !self.noticed.replace(true),
        )?;
        Ok(true)
    }

    /// Judges a tear-down. None needs memory; only RxCeTearDownVC makes a request, whose failure it tells.
    pub(crate) fn torn_down(&self, what: &str, answer: NTSTATUS) -> Outcome {
        if what == "RxCeTearDownVC" && !self.fails_calls() {
            return self.failed(what, answer).map(drop);
        }
        fixture::ok(what, answer)
    }

    /// Makes a call that may fail. If it does, `unchanged` must hold and the engine own what it owned before; then the
    /// scenario ends, or the call is repeated and must succeed.
    pub(crate) fn call(
        &self,
        what: &str,
        mut call: impl FnMut() -> Outcome<NTSTATUS>,
        unchanged: impl Fn() -> Outcome,
    ) -> Step {
        let before = self.run.balance();
        let answer = call()?;
        if !self.failed(what, answer)? {
            return Ok(());
        }
        let told = |trouble| match trouble {
            Trouble::Failed(text) => Trouble::Failed(format!("after {what} failed: {text}")),
            other => other,
        };
        unchanged().map_err(told)?;
        settled(|| before.not_more(self.run, &format!("{what} failed")))?;
        if !self.request.again {
            return Err(Stop::Early);
        }
        fixture::ok(&format!("{what} again"), call()?)?;
        Ok(())
    }
}
