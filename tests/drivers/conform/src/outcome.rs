//! How a vector tells what it saw: errors with a text, and the few checks everything is written with.

use alloc::{format, string::String, vec::Vec};
use core::{cell::RefCell, fmt::Debug};

use wdk_sys::NTSTATUS;

use crate::nt::{
    sim::{self, Account},
    status::Named,
};

/// Why a vector did not pass.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Something else was seen than expected.
    Failed(String),
    /// This kernel lacks what the vector cannot do without.
    NotPossible(String),
}

/// Result of a vector, or of a step of one.
pub(crate) type Outcome<T = ()> = Result<T, Trouble>;

impl Trouble {
    /// A step that the vector needs returned `status`.
    pub(crate) fn failed(step: &str, status: NTSTATUS) -> Self {
        Self::Failed(format!("{step}: {:?}", Named(status)))
    }

    /// Out of memory in the test itself.
    pub(crate) fn no_memory() -> Self {
        Self::Failed(String::from("the test itself found no memory"))
    }
}

/// `seen` must equal `expected`.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, seen: T, expected: T) -> Outcome {
    if seen == expected {
        return Ok(());
    }
    Err(Trouble::Failed(format!(
        "{what}: seen {seen:?}, expected {expected:?}"
    )))
}

/// `seen` must be the status `expected`.
pub(crate) fn status(what: &str, seen: NTSTATUS, expected: NTSTATUS) -> Outcome {
    same(what, Named(seen), Named(expected))
}

/// `condition` must hold.
pub(crate) fn holds(what: &str, condition: bool) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(Trouble::Failed(format!("not so: {what}")))
    }
}

/// One run of one vector: collects the parts that this kernel cannot check.
pub(crate) struct Run {
    missing: RefCell<Vec<&'static str>>,
}

impl Run {
    /// A run with nothing missing yet.
    pub(crate) const fn new() -> Self {
        Self {
            missing: RefCell::new(Vec::new()),
        }
    }

    /// Notes that `part` was not checked.
    pub(crate) fn part_missing(&self, part: &'static str) {
        let mut missing = self.missing.borrow_mut();
        if !missing.contains(&part) {
            missing.push(part);
        }
    }

    /// The parts not checked.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.missing.borrow().clone()
    }

    /// What is alive of the engine now.
    pub(crate) fn balance(&self) -> Balance {
        let account = sim::engine_account();
        if account.is_none() {
            self.part_missing("balance of pool, IRPs, handles and references");
        }
        Balance(account)
    }
}

/// What was alive of the engine at one moment; nothing where the kernel cannot tell.
#[derive(Clone, Copy)]
pub(crate) struct Balance(Option<Account>);

impl Balance {
    /// The engine must hold no more of anything now than it held then. What has ended may be given back a moment later by
    /// the thread that ended it: then it holds less.
    pub(crate) fn not_more(&self, run: &Run, what: &str) -> Outcome {
        match (self.0, run.balance().0) {
            (Some(then), Some(now)) => holds(
                &format!("{what}: the engine holds no more than {then:?}; it holds {now:?}"),
                now.is_within(&then),
            ),
            _ => Ok(()),
        }
    }

    /// The engine must hold now what it held then.
    pub(crate) fn unchanged(&self, run: &Run, what: &str) -> Outcome {
        match (self.0, run.balance().0) {
            (Some(then), Some(now)) => same(&format!("{what}: the engine's balance"), now, then),
            _ => Ok(()),
        }
    }
}
