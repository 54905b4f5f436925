//! RxCeSend against the end of its circuit (rxce.md §4.3, R6 and R7; §5.11, the order of checks).

use super::{ABORT, Shared, Vector, own};
use crate::{
    client::Call,
    fixture::{self, Fixture, buffer, called, seen, send},
    nt::{sim::Break, status, thread::Thread, time, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Kind},
};

pub(super) const VECTORS: &[Vector] = &[own(
    "S6",
    "a circuit that ends between a send's two looks at its state",
    ends_between_the_looks,
)];

/// Who ends the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Initiate,
    Peer,
    TearDown,
}

fn ends_between_the_looks(_run: &Run) -> Outcome {
    for end in [End::Initiate, End::Peer, End::TearDown] {
        let f = Fixture::orderly()?;
        let data = buffer(b"too late")?;
        let (sent, completed) = (seen(Kind::Send), called(Call::SendComplete));
        let vc = Shared(f.vc.ptr());
        // The send has found the circuit active, and allocates its request.
        let stop = Break::before(c"IoAllocateIrp")
            .ok_or_else(|| Trouble::NotPossible("stopping at a chosen kernel call".into()))?;
        let data = &data;
        let sender = Thread::start(move || {
            let vc = vc;
            send(vc.0, data, 1)
        })?;
        let stopped = stop.is_reached_within(time::PATIENCE);
        let tear_down = match end {
            End::Initiate => {
                fixture::ok("initiate", vc.initiate())?;
                None
            }
            End::Peer => {
                transport::disconnect(f.endpoint(), ABORT);
                None
            }
            End::TearDown => Some(Thread::start(move || vc.tear_down())?),
        };
        // The sender has found the circuit: it is not taken apart under him.
        let waits = tear_down
            .as_ref()
            .is_none_or(|thread| !thread.ends_within(SECOND));
        stop.go_on();
        let answer = sender.join("the send")?;
        if let Some(thread) = tear_down {
            fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
        }
        holds("the send stopped at its allocation", stopped)?;
        holds("the tear-down waits for the sender", waits)?;
        outcome::status("the send", answer, status::CONNECTION_DISCONNECTED)?;
        same("sends that reached the transport", seen(Kind::Send), sent)?;
        same("SendComplete", called(Call::SendComplete), completed)?;
        f.close()?;
    }
    Ok(())
}
