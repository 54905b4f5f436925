//! The table, and the short words in which it is written.

mod executive;
mod irp;
mod irql;
mod lock;
mod mdl;
mod memory;
mod object;
mod pool;
mod tdi;
mod unload;

use crate::{Group, Machine, Rule, Stop};

pub(crate) const GROUPS: &[Group] = &[
    pool::GROUP,
    memory::GROUP,
    mdl::GROUP,
    irql::GROUP,
    lock::GROUP,
    executive::GROUP,
    object::GROUP,
    irp::GROUP,
    tdi::GROUP,
    unload::GROUP,
];

/// All rules, in the order of their numbers.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    GROUPS.iter().flat_map(|group| group.rules)
}

/// `DRIVER_VERIFIER_DETECTED_VIOLATION` with this sub-code.
const fn c4(sub: u64) -> Stop {
    Stop::BugCheck(0xC4, [Some(sub), None, None, None])
}

/// The same with further parameters.
const fn c4_with(sub: u64, rest: [Option<u64>; 3]) -> Stop {
    let [second, third, fourth] = rest;
    Stop::BugCheck(0xC4, [Some(sub), second, third, fourth])
}

/// `DRIVER_VERIFIER_IOMANAGER_VIOLATION` with this sub-code.
const fn c9(sub: u64) -> Stop {
    Stop::BugCheck(0xC9, [Some(sub), None, None, None])
}

/// A rule that is ntsim's own, by its number there.
const fn own(number: u64) -> Stop {
    stop(0x2000_00C4, number)
}

/// Another bug check with a known first parameter.
const fn stop(code: u32, first: u64) -> Stop {
    Stop::BugCheck(code, [Some(first), None, None, None])
}

/// A bug check whose parameters are addresses.
const fn plain(code: u32) -> Stop {
    Stop::BugCheck(code, [None; 4])
}

/// A rule with a legal neighbour.
const fn rule(
    name: &'static str,
    what: &'static str,
    stop: Stop,
    page: &'static str,
    check: &'static str,
) -> Rule {
    Rule {
        name,
        what,
        stop,
        check,
        page,
        machine: Machine::Usual,
        has_twin: true,
    }
}

/// A rule that needs a setting of the machine.
const fn on(machine: Machine, rule: Rule) -> Rule {
    Rule { machine, ..rule }
}

/// A rule without one.
const fn alone(
    name: &'static str,
    what: &'static str,
    stop: Stop,
    page: &'static str,
    check: &'static str,
) -> Rule {
    Rule {
        has_twin: false,
        ..rule(name, what, stop, page, check)
    }
}
