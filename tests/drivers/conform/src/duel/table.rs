//! Which parts meet, and how they may end: rxce.md §4.2 and §4.3.

use super::{
    parts::{self, NOTHING},
    racy,
    stage::{Built, Part, Stage},
};
use crate::{
    fixture::{self, state_of},
    nt::status::{
        CONNECTION_ABORTED, CONNECTION_DISCONNECTED, DATA_NOT_ACCEPTED, INVALID_PARAMETER,
        MORE_PROCESSING_REQUIRED, SUCCESS,
    },
    outcome::{Outcome, holds, same},
    transport::Kind,
};
use rxce_client::{RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED};

/// One duel.
pub(super) struct Duel {
    /// Its name in [`conform_ioctl::DUELS`].
    pub(super) name: &'static str,
    pub(super) parts: &'static [Part],
    /// What the transport holds until `answer` plays.
    pub(super) held: &'static [Kind],
    /// The client asks for more data than was indicated.
    pub(super) more: bool,
    /// What is built before they meet.
    pub(super) built: Built,
    /// Judges what the parts answered and what was seen.
    pub(super) judge: fn(&Seen) -> Outcome,
}

/// The outcome of a round.
pub(super) struct Seen<'a> {
    pub(super) stage: &'a Stage,
    /// What the parts answered.
    pub(super) answers: [i32; super::crew::MOST],
    /// RELEASE and ABORT requests, connects; Disconnect, Error, Receive, DataReady and SendComplete callbacks.
    pub(super) counts: [usize; super::stage::COUNTS],
}

impl Seen<'_> {
    /// The answer of a part is one of these.
    fn answered(&self, part: usize, allowed: &[i32]) -> Outcome {
        let answer = self.answers.get(part).copied().unwrap_or(NOTHING);
        if allowed.contains(&answer) {
            return Ok(());
        }
        same(
            "the answer of a part",
            (part, answer),
            (part, allowed.first().copied().unwrap_or(0)),
        )
    }

    /// One of the first two parts succeeded, the other one was refused.
    fn one_of_two(&self) -> Outcome {
        let [one, two, ..] = self.answers;
        let mut both = [one, two];
        both.sort_unstable();
        same("the answers", both, [INVALID_PARAMETER, SUCCESS])
    }

    /// The first part builds on what the second one tears down: whether the child was built. The parent counts it, or is gone.
    fn child_or_end(&self) -> Outcome<bool> {
        self.one_of_two()?;
        self.callbacks([0; 5])?;
        self.disconnects(0, 0)?;
        Ok(self.first() == SUCCESS)
    }

    /// RELEASE and ABORT requests.
    fn disconnects(&self, releases: usize, aborts: usize) -> Outcome {
        let [release, abort, ..] = self.counts;
        same(
            "[RELEASE, ABORT] requests",
            [release, abort],
            [releases, aborts],
        )
    }

    /// Callbacks Disconnect, Error, Receive, DataReady, SendComplete.
    fn callbacks(&self, expected: [usize; 5]) -> Outcome {
        let [_, _, _, disconnect, error, receive, ready, complete] = self.counts;
        let seen = [disconnect, error, receive, ready, complete];
        same(
            "callbacks [Disconnect, Error, Receive, DataReady, SendComplete]",
            seen,
            expected,
        )
    }

    /// The circuit is gone.
    fn torn_down(&self) -> Outcome {
        holds(
            "the torn down circuit is zero",
            self.stage.fixture.vc.is_zero(),
        )
    }

    fn state(&self, expected: i32) -> Outcome {
        same("State", self.stage.fixture.state(), expected)
    }

    fn first(&self) -> i32 {
        let [first, ..] = self.answers;
        first
    }
}

