//! Requests for a transport.

use super::{on, own, rule};
use crate::{Group, Machine, Rule};

const CHECK: &str = "tdi/memory.rs";
const PAGE: &str = "ntsim's own: TDI_RECEIVE_DATAGRAM";

pub(super) const GROUP: Group = Group {
    subject: "Requests for a transport",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    on(Machine::Transport, rule("tdi_chain_too_short", "a request that is longer than its MDL chain", own(0x10), PAGE, CHECK)),
    on(Machine::Transport, rule("tdi_chain_not_locked", "a request whose MDL is neither locked nor for nonpaged pool", own(0x11), PAGE, CHECK)),
];
