//! `life` against a model that is written from tables 4.1 and 4.2 of the connection engine specification, and from
//! nothing else: every reachable state, and long random lives. It departs from them once, in [`Model::initiate`].

use std::collections::HashSet;

use proptest::{prelude::*, test_runner::RngSeed};
use rxce_engine::{
    Error,
    life::{Built, CancelBuild, Closing, Life, Local, Mode, Notice, State},
};

const RELEASE: u32 = 4;
const ABORT: u32 = 2;

/// One event of a circuit's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Initiate,
    Disconnected(u32),
    AddressError(i32),
    BeginConnect,
    EndBuild {
        connected: bool,
    },
    TearDown,
    FirstDisconnect,
    Escalate,
    /// Of several connects for one structure, this one has won.
    Announce,
    TakeOwed,
    GiveUp,
}

const EVENTS: [Event; 16] = [
    Event::Initiate,
    Event::Disconnected(0),
    Event::Disconnected(1),
    Event::Disconnected(ABORT),
    Event::Disconnected(RELEASE),
    Event::Disconnected(ABORT | RELEASE),
    Event::AddressError(-7),
    Event::BeginConnect,
    Event::EndBuild { connected: true },
    Event::EndBuild { connected: false },
    Event::TearDown,
    Event::FirstDisconnect,
    Event::Escalate,
    Event::Announce,
    Event::TakeOwed,
    Event::GiveUp,
];

/// What an event leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Local(Local),
    Notice(Option<Notice>),
    Admitted(bool),
    Built(Built),
    Claimed(Result<(), Error>),
    Sent(Option<Mode>),
    Done,
}

/// Flags and state by the names of the tables, and what the client and the wire have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Model {
    orderly: bool,
    /// One of several attempts of 5.8, and not the winner yet.
    competing: bool,
    competed: bool,
    state: i32,
    building: bool,
    local_disc_submitted: bool,
    abort_submitted: bool,
    remote_disc_seen: bool,
    remote_was_release: bool,
    remote_abort_ever: bool,
    disconnect_owed: Option<u32>,
    error_owed: Option<i32>,
    connect_begun: bool,
    first_decided: bool,
    releases: u8,
    aborts: u8,
    notices: u8,
}

const ACTIVE: i32 = 0xAA;
const DISCONNECTED: i32 = 0xDD;
const TEARDOWN: i32 = 0xBB;

impl Model {
    const fn new(closing: Closing, competing: bool) -> Self {
        Self {
            orderly: matches!(closing, Closing::Orderly),
            competing,
            competed: competing,
            state: ACTIVE,
            building: true,
            local_disc_submitted: false,
            abort_submitted: false,
            remote_disc_seen: false,
            remote_was_release: false,
            remote_abort_ever: false,
            disconnect_owed: None,
            error_owed: None,
            connect_begun: false,
            first_decided: false,
            releases: 0,
            aborts: 0,
            notices: 0,
        }
    }

    /// Whether the routines of the specification make this event now.
    const fn allows(&self, event: Event) -> bool {
        match event {
            Event::BeginConnect => self.building && !self.connect_begun,
            Event::EndBuild { .. } => {
                !self.competed && self.building && self.connect_begun && self.state != TEARDOWN
            }
            // Claimed by a tear-down; a build that unwinds sends no first disconnect.
            Event::FirstDisconnect => {
                self.state == TEARDOWN && !self.building && !self.first_decided
            }
            Event::Escalate => {
                !self.competing && self.state == TEARDOWN && (self.building || self.first_decided)
            }
            Event::Announce => self.competing && self.connect_begun && self.state != TEARDOWN,
            // A circuit that is being torn down owes nothing any more (5.8, step 8).
            Event::TakeOwed => self.competed && !self.competing && self.state != TEARDOWN,
            Event::GiveUp => self.competing,
            // The client's structure names the circuit once it is announced.
            Event::Initiate => !self.competing,
            Event::Disconnected(_) | Event::AddressError(_) | Event::TearDown => true,
        }
    }

