//! Every pair of the races of the specification's 4.3 at once: the events of both on one circuit, whatever their order.
//!
//! R9 is a contract with the client and R13 the driver's unload: neither is the engine's, so the table below has neither.
//! `docs/races.md` says where they are checked.

use std::sync::Arc;

use rxce_engine::life::Mode;

use crate::{
    chance::one_of,
    client::Delivery,
    explore::{Tally, explore_pair},
    record::Remote,
    scenario::{Act, any_plan, assert_build, end, race, race_with_build},
    transport::{Keeps, Temper},
    vc::{Plan, Vc},
};

/// What an execution may come to, and whether one has.
type Outcome = (&'static str, fn(&Vc) -> bool);

/// A race: who takes part in it, and what it needs of the circuit.
struct Race {
    name: &'static str,
    acts: &'static [Act],
    /// The build goes on with its connect meanwhile.
    build: bool,
    /// Every callback of the client calls `RxCeInitiateVCDisconnect`.
    callbacks: bool,
    /// What the transport does not end by itself.
    keeps: Keeps,
    /// What has to come up besides every order of the acts.
    seen: Option<Outcome>,
}

const fn between(name: &'static str, acts: &'static [Act]) -> Race {
    Race {
        name,
        acts,
        build: false,
        callbacks: false,
        keeps: Keeps {
            release: false,
            data: false,
        },
        seen: None,
    }
}

const SEND: Act = Act::Send(Delivery::Callback);

const RACES: [Race; 13] = [
    between("R1", &[Act::Initiate, Act::Initiate]),
    between("R2", &[Act::Initiate, Act::Peer]),
    between("R3", &[Act::Initiate, Act::TearDown]),
    between("R4", &[Act::Peer, Act::TearDown]),
    between("R5", &[Act::TearDown, Act::TearDown]),
    between("R6", &[SEND, Act::Initiate]),
    between("R7", &[SEND, Act::TearDown]),
    Race {
        callbacks: true,
        seen: Some(("a callback disconnects", |vc| {
            vc.record(|record| record.disconnected_by_callback)
        })),
        ..between("R8", &[Act::Peer, SEND])
    },
    between("R10", &[Act::Event(Remote::AddressError), Act::Peer]),
    Race {
        keeps: Keeps {
            release: true,
            data: false,
        },
        seen: Some(("a silent RELEASE is followed by an ABORT", |vc| {
            let wire = vc.transport().wire();
            wire.releases == 1 && wire.aborts == 1
        })),
        ..between("R11", &[Act::TearDown])
    },
    Race {
        seen: Some((
            "a completion is not back when the circuit is taken apart",
            |vc| vc.record(|record| record.late_completion),
        )),
        ..between("R12", &[Act::TearDown])
    },
    Race {
        build: true,
        seen: Some(("a build is aborted", |vc| {
            vc.record(|record| {
                record.initiated == [Mode::Abort]
                    && record.build.is_some_and(|result| result.is_err())
            })
        })),
        ..between("R14", &[Act::Initiate, Act::TearDown])
    },
    Race {
        keeps: Keeps {
            release: false,
            data: true,
        },
        seen: Some(("kept data is cancelled", |vc| {
            vc.record(|record| record.cancellations > 0)
        })),
        ..between("R15", &[Act::Indicate, Act::TearDown])
    },
];

/// The acts of both, each as often as the race that needs it more often.
fn union(one: &[Act], other: &[Act]) -> Vec<Act> {
    let mut rest = one.to_vec();
    let mut acts = rest.clone();
    for &act in other {
        match rest.iter().position(|&candidate| candidate == act) {
            Some(at) => drop(rest.swap_remove(at)),
            None => acts.push(act),
        }
    }
    acts
}

fn pair(one: &'static Race, other: &'static Race) {
    let acts = union(one.acts, other.acts);
    let name = if one.name == other.name {
        format!("{} alone", one.name)
    } else {
        format!("{} with {}", one.name, other.name)
    };
    explore_pair(&name, move |tally| run(tally, [one, other], &acts));
}

fn run(tally: &Tally, races: [&Race; 2], acts: &[Act]) {
    let keeps = Keeps {
        release: races.iter().any(|race| race.keeps.release),
        data: races.iter().any(|race| race.keeps.data),
    };
    let build = races.iter().any(|race| race.build);
    let mut plan: Plan = any_plan();
    if keeps.release || keeps.data {
        plan.temper = Temper::Stubborn(keeps);
    }
    let vc: Arc<Vc>;
    if build {
        let (published, own, connect) = Vc::published(plan);
        vc = published;
        prepare(&vc, races);
        race_with_build(&vc, own, connect, acts);
        assert_build(&plan, &vc);
    } else {
        vc = Vc::built(plan);
        prepare(&vc, races);
        // A send that is waited for and kept ends with the tear-down only.
        let waits = acts.contains(&Act::TearDown) && one_of(&[true, false]);
        let mut acts = acts.to_vec();
        for act in acts.iter_mut().filter(|act| **act == SEND && waits) {
            *act = Act::Send(Delivery::Wait);
        }
        race(&vc, &acts);
    }
    for (what, seen) in races.iter().filter_map(|race| race.seen) {
        tally.saw(what, seen(&vc));
    }
    tally_orders(tally, &vc);
    end(&vc);
}

fn prepare(vc: &Vc, races: [&Race; 2]) {
    let callbacks = races.iter().any(|race| race.callbacks);
    vc.record(|record| record.callbacks_disconnect = callbacks);
}

/// Any two acts: either decides first, and they are under way at once.
fn tally_orders(tally: &Tally, vc: &Vc) {
    vc.record(|record| {
        let spans = record.moments.spans();
        for (at, one) in spans.iter().enumerate() {
            for other in &spans[at + 1..] {
                let (first, second) = if one.is_before(other) {
                    (one.label, other.label)
                } else {
                    (other.label, one.label)
                };
                tally.saw(format!("{first} before {second}"), true);
                if first != second {
                    tally.saw(format!("{second} before {first}"), false);
                }
                let (low, high) = (first.min(second), first.max(second));
                tally.saw(format!("{low} and {high} at once"), one.overlaps(other));
            }
        }
    });
}

/// One race with itself and with all that come after it in the table.
fn row(name: &str) {
    let rest = RACES.iter().skip_while(|race| race.name != name);
    let mut races = 0;
    for other in rest {
        races += 1;
        let one = RACES.iter().find(|race| race.name == name);
        pair(one.expect("the race is in the table"), other);
    }
    assert!(races > 0, "no race of this name");
}

macro_rules! rows {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            row($name);
        })*

        #[test]
        fn every_race_has_a_row() {
            assert!(RACES.iter().map(|race| race.name).eq([$($name),*]));
        }
    };
}

rows! {
    r1: "R1",
    r2: "R2",
    r3: "R3",
    r4: "R4",
    r5: "R5",
    r6: "R6",
    r7: "R7",
    r8: "R8",
    r10: "R10",
    r11: "R11",
    r12: "R12",
    r14: "R14",
    r15: "R15",
}
