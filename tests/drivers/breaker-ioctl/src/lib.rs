//! Control interface of the rule breaker breaker.sys, and the table of the rules it breaks.
//!
//! Each rule has a number, its place in [`rules`], and two control codes: one breaks the rule, one does nearly the
//! same and is legal. The table says which stop the rule ends in; it knows nothing of the driver, nor of who runs it.

#![no_std]
#![forbid(unsafe_code)]

mod rules;

pub use rules::rules;

/// The control device.
pub const DEVICE_NAME: &str = r"\Device\Breaker";
/// The device for requests, of a second copy of the driver: a stack has more than one driver.
pub const BELOW_NAME: &str = r"\Device\BreakerBelow";

/// The device of the transport, where a rule needs one.
pub const TRANSPORT_NAME: &str = r"\Device\Udp";

/// Whether to break the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// Breaks it.
    Guilty,
    /// Does nearly the same, which is legal.
    Innocent,
}

// The input of a control code is the rule's name.
/// First function code; lower ones are Microsoft's ("Defining I/O Control Codes").
const FIRST: u32 = 0x800;

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, function, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)` for a rule's number.
#[must_use]
pub fn control_code(number: usize, twin: Twin) -> Option<u32> {
    let number = u32::try_from(number)
        .ok()
        .filter(|number| *number < 0x400)?;
    let function = FIRST
        .wrapping_add(number.wrapping_mul(2))
        .wrapping_add(match twin {
            Twin::Guilty => 0,
            Twin::Innocent => 1,
        });
    Some((0x22 << 16) | (3 << 14) | (function << 2))
}

/// The rule that a control code stands for.
#[must_use]
pub fn rule_of(code: u32) -> Option<(&'static Rule, Twin)> {
    rules().enumerate().find_map(|(number, rule)| {
        [Twin::Guilty, Twin::Innocent]
            .into_iter()
            .find(|twin| control_code(number, *twin) == Some(code))
            .map(|twin| (rule, twin))
    })
}

/// What a broken rule ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A bug check: its code, and those of its four parameters that are known beforehand.
    BugCheck(u32, [Option<u64>; 4]),
    /// Nothing can go on any more; so many threads of the driver wait.
    Hang(usize),
}

/// Settings of the machine that some rules need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// All that is on by default.
    Usual,
    /// Special pool guards the start of blocks instead of their end.
    GuardInFront,
    /// Force pending I/O requests.
    ForcePending,
    /// Low resources: everything that can fail does.
    LowResources,
    /// Buffers of requests must not change.
    InvariantMdl,
    /// With a transport for datagrams, [`TRANSPORT_NAME`].
    Transport,
}

/// A rule that the driver breaks.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Name: the test's and the driver's routine.
    pub name: &'static str,
    /// What is forbidden.
    pub what: &'static str,
    /// How it ends.
    pub stop: Stop,
    /// The file of ntsim that checks it.
    pub check: &'static str,
    /// The rule class of Driver Verifier, or the page that forbids it.
    pub page: &'static str,
    /// What the machine has to be set to.
    pub machine: Machine,
    /// Whether there is a legal neighbour to try.
    pub has_twin: bool,
}

/// Rules of one subject.
pub struct Group {
    /// The subject.
    pub subject: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
}

/// All groups, in the order of their numbers.
pub const GROUPS: &[Group] = rules::GROUPS;