    /// A disconnect goes out.
    const fn send(&mut self, mode: Mode) -> Mode {
        match mode {
            Mode::Release => self.releases += 1,
            Mode::Abort => {
                self.abort_submitted = true;
                self.aborts += 1;
            }
        }
        mode
    }

    /// Table 4.2, row of RxCeInitiateVCDisconnect, and step 7 of 5.12.
    const fn initiate(&self) -> Local {
        let mode = if self.building || !self.orderly {
            Mode::Abort
        } else {
            Mode::Release
        };
        match self.state {
            ACTIVE => Local::Submit(mode),
            // The specification says nothing of a build here. Without an ABORT it could wait for ever, since a tear-down
            // is refused.
            DISCONNECTED if self.building && !self.local_disc_submitted => {
                Local::Submit(Mode::Abort)
            }
            DISCONNECTED if self.remote_was_release && !self.local_disc_submitted => {
                Local::Submit(mode)
            }
            DISCONNECTED => Local::Nothing,
            _ => Local::Refuse,
        }
    }

    /// Edges b and c: whoever moves the circuit out of ACTIVE calls the client, or owes it the call while Building.
    fn end_from_outside(&mut self, notice: Notice) -> Effect {
        self.remote_disc_seen = true;
        if self.state != ACTIVE {
            return Effect::Notice(None);
        }
        self.state = DISCONNECTED;
        if self.building {
            match notice {
                Notice::Disconnect(flags) => self.disconnect_owed = Some(flags),
                Notice::Error(status) => self.error_owed = Some(status),
            }
            return Effect::Notice(None);
        }
        self.notices += 1;
        Effect::Notice(Some(notice))
    }

    /// The notice that is owed, which is made once.
    fn pay(&mut self) -> Option<Notice> {
        let disconnect = self.disconnect_owed.take().map(Notice::Disconnect);
        let owed = disconnect.or(self.error_owed.take().map(Notice::Error));
        self.notices += u8::from(owed.is_some());
        owed
    }

    fn step(&mut self, event: Event) -> Effect {
        match event {
            Event::Initiate => {
                let decision = self.initiate();
                if let Local::Submit(mode) = decision {
                    self.state = DISCONNECTED;
                    self.local_disc_submitted = true;
                    self.send(mode);
                }
                Effect::Local(decision)
            }
            Event::Disconnected(flags) => {
                if flags == RELEASE && self.orderly {
                    self.remote_was_release = !self.remote_abort_ever;
                } else {
                    self.remote_was_release = false;
                    self.remote_abort_ever = true;
                }
                self.end_from_outside(Notice::Disconnect(flags))
            }
            Event::AddressError(status) => {
                self.remote_was_release = false;
                self.remote_abort_ever = true;
                self.end_from_outside(Notice::Error(status))
            }
            Event::BeginConnect => {
                self.connect_begun = true;
                let admitted = self.state == ACTIVE;
                if !admitted {
                    self.state = TEARDOWN;
                }
                Effect::Admitted(admitted)
            }
            Event::EndBuild { connected } => {
                if !connected || self.local_disc_submitted {
                    self.state = TEARDOWN;
                    return Effect::Built(Built::Unwind);
                }
                self.building = false;
                Effect::Built(Built::Alive(self.pay()))
            }
            Event::Announce => {
                self.competing = false;
                self.building = false;
                Effect::Done
            }
            Event::TakeOwed => Effect::Notice(self.pay()),
            Event::GiveUp => {
                self.state = TEARDOWN;
                Effect::Done
            }
            Event::TearDown => {
                let claimed = match self.state {
                    ACTIVE | DISCONNECTED if !self.building => Ok(()),
                    _ => Err(Error::InvalidParameter),
                };
                if claimed.is_ok() {
                    self.state = TEARDOWN;
                }
                Effect::Claimed(claimed)
            }
            Event::FirstDisconnect => {
                self.first_decided = true;
                // The table of 5.13, row by row.
                let due = match (self.local_disc_submitted, self.remote_disc_seen) {
                    (false, false) => true,
                    (false, true) => self.remote_was_release,
                    (true, _) => false,
                };
                let mode = if self.orderly {
                    Mode::Release
                } else {
                    Mode::Abort
                };
                self.local_disc_submitted |= due;
                Effect::Sent(due.then(|| self.send(mode)))
            }
            Event::Escalate => {
                let due = !self.abort_submitted;
                Effect::Sent(due.then(|| self.send(Mode::Abort)))
            }
        }
    }
}

