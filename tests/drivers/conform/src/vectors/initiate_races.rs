//! RxCeInitiateVCDisconnect against itself (rxce.md §4.3, R1), and in a callback (R8).

use rxce_client::{RXCE_VC, RXCE_VC_DISCONNECTED};
use wdk_sys::NTSTATUS;

use super::{Shared, Vector, own};
use crate::{
    client::{Answer, CLIENT},
    engine,
    fixture::{self, Fixture, script, seen},
    nt::{event::Event, sim::Break, status, thread::Thread, time, watch::Watch},
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Personality, Script},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "I8",
        "two threads initiate at once: one RELEASE",
        two_threads,
    ),
    own(
        "I15",
        "another thread initiates after the first has looked: one RELEASE",
        after_the_look,
    ),
    own(
        "I16",
        "initiate in a callback of the circuit, which it does not wait for",
        in_a_callback,
    ),
];

/// The circuit that a callback disconnects, and the answer.
static INSIDE: Watch<Inside> = Watch::new(Inside {
    vc: core::ptr::null_mut(),
    answer: None,
});

struct Inside {
    vc: *mut RXCE_VC,
    answer: Option<NTSTATUS>,
}

// SAFETY: The pointer is passed to the engine only, while the vector keeps the circuit's storage.
unsafe impl Send for Inside {}

fn disconnect_here() {
    let vc = INSIDE.read(|inside| inside.vc);
    let answer = engine::initiate(vc);
    INSIDE.update(|inside| inside.answer = Some(answer));
}

/// R8: the request is sent from inside the transport's own event, and the data of the event is taken all the same.
fn in_a_callback(_run: &Run) -> Outcome {
    for (personality, kind) in [
        (Personality::Orderly, Kind::Release),
        (Personality::Abortive, Kind::Abort),
    ] {
        let f = Fixture::connected(personality)?;
        INSIDE.update(|inside| {
            inside.vc = f.vc.ptr();
            inside.answer = None;
        });
        let before = seen(kind);
        CLIENT.update(|client| client.answer(Answer::Do(disconnect_here)));
        let indicated = transport::receive(f.endpoint(), &mut [1, 2, 3, 4], 4);
        let taken = indicated.map(|indication| (indication.status, indication.taken));
        same("the indication", taken, Some((status::SUCCESS, 4)))?;
        let answer = INSIDE.read(|inside| inside.answer);
        same("RxCeInitiateVCDisconnect", answer, Some(status::SUCCESS))?;
        same("disconnect requests", seen(kind), before + 1)?;
        same("State", f.state(), RXCE_VC_DISCONNECTED)?;
        f.close()?;
    }
    Ok(())
}

/// The first thread has found the circuit active and is about to allocate; what it found then must not decide.
fn after_the_look(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let vc = Shared(f.vc.ptr());
    let stop = Break::before(c"IoAllocateIrp")
        .ok_or_else(|| Trouble::NotPossible("stopping at a chosen kernel call".into()))?;
    let first = Thread::start(move || vc.initiate())?;
    let stopped = stop.is_reached_within(time::PATIENCE);
    let second = vc.initiate();
    stop.go_on();
    let first = first.join("initiate")?;
    holds("the first thread stopped before its allocation", stopped)?;
    fixture::ok("the second thread's initiate", second)?;
    fixture::ok("the first thread's initiate", first)?;
    fixture::disconnects(1, 0)?;
    f.close()
}

fn two_threads(_run: &Run) -> Outcome {
    for round in 0..16 {
        let f = Fixture::orderly()?;
        script(
            Kind::Release,
            if round % 2 == 0 {
                Script::PEND
            } else {
                Script::Inline(0)
            },
        );
        let vc = Shared(f.vc.ptr());
        let go = Event::new();
        let start = || {
            Thread::start(|| {
                go.wait(time::PATIENCE);
                vc.initiate()
            })
        };
        let (one, two) = (start()?, start()?);
        go.set();
        let (one, two) = (one.join("initiate")?, two.join("initiate")?);
        fixture::ok("one thread's initiate", one)?;
        fixture::ok("the other thread's initiate", two)?;
        same("State", f.state(), RXCE_VC_DISCONNECTED)?;
        same(
            "RELEASE requests in all rounds",
            seen(Kind::Release),
            round + 1,
        )?;
        same("ABORT requests", seen(Kind::Abort), 0)?;
        f.close()?;
    }
    Ok(())
}
