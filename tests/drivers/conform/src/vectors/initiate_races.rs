//! RxCeInitiateVCDisconnect against itself (rxce.md §4.3, R1).

use rxce_client::RXCE_VC_DISCONNECTED;

use super::{Shared, Vector, own};
use crate::{
    fixture::{self, Fixture, script, seen},
    nt::{event::Event, thread::Thread, time},
    outcome::{Outcome, Run, same},
    transport::{Kind, Script},
};

pub(super) const VECTORS: &[Vector] = &[own(
    "I8",
    "two threads initiate at once: one RELEASE",
    two_threads,
)];

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