/// The same event, decided by the code that ships.
fn decide(life: &mut Life, event: Event) -> Effect {
    match event {
        Event::Initiate => {
            let announced = life.local_disconnect();
            let decision = life.begin_local_disconnect();
            assert_eq!(announced, decision, "a look says what a hold will do");
            Effect::Local(decision)
        }
        Event::Disconnected(flags) => Effect::Notice(life.remote_disconnect(flags)),
        Event::AddressError(status) => Effect::Notice(life.address_error(status)),
        Event::BeginConnect => Effect::Admitted(life.begin_connect()),
        Event::EndBuild { connected } => Effect::Built(life.end_build(connected)),
        Event::TearDown => Effect::Claimed(life.begin_tear_down()),
        Event::FirstDisconnect => Effect::Sent(life.tear_down_disconnect()),
        Event::Escalate => Effect::Sent(life.escalate().then_some(Mode::Abort)),
        Event::Announce => {
            life.announce();
            Effect::Done
        }
        Event::TakeOwed => Effect::Notice(life.take_owed()),
        Event::GiveUp => {
            life.give_up();
            Effect::Done
        }
    }
}

const fn rank(state: i32) -> u8 {
    match state {
        ACTIVE => 0,
        DISCONNECTED => 1,
        _ => 2,
    }
}

fn start(closing: Closing, competing: bool) -> (Life, Model) {
    let life = if competing {
        Life::competing(closing)
    } else {
        Life::new(closing)
    };
    (life, Model::new(closing, competing))
}

/// Takes one event in both, and compares all that can be seen.
fn advance(life: &mut Life, model: &mut Model, event: Event) {
    let (before, unchanged) = (model.state, *life);
    let expected = model.step(event);
    let actual = decide(life, event);
    assert_eq!(actual, expected, "{event:?} in {unchanged:?}");
    assert_eq!(life.state().code(), model.state, "{event:?}");
    assert_eq!(life.admits_send(), model.state == ACTIVE);
    assert_eq!(life.admits_receive(), model.state != TEARDOWN);
    assert_eq!(
        life.local_disconnect_submitted(),
        model.local_disc_submitted
    );
    assert_eq!(life.is_announced(), !model.competing);
    assert_eq!(life.abort_submitted(), model.abort_submitted);
    assert_eq!(life.remote_disconnect_seen(), model.remote_disc_seen);
    assert_eq!(life.local_disconnect(), model.initiate());
    assert_eq!(life.is_building(), model.building);
    if model.building && model.state != TEARDOWN && !life.local_disconnect_submitted() {
        let ends = life.local_disconnect();
        assert_eq!(ends, Local::Submit(Mode::Abort), "a build nobody can end");
    }

    assert!(rank(before) <= rank(model.state), "the state goes back");
    let refused = [
        Effect::Local(Local::Refuse),
        Effect::Local(Local::Nothing),
        Effect::Claimed(Err(Error::InvalidParameter)),
    ];
    if refused.contains(&actual) {
        assert_eq!(*life, unchanged, "a refusal changes nothing");
    }
    assert!(model.releases <= 1, "two RELEASEs");
    assert!(model.aborts <= 1, "two ABORTs");
    assert!(model.notices <= 1, "the client is told twice");
    assert!(model.orderly || model.releases == 0);
    let told = model.notices > 0 || model.releases > 0 || model.aborts > 0;
    assert!(!(model.competing && told), "a competitor is heard of");
}