/// All duels, in the order of [`conform_ioctl::DUELS`].
pub(super) const TABLE: [Duel; conform_ioctl::DUELS.len()] = [
    Duel {
        name: "initiate/initiate",
        parts: &[parts::initiate, parts::initiate, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R1.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS])?;
            seen.disconnects(1, 0)?;
            seen.callbacks([0; 5])?;
            seen.state(RXCE_VC_DISCONNECTED)
        },
    },
    Duel {
        name: "initiate/tear-down",
        parts: &[parts::initiate, parts::tear_down, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R3.
            seen.answered(0, &[SUCCESS, INVALID_PARAMETER])?;
            seen.answered(1, &[SUCCESS])?;
            seen.disconnects(1, 0)?;
            seen.callbacks([0; 5])?;
            seen.torn_down()
        },
    },
    Duel {
        name: "initiate/remote-release",
        parts: &[parts::initiate, parts::remote_release, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R2: our RELEASE, or the acknowledgement of theirs; the client is told if the event came first.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS])?;
            seen.disconnects(1, 0)?;
            let [_, _, _, told, ..] = seen.counts;
            holds("at most one Disconnect callback", told <= 1)?;
            seen.callbacks([told, 0, 0, 0, 0])?;
            seen.state(RXCE_VC_DISCONNECTED)
        },
    },
    Duel {
        name: "initiate/remote-abort",
        parts: &[parts::initiate, parts::remote_abort, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R2: whoever came first found the circuit active.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS])?;
            let [released, _, _, told, ..] = seen.counts;
            same(
                "RELEASE requests and Disconnect callbacks",
                released + told,
                1,
            )?;
            seen.disconnects(released, 0)?;
            seen.callbacks([told, 0, 0, 0, 0])?;
            seen.state(RXCE_VC_DISCONNECTED)
        },
    },
    Duel {
        name: "tear-down/tear-down",
        parts: &[parts::tear_down, parts::tear_down, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R5.
            seen.one_of_two()?;
            seen.disconnects(1, 0)?;
            seen.callbacks([0; 5])?;
            seen.torn_down()
        },
    },
    Duel {
        name: "tear-down/remote-release",
        parts: &[parts::tear_down, parts::remote_release, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R4.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS])?;
            seen.disconnects(1, 0)?;
            let [_, _, _, told, ..] = seen.counts;
            holds("at most one Disconnect callback", told <= 1)?;
            seen.callbacks([told, 0, 0, 0, 0])?;
            seen.torn_down()
        },
    },
    Duel {
        name: "tear-down/remote-abort",
        parts: &[parts::tear_down, parts::remote_abort, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R4.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS])?;
            let [released, _, _, told, ..] = seen.counts;
            // Neither if the event finds TEARDOWN before that has chosen.
            holds("the first one acts", released + told <= 1)?;
            seen.disconnects(released, 0)?;
            seen.callbacks([told, 0, 0, 0, 0])?;
            seen.torn_down()
        },
    },
    Duel {
        name: "tear-down/address-error",
        parts: &[parts::tear_down, parts::address_error, parts::answer],
        held: &[Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R10.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS])?;
            let [released, _, _, _, told, ..] = seen.counts;
            holds("the first one acts", released + told <= 1)?;
            seen.disconnects(released, 0)?;
            seen.callbacks([0, told, 0, 0, 0])?;
            seen.torn_down()
        },
    },
    Duel {
        name: "build/initiate",
        parts: &[parts::build_other, parts::initiate_other, parts::answer],
        held: &[Kind::Connect],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R14.
            seen.answered(1, &[SUCCESS, INVALID_PARAMETER])?;
            seen.callbacks([0; 5])?;
            built(seen)
        },
    },
    Duel {
        name: "build/tear-down",
        parts: &[parts::build_other, parts::tear_down_other, parts::answer],
        held: &[Kind::Connect],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R14: tear-down refuses while it is built.
            seen.answered(0, &[SUCCESS])?;
            seen.answered(1, &[SUCCESS, INVALID_PARAMETER])?;
            let [_, torn_down, ..] = seen.answers;
            seen.callbacks([0; 5])?;
            seen.disconnects(usize::from(torn_down == SUCCESS), 0)?;
            let state = if torn_down == SUCCESS {
                0
            } else {
                RXCE_VC_ACTIVE
            };
            same("State", state_of(seen.stage.other), state)
        },
    },
    Duel {
        name: "build/remote-abort",
        parts: &[parts::build_other, parts::remote_abort_other, parts::answer],
        held: &[Kind::Connect],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // What comes before the connect fails the build; what comes after it is delivered when the circuit is built.
            seen.answered(0, &[SUCCESS, CONNECTION_ABORTED])?;
            seen.answered(1, &[SUCCESS, NOTHING])?;
            let [_, _, _, told, ..] = seen.counts;
            let built = usize::from(seen.first() == SUCCESS);
            holds(
                "at most one Disconnect callback, of a circuit",
                told <= built,
            )?;
            seen.callbacks([told, 0, 0, 0, 0])?;
            seen.disconnects(0, 0)?;
            let state = match (built, told) {
                (0, _) => 0,
                (_, 0) => RXCE_VC_ACTIVE,
                _ => RXCE_VC_DISCONNECTED,
            };
            same("State", state_of(seen.stage.other), state)
        },
    },
    Duel {
        name: "send/tear-down",
        parts: &[parts::send_data, parts::tear_down, parts::answer],
        held: &[Kind::Send],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R7: a send that was taken completes once, before the tear-down returns.
            seen.answered(0, &[SUCCESS, CONNECTION_DISCONNECTED])?;
            seen.answered(1, &[SUCCESS])?;
            seen.callbacks([0, 0, 0, 0, usize::from(seen.first() == SUCCESS)])?;
            seen.disconnects(1, 0)?;
            seen.torn_down()
        },
    },
    Duel {
        name: "send/initiate",
        parts: &[parts::send_data, parts::initiate, parts::answer],
        held: &[Kind::Send, Kind::Release],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            // R6.
            seen.answered(0, &[SUCCESS, CONNECTION_DISCONNECTED])?;
            seen.answered(1, &[SUCCESS])?;
            seen.callbacks([0, 0, 0, 0, usize::from(seen.first() == SUCCESS)])?;
            seen.disconnects(1, 0)?;
            seen.state(RXCE_VC_DISCONNECTED)
        },
    },
    Duel {
        name: "receive/tear-down",
        parts: &[parts::receive, parts::tear_down],
        held: &[],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            seen.answered(0, &[SUCCESS, DATA_NOT_ACCEPTED])?;
            seen.answered(1, &[SUCCESS])?;
            let [_, _, _, _, _, received, ..] = seen.counts;
            holds("at most one Receive callback", received <= 1)?;
            seen.callbacks([0, 0, received, 0, 0])?;
            seen.disconnects(1, 0)?;
            seen.torn_down()
        },
    },
    Duel {
        name: "request/tear-down",
        parts: &[
            parts::receive_more,
            parts::tear_down,
            parts::answer_with_data,
        ],
        held: &[],
        more: true,
        built: Built::Circuit,
        judge: |seen| {
            // A request that the client asked for is answered by one DataReady.
            let allowed = [MORE_PROCESSING_REQUIRED, SUCCESS, DATA_NOT_ACCEPTED];
            seen.answered(0, &allowed)?;
            seen.answered(1, &[SUCCESS])?;
            let [release, abort, _, _, _, received, ..] = seen.counts;
            holds("at most one Receive callback", received <= 1)?;
            seen.callbacks([0, 0, received, received, 0])?;
            holds(
                "at most one disconnect of each kind",
                release <= 1 && abort <= 1,
            )?;
            seen.torn_down()
        },
    },
    Duel {
        name: "query/tear-down",
        parts: &[parts::ask, parts::tear_down, parts::answer],
        held: &[Kind::Query],
        more: false,
        built: Built::Circuit,
        judge: |seen| {
            seen.answered(1, &[SUCCESS])?;
            seen.callbacks([0; 5])?;
            seen.disconnects(1, 0)?;
            seen.torn_down()
        },
    },
    Duel {
        name: "build/build",
        parts: &[parts::build_other, parts::build_other],
        held: &[],
        more: false,
        built: Built::Connection,
        judge: |seen| {
            // One structure, reserved once.
            seen.one_of_two()?;
            seen.callbacks([0; 5])?;
            same("State", state_of(seen.stage.other), RXCE_VC_ACTIVE)
        },
    },
    Duel {
        name: "build/tear-down-connection",
        parts: &[parts::build_other, parts::tear_down_connection],
        held: &[],
        more: false,
        built: Built::Connection,
        judge: |seen| {
            // The circuit counts, or its connection is claimed.
            let built = seen.child_or_end()?;
            if built {
                same("State", state_of(seen.stage.other), RXCE_VC_ACTIVE)?;
            } else {
                let other = fixture::bytes_of(seen.stage.other);
                same("the circuit's bytes", other, seen.stage.other_before)?;
            }
            let fixture = &seen.stage.fixture;
            same(
                "whether the connection is zero",
                fixture.connection.is_zero(),
                !built,
            )
        },
    },
    Duel {
        name: "connect/tear-down-address",
        parts: &[parts::connect, parts::tear_down_address],
        held: &[],
        more: false,
        built: Built::Address,
        judge: |seen| {
            let built = seen.child_or_end()?;
            let fixture = &seen.stage.fixture;
            if built {
                same("State", fixture.state(), RXCE_VC_ACTIVE)?;
            }
            let zero = [fixture.connection.is_zero(), fixture.address.is_zero()];
            same("whether [connection, address] are zero", zero, [!built; 2])
        },
    },
    Duel {
        name: "open/tear-down-transport",
        parts: &[parts::open_address, parts::tear_down_transport],
        held: &[],
        more: false,
        built: Built::Transport,
        judge: |seen| {
            let built = seen.child_or_end()?;
            let fixture = &seen.stage.fixture;
            let zero = [fixture.address.is_zero(), fixture.transport.is_zero()];
            same("whether [address, transport] are zero", zero, [!built; 2])
        },
    },
    racy(
        "racy/lost-update",
        &[racy::add_in_two_holds, racy::add_in_two_holds],
        |seen| same("the sum", seen.stage.racy.number(), 2),
    ),
    racy(
        "fixed/lost-update",
        &[racy::add_in_one_hold, racy::add_in_one_hold],
        |seen| same("the sum", seen.stage.racy.number(), 2),
    ),
    racy(
        "racy/lock-order",
        &[racy::first_then_second, racy::second_then_first],
        |_| Ok(()),
    ),
    racy(
        "fixed/lock-order",
        &[racy::first_then_second, racy::first_then_second],
        |_| Ok(()),
    ),
    racy(
        "racy/lost-wake-up",
        &[racy::look_then_clear, racy::tell],
        |_| Ok(()),
    ),
    racy(
        "fixed/lost-wake-up",
        &[racy::clear_then_look, racy::tell],
        |_| Ok(()),
    ),
    racy(
        "racy/plain-memory",
        &[racy::take_in_two_steps, racy::take_in_two_steps],
        |seen| {
            let [one, two, _] = seen.answers;
            same("how many won", one + two, 1)
        },
    ),
    racy(
        "fixed/plain-memory",
        &[racy::take_in_one_step, racy::take_in_one_step],
        |seen| {
            let [one, two, _] = seen.answers;
            same("how many won", one + two, 1)
        },
    ),
];

/// A duel without a circuit.
const fn racy(name: &'static str, parts: &'static [Part], judge: fn(&Seen) -> Outcome) -> Duel {
    Duel {
        name,
        parts,
        held: &[],
        more: false,
        built: Built::Nothing,
        judge,
    }
}

/// The second circuit is built, or its structure is zero.
fn built(seen: &Seen) -> Outcome {
    let state = state_of(seen.stage.other);
    if seen.first() == SUCCESS {
        let [_, initiated, ..] = seen.answers;
        let known = [RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED];
        holds(
            "a built circuit is active or disconnected",
            known.contains(&state),
        )?;
        return same(
            "whether it is disconnected",
            state == RXCE_VC_DISCONNECTED,
            initiated == SUCCESS,
        );
    }
    let bytes = fixture::bytes_of(seen.stage.other);
    holds(
        "a circuit that was not built is zero",
        bytes.iter().all(|&byte| byte == 0),
    )?;
    seen.answered(1, &[SUCCESS])
}