#[test]
fn every_reachable_state_agrees_with_the_tables() {
    let mut seen = HashSet::new();
    let mut open: Vec<_> = [Closing::Orderly, Closing::AbortOnly]
        .into_iter()
        .flat_map(|closing| [start(closing, false), start(closing, true)])
        .collect();
    while let Some((life, model)) = open.pop() {
        // Two lives that the model cannot tell apart must be the same to the code as well.
        if !seen.insert((format!("{life:?}"), model)) {
            continue;
        }
        for event in EVENTS.into_iter().filter(|&event| model.allows(event)) {
            let (mut life, mut model) = (life, model);
            advance(&mut life, &mut model, event);
            open.push((life, model));
        }
    }
    let models: HashSet<_> = seen.iter().map(|(_, model)| model).collect();
    let full = models
        .iter()
        .filter(|model| model.releases == 1 && model.aborts == 1 && model.notices == 1);
    assert!(full.count() > 0, "a release, an abort and a notice");
    let mut winners = models
        .iter()
        .filter(|model| model.competed && !model.competing);
    assert!(winners.any(|model| model.notices == 1), "a winner is told");
    for state in [ACTIVE, DISCONNECTED, TEARDOWN] {
        assert!(models.iter().any(|model| model.state == state));
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let any = prop_oneof![
        4 => prop::sample::select(EVENTS.to_vec()),
        1 => any::<u32>().prop_map(Event::Disconnected),
        1 => any::<i32>().prop_map(Event::AddressError),
    ];
    prop::collection::vec(any, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5278_4365),
        ..ProptestConfig::default()
    })]

    #[test]
    fn long_lives_agree_with_the_tables(
        orderly in any::<bool>(),
        competing in any::<bool>(),
        built in any::<bool>(),
        events in events(),
    ) {
        let closing = if orderly { Closing::Orderly } else { Closing::AbortOnly };
        let (mut life, mut model) = start(closing, competing);
        let end = if competing { Event::Announce } else { Event::EndBuild { connected: true } };
        let build = [Event::BeginConnect, end];
        for event in build.into_iter().filter(|_| built).chain(events) {
            if model.allows(event) {
                advance(&mut life, &mut model, event);
            }
        }
    }
}

/// A circuit whose build succeeded, in one of the states of table 4.2.
fn built(closing: Closing, events: &[Event]) -> Life {
    let mut life = Life::new(closing);
    for &event in [Event::BeginConnect, Event::EndBuild { connected: true }]
        .iter()
        .chain(events)
    {
        decide(&mut life, event);
    }
    life
}

#[test]
fn table_4_2_cell_by_cell() {
    let active = built(Closing::Orderly, &[]);
    let by_client = built(Closing::Orderly, &[Event::Initiate]);
    let by_release = built(Closing::Orderly, &[Event::Disconnected(RELEASE)]);
    let by_abort = built(Closing::Orderly, &[Event::Disconnected(ABORT)]);
    let by_error = built(Closing::Orderly, &[Event::AddressError(-1)]);
    let torn_down = built(Closing::Orderly, &[Event::TearDown]);
    let building = Life::new(Closing::Orderly);
    let disconnected = [by_client, by_release, by_abort, by_error];

    // RxCeSend
    assert!(active.admits_send());
    assert!(disconnected.iter().all(|life| !life.admits_send()));
    assert!(!torn_down.admits_send());

    // RxCeInitiateVCDisconnect
    assert_eq!(active.local_disconnect(), Local::Submit(Mode::Release));
    assert_eq!(building.local_disconnect(), Local::Submit(Mode::Abort));
    for event in [
        Event::Disconnected(RELEASE),
        Event::Disconnected(ABORT),
        Event::AddressError(-1),
    ] {
        let mut ended = building;
        decide(&mut ended, event);
        assert_eq!(ended.state(), State::Disconnected);
        assert_eq!(ended.begin_tear_down(), Err(Error::InvalidParameter));
        let local = ended.begin_local_disconnect();
        assert_eq!(local, Local::Submit(Mode::Abort), "its connect is aborted");
        assert_eq!(ended.begin_local_disconnect(), Local::Nothing);
        assert_eq!(ended.end_build(true), Built::Unwind);
        assert!(!ended.escalate(), "the ABORT is not repeated");
    }
    let abortive = built(Closing::AbortOnly, &[]);
    assert_eq!(abortive.local_disconnect(), Local::Submit(Mode::Abort));
    assert_eq!(by_client.local_disconnect(), Local::Nothing);
    assert_eq!(by_release.local_disconnect(), Local::Submit(Mode::Release));
    assert_eq!(by_abort.local_disconnect(), Local::Nothing);
    assert_eq!(by_error.local_disconnect(), Local::Nothing);
    assert_eq!(torn_down.local_disconnect(), Local::Refuse);

    // RxCeTearDownVC
    for mut life in disconnected.into_iter().chain([active]) {
        assert_eq!(life.begin_tear_down(), Ok(()));
        assert_eq!(life.state(), State::TearDown);
    }
    for life in [torn_down, building] {
        let mut claimed = life;
        assert_eq!(claimed.begin_tear_down(), Err(Error::InvalidParameter));
        assert_eq!(claimed, life);
    }

    // receive indication
    assert!(active.admits_receive());
    assert!(disconnected.iter().all(|life| life.admits_receive()));
    assert!(!torn_down.admits_receive());

    // disconnect indication
    for flags in [0, ABORT, RELEASE, ABORT | RELEASE] {
        let mut told = active;
        let notice = told.remote_disconnect(flags);
        assert_eq!(notice, Some(Notice::Disconnect(flags)));
        assert_eq!(told.state(), State::Disconnected);
        for mut life in disconnected.into_iter().chain([torn_down]) {
            let state = life.state();
            assert_eq!(life.remote_disconnect(flags), None, "recorded only");
            assert_eq!(life.state(), state);
            assert!(life.remote_disconnect_seen());
        }
    }
}

#[test]
fn a_build_is_cancelled_once_or_not_at_all() {
    let mut life = Life::new(Closing::Orderly);
    assert_eq!(life.cancel_build(), CancelBuild::Cancelled);
    assert_eq!(life.cancel_build(), CancelBuild::Cancelled);
    assert_eq!(life.state(), State::Disconnected);
    assert!(!life.begin_connect());
    assert_eq!(
        life.cancel_build(),
        CancelBuild::Cancelled,
        "it fails for that"
    );

    let mut life = Life::new(Closing::Orderly);
    assert_eq!(life.end_build(true), Built::Alive(None));
    assert_eq!(life.cancel_build(), CancelBuild::Built);
    assert_eq!(life.state(), State::Active);
    assert_eq!(life.begin_tear_down(), Ok(()));
    assert_eq!(life.cancel_build(), CancelBuild::Refuse);

    let mut life = Life::new(Closing::Orderly);
    assert!(!life.fail_build());
    assert_eq!(life.cancel_build(), CancelBuild::Refuse);

    // The winner of a competition, before its client sees it.
    let mut life = Life::competing(Closing::Orderly);
    assert_eq!(life.cancel_build(), CancelBuild::Built);
    assert_eq!(life.state(), State::Active);
}

#[test]
fn a_peer_that_ended_the_circuit_does_not_keep_its_build_from_being_cancelled() {
    let mut life = Life::new(Closing::Orderly);
    assert_eq!(life.remote_disconnect(2), None);
    assert_eq!(life.cancel_build(), CancelBuild::Cancelled);
    assert_eq!(life.end_build(true), Built::Unwind);
}
